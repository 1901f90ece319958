/* SPDX-License-Identifier: MIT
 *
 * backend.h - what a backend fills in, and what a device is inside kernels/. Not for host/.
 *
 * OP_NAMES is the one list of ops: the table's fields, the prototypes of a backend's functions
 * and the names in timings are all made from it, and each has the signature that kernels/ops.h
 * gives to op_NAME. An op that a backend forgot is a link error.
 */
#ifndef SAENGINE_BACKEND_H
#define SAENGINE_BACKEND_H

#include "kernels/ops.h"

#define OP_NAMES(X) \
	X(copy) \
	X(to_half) \
	X(axpy) \
	X(scale) \
	X(gather_rows) \
	X(scatter_rows) \
	X(advance) \
	X(fill_ids) \
	X(find_nonfinite) \
	X(embed) \
	X(rmsnorm) \
	X(rmsnorm_backward) \
	X(end_branch) \
	X(end_branch_backward) \
	X(linear) \
	X(linear_backward) \
	X(rope) \
	X(rope_keys) \
	X(attention) \
	X(attention_backward) \
	X(gated) \
	X(gated_backward) \
	X(softcap) \
	X(argmax) \
	X(token_logprob) \
	X(kl) \
	X(selected_logits) \
	X(selected_logits_backward) \
	X(ablate_direction) \
	X(add_vector) \
	X(mix) \
	X(sae_encode) \
	X(sae_encode_selected) \
	X(csr_select) \
	X(sae_scale) \
	X(sae_decode) \
	X(csr_difference) \
	X(csr_attribute) \
	X(row_cosine) \
	X(clamp_features)

enum op_id {
#define OP_ID(name) OP_##name,
	OP_NAMES(OP_ID)
#undef OP_ID
		N_OPS
};

/* What a device does that runs behind the host and has memory of its own. */
struct async_backend {
	int (*wait)(struct device *dev, struct err *err);
	/* From now on every op waits for its end. */
	void (*make_synchronous)(struct device *dev);
	int (*free_memory)(struct device *dev, size_t *bytes, struct err *err);
	int (*graph_begin)(struct device *dev, struct err *err);
	int (*graph_end)(struct device *dev, struct device_graph **out, struct err *err);
	bool (*graph_holds)(const struct device *dev, const struct device_graph *graph);
	int (*graph_replay)(struct device *dev, struct device_graph *graph, struct err *err);
	void (*graph_free)(struct device *dev, struct device_graph *graph);
	/* Copies to the host: device_copy_begin and so on. wait fills copy->host. */
	int (*copy_begin)(struct device *dev, struct tensor from, enum dtype as,
		struct device_copy **out, struct err *err);
	int (*copies_fence)(struct device *dev, struct err *err);
	int (*copy_wait)(struct device_copy *copy, struct err *err);
	void (*copy_end)(struct device_copy *copy);
};

struct device_copy {
	struct device *dev;
	void *host; /* where the values arrive */
};

/* What a device does that takes part in a team (ops.h), which is dev->team. upload is
 * device_upload_weights; one that fails leaves. abandon leaves at once, whatever the others do. */
struct team_backend {
	bool (*card)(const struct device *dev, char card[DEVICE_CARD]);
	int (*ticket)(struct device *dev, char ticket[DEVICE_TICKET], struct err *err);
	int (*join)(struct device *dev, const char *ticket, struct err *err);
	int (*leave)(struct device *dev, struct err *err);
	void (*abandon)(struct device *dev);
	int (*upload)(struct device *dev, void *to, const void *from, size_t bytes, struct err *);
};

struct backend {
	const char *name;
	enum dtype activation;
	bool is_host;
	bool rounds_products;
	/* Fills dev->state. The state and the memory of a half-opened device go with close. */
	int (*open)(struct device *dev, struct err *err);
	void (*close)(struct device *dev);
	int (*alloc)(struct device *dev, size_t bytes, void **out, struct err *err);
	void (*release)(struct device *dev, void *memory);
	int (*upload)(struct device *dev, void *to, const void *from, size_t bytes, struct err *);
	int (*download)(struct device *dev, void *to, const void *from, size_t bytes, struct err *);
	/* 0 and NULL on backends that are host. */
	size_t piece_bytes;
	int (*piece)(struct device *dev, void **piece, struct err *err);
	int (*piece_send)(struct device *dev, const struct device_part *parts, size_t n,
		struct err *err);
	/* NULL on backends that finish every call before they return. */
	const struct async_backend *async;
	/* NULL on backends that cannot be joined. */
	const struct team_backend *team;
#define OP_FIELD(name) __typeof__(op_##name) *name;
	OP_NAMES(OP_FIELD)
#undef OP_FIELD
};

struct device {
	const struct backend *backend;
	void *state; /* the backend's own */
	int n_threads;
	int ordinal;    /* which of several equal devices */
	bool invariant; /* device_make_invariant */
	bool joined;
	struct device_team team; /* while joining and joined */
	size_t allocated, peak;
	size_t total;   /* bytes of its own memory, 0 = none but the host's */
	size_t working; /* the most of it that ops take for themselves */
	struct {
		double seconds, flops, bytes;
		unsigned long long calls;
	} times[N_OPS];
	char description[96], arithmetic[DEVICE_ARITHMETIC];
};

/* Opens a device on a given table; device_open and the tests come through here. */
int device_open_backend(struct device **out, const struct backend *backend, int n_threads,
	struct err *err);

/* Counts memory that was allocated, and released. */
void device_account(struct device *dev, size_t allocated, size_t released);

enum { HOST_ALIGNMENT = 64 }; /* a cache line, and the widest vector */

/* The memory functions of backends whose device memory is host memory. */
int host_alloc(struct device *dev, size_t bytes, void **out, struct err *err);
void host_release(struct device *dev, void *memory);
int host_copy(struct device *dev, void *to, const void *from, size_t bytes, struct err *err);

#endif
