/* SPDX-License-Identifier: MIT
 *
 * ops.h - every operation a device can do. Nothing above this header knows which device it is.
 *
 * Each op below validates its arguments once (kernels/ops.c) and hands them to the device's
 * backend: kernels/ref (plain loops, the definition, linked by tests only) or kernels/cpu.
 * The files of a backend bear the same names: the RMSNorm is kernels/ref/norm.c and
 * kernels/cpu/norm.c. Tests of all of them: tests/test_ops.c, one table of cases.
 *
 * Conventions
 *   - All pointers are device memory, borrowed for the call. Outputs never alias inputs unless
 *     the comment says "in place".
 *   - An "activation" is a tensor of the device's activation type (device_activation): float32
 *     on the CPU; the reference also runs in float64.
 *   - An "operand" is an activation, or, on a device that rounds products, the same in bfloat16:
 *     what products with bfloat16 weights would round it to. Ops whose outputs products read next
 *     write either.
 *   - A "weight" is a matrix of float32, bfloat16 or float16 in the layout of the checkpoint,
 *     [out, in]. A "vector" is a float32 tensor [1, n].
 *   - n is the number of rows (tokens) of a call. n = 0 is allowed and does nothing.
 *   - Errors: shapes and types that do not fit are ERR_INTERNAL, before anything is written;
 *     a device failure is ERR_DEVICE.
 */
#ifndef SAENGINE_OPS_H
#define SAENGINE_OPS_H

#include "host/base/err.h"
#include "kernels/tensor.h"

#include <stdbool.h>

struct device;

/* ---- device ---------------------------------------------------------------------------- */

/* Opens a device by the name users type:
 *   "cpu"         the fastest build of the CPU backend that this processor can run
 *   "cpu:LEVEL"   that build, LEVEL one of device_cpu_levels(). oneDNN is held to the level, too,
 *                 by the first CPU device of a process: it takes one level per process
 *   "cuda:N"      the N-th CUDA device ("cuda": the first). Activations, and everything that is
 *                 added up, are float32. Products with bfloat16 or float16 weights round their
 *                 other input to the weight's type, for tensor cores; products with float32
 *                 weights are float32 (no TF32)
 *   "cuda:N:f32"  the same without any rounding below float32, slower, for checks
 * n_threads = 0 means one per available core; with a CUDA device only the host's part of the work,
 * such as reading SAEs, has a use for it. *out is given to
 * the caller, close with device_close.
 * Errors: ERR_CONFIG for an unknown name; ERR_DEVICE when the processor lacks the level, this
 * build has no CUDA, or there is no such device. */
int device_open(struct device **out, const char *name, int n_threads, struct err *err);

/* Accepts NULL. Memory still allocated on the device is the caller's leak. */
void device_close(struct device *dev);

/* NULL-terminated names of the CPU builds this processor can run, slowest first; none where this
 * build has no CPU backend. */
const char *const *device_cpu_levels(void);

/* "cpu:x86-64-v4, 2 threads": for provenance and the first line of the log. */
const char *device_description(const struct device *dev);

/* What the bits of its results hang on beside what it is given: "cpu:x86-64-v4, oneDNN 2.6.3 at
 * cpu_isa_avx512_core, glibc 2.36 with FMA"; "cuda, NVIDIA H100 80GB HBM3, sm_90, 132 SMs, cuBLASLt
 * 130100". Devices of one build of the program that say the same compute the same. */
enum { DEVICE_ARITHMETIC = 160 };
const char *device_arithmetic(const struct device *dev);

enum dtype device_activation(const struct device *dev);

/* The type of operands of products with weights of that type. */
enum dtype device_operand(const struct device *dev, enum dtype weight);

/* True when kernels can read host memory directly, so that mapped weights need no copy. */
bool device_is_host(const struct device *dev);

/* From now on what an op computes of a row has the same bits whatever rows it is given with: how
 * many, in which order, and in which pass its keys were computed. So a prompt's results are the
 * same alone and in any batch. To be called before the first op. */
void device_make_invariant(struct device *);

/* True when products with bfloat16 and float16 weights round their other input to that type. */
bool device_rounds_products(const struct device *dev);

/* Threads for the host's part of the work; of the CPU device, those it computes with. */
int device_threads(const struct device *dev);

/* Device memory, 64-byte aligned, contents undefined (NaN patterns under the strict preset).
 * Errors: ERR_DEVICE with the amount asked for. */
int device_alloc(struct device *dev, size_t bytes, void **out, struct err *err);
void device_free(struct device *dev, void *memory);

int device_upload(struct device *dev, void *to, const void *from_host, size_t bytes,
	struct err *err);
int device_download(struct device *dev, void *to_host, const void *from, size_t bytes,
	struct err *err);

/* An upload whose bytes the caller writes, with as many threads as he likes, where the device takes
 * them from: a piece of device_piece_bytes at a time, the next of which can be written while the
 * last is on its way. Not where device_is_host: write into device memory there. */
size_t device_piece_bytes(const struct device *dev);

/* *piece is borrowed until the next upload of any kind. Waits until it is free. Errors: ERR_DEVICE.
 */
int device_piece(struct device *dev, void **piece, struct err *err);

/* Sends parts of the piece. Errors: ERR_DEVICE. */
struct device_part {
	void *to;         /* device memory */
	const void *from; /* in the piece */
	size_t bytes;
};
int device_piece_send(struct device *dev, const struct device_part *parts, size_t n,
	struct err *err);

/* Values on their way to the host while other ops run. */
struct device_copy;

/* Begins to copy what the ops asked so far leave in `from`, in its own type or, of an activation,
 * in float16 (op_to_half). Ops asked later must not write there before device_copies_fence. Waits
 * while as many as there is room for have not ended. *out is owned: device_copy_end. Errors:
 * ERR_DEVICE.
 */
int device_copy_begin(struct device *dev, struct tensor from, enum dtype as,
	struct device_copy **out, struct err *err);

/* Waits for the values, *host, borrowed until the end. From any thread. Errors: ERR_DEVICE. */
int device_copy_wait(struct device_copy *copy, const void **host, struct err *err);

/* Before device_close, from any thread. */
void device_copy_end(struct device_copy *copy);

/* Ops asked from now on run when the copies begun so far have read what they copy; the host does
 * not wait. */
int device_copies_fence(struct device *dev, struct err *err);

/* Processes that run the same program, a device each, may send each other the weights that all of
 * them need, so that one process alone reads them. Each asks its device for a card and tells the
 * others; when all can be joined, rank 0 makes a ticket for them. */
enum { DEVICE_CARD = 160, DEVICE_TICKET = 320 };

struct device_team {
	size_t rank, world;
	/* Asked all the time while this process waits for the others: its error ends that. */
	int (*check)(struct err *err);
};

/* Which device this is: different texts for different ones. False where it cannot be joined with
 * others; the text is then why. */
bool device_card(const struct device *dev, char card[DEVICE_CARD]);

/* One word, different every time. Errors: ERR_DEVICE. */
int device_ticket(struct device *dev, char ticket[DEVICE_TICKET], struct err *err);

/* In every process of the team. Returns when all are joined and have exchanged something, or with
 * the team's error or ERR_DEVICE, not joined. */
int device_join(struct device *dev, const char *ticket, const struct device_team *team,
	struct err *err);

/* In every process, when all weights are there; gives back what joining took. Does nothing on a
 * device that is not joined. Errors: as device_join. */
int device_leave(struct device *dev, struct err *err);

/* The same at once, in one process: what the others wait for never comes. */
void device_abandon(struct device *dev);

/* device_upload, where this device is not joined. Where it is, every process calls it with the same
 * sizes in the same order, the bytes are rank 0's, and they are there on return; those of the
 * others' from_host are not looked at. Errors: ERR_DEVICE, those of the team, which is then left.
 */
int device_upload_weights(struct device *dev, void *to, const void *from_host, size_t bytes,
	struct err *err);

/* Whether device_upload_weights takes this process's bytes. */
bool device_gives_weights(const struct device *dev);
bool device_is_joined(const struct device *dev);

/* Bytes now allocated, and the most there ever were since the last device_reset_peak. */
size_t device_allocated(const struct device *dev);
size_t device_peak(const struct device *dev);

/* Free bytes of the device's own memory; false where it has none but the host's, or where it
 * cannot tell. */
bool device_free_memory(struct device *dev, size_t *bytes);

/* All bytes of it, whoever uses them: the same on every device of its kind, at any time. 0 where it
 * has none but the host's. */
size_t device_total_memory(const struct device *dev);

/* The most memory that ops take for themselves, beside what they are given; 0 where that is the
 * host's. */
size_t device_working_bytes(const struct device *dev);

/* Waits for everything asked so far. Ops may return before they are done; what failed meanwhile
 * is reported by this and by device_download. Errors: ERR_DEVICE. */
int device_wait(struct device *dev, struct err *err);

/* A graph: a sequence of ops that is worth preparing once and starting many times, because
 * starting each op costs more than running it. Between begin and end ops are recorded: checked and
 * written down, but not run; replaying runs them on the same memory, so what changes from one time
 * to the next (which tokens, which positions) must lie in device memory. Nothing else may be asked
 * of the device between begin and end. A graph holds until ops take more memory for themselves than
 * any did before: it is then to be freed, and replaying it is ERR_INTERNAL. On devices that gain
 * nothing by graphs device_records is false, and the others must not be called. */
struct device_graph;
bool device_records(const struct device *dev);
int device_graph_begin(struct device *dev, struct err *err);
int device_graph_end(struct device *dev, struct device_graph **out, struct err *err);
bool device_graph_holds(const struct device *dev, const struct device_graph *graph);
int device_graph_replay(struct device *dev, struct device_graph *graph, struct err *err);
void device_graph_free(struct device *dev, struct device_graph *graph); /* accepts NULL */

/* Makes every op wait for its end, so that the times below are those of the ops. */
void device_make_synchronous(struct device *dev);

/* Time spent per op since the device was opened, for `--profile` and `make bench`. */
struct op_time {
	const char *name;
	double seconds;
	double flops; /* multiply-adds counted as two; 0 for ops that are not matrix products */
	double bytes; /* what ops read and write, each tensor once, weights too; rows of sparse
		       * features and what is kept on the chip apart */
	unsigned long long calls;
};
size_t device_op_times(const struct device *dev, struct op_time *out, size_t capacity);

/* ---- rows and keys --------------------------------------------------------------------- */

/* Which token each row of an activation is. Rows of one sequence are adjacent and in order. */
struct rows {
	size_t n;
	const int32_t *seq; /* [n] which sequence */
	const int32_t *pos; /* [n] position in it, counted from the first token of the prefix */
};

/* Keys and values of one layer, operands of one type. All sequences share the `prefix` rows
 * (positions 0 to prefix_k.rows - 1); the key of (seq, pos) beyond it is row start[seq] + pos -
 * prefix_k.rows of k and v. Widths: n_kv_head * head_dim. */
struct keys {
	struct tensor prefix_k, prefix_v;
	struct tensor k, v;
	const int32_t *start; /* [n_seq] */
	size_t n_seq;
};

struct attention {
	size_t n_head, n_kv_head, head_dim; /* query head h reads kv head h / (n_head/n_kv_head) */
	double scale;                       /* of q.k, before the softcap */
	double softcap;                     /* s -> cap tanh(s/cap); 0 = none */
	size_t window;                      /* a query sees keys with q - k < window; 0 = all */
};

/* ---- moving rows ----------------------------------------------------------------------- */

/* y = x.   x, y: activations of equal shape. */
int op_copy(struct device *, struct tensor x, struct tensor y, struct err *);

/* y = x to the nearest float16, ties to even; infinity beyond its largest number, 65504.
 * x: activation; y: float16, of its shape. */
int op_to_half(struct device *, struct tensor x, struct tensor y, struct err *);

/* y += a x.   x, y: activations of equal shape. */
int op_axpy(struct device *, double a, struct tensor x, struct tensor y, struct err *);

/* x = a x, in place; a = 0 clears, whatever was there. */
int op_scale(struct device *, double a, struct tensor x, struct err *);

/* out[i] = in[index[i]].   in, out: operands of one type; index [out.rows], each below in.rows. */
int op_gather_rows(struct device *, struct tensor in, const int32_t *index, struct tensor out,
	struct err *);

/* out[index[i]] = in[i].   index [in.rows], each below out.rows, no two equal. */
int op_scatter_rows(struct device *, struct tensor in, const int32_t *index, struct tensor out,
	struct err *);

/* The step from one generated token to the next, for rows that are each a sequence's newest token:
 *   token[i] = next[i], or stays where next[i] < 0;  pos[i] += 1;  cache_row[i] += 1.
 * All [n], in device memory. */
int op_advance(struct device *, size_t n, const int32_t *next, int32_t *token, int32_t *pos,
	int32_t *cache_row, struct err *);

/* id[i] = value.   id [n], in device memory. */
int op_fill_ids(struct device *, size_t n, int32_t value, int32_t *id, struct err *);

/* Lowers *first_bad to the first row of x holding a NaN or an infinity; -1, which op_fill_ids
 * writes, is above every row.  first_bad: device. */
int op_find_nonfinite(struct device *, struct tensor x, int32_t *first_bad, struct err *);

/* ---- transformer ----------------------------------------------------------------------- */

/* x[i] = scale E[token[i]].   E: weight [n_vocab, d]; x [n, d]. */
int op_embed(struct device *, struct tensor E, const int32_t *token, double scale, struct tensor x,
	struct err *);

struct norm {
	double eps;
	bool plus_one; /* Gemma multiplies by (1 + w), the others by w */
};

/* RMSNorm:  y = x rstd (w or 1 + w),  rstd = 1/sqrt(mean(x^2) + eps).
 *   x activation [n, d]; y operand, may be x; w vector [1, d]; rstd activation [n, 1] or absent. */
int op_rmsnorm(struct device *, struct norm, struct tensor x, struct tensor w, struct tensor y,
	struct tensor rstd, struct err *);

/* dx = beta dx + d(sum(dy y))/dx, given the x and rstd of the forward call.  beta 0 or 1;
 * dx [n, d] is an operand and may be dy itself with beta 0, an activation with beta 1.
 *   dx_i = rstd (w_i dy_i) - x_i rstd^3 / d  sum_j x_j w_j dy_j */
int op_rmsnorm_backward(struct device *, struct norm, struct tensor x, struct tensor w,
	struct tensor rstd, struct tensor dy, double beta, struct tensor dx, struct err *);

/* Where a branch of a block ends and what follows begins, in one pass over the rows:
 *   x_out = x_in + branch, or x_in + rmsnorm(branch) with w_branch
 *   x_out = (1 - mix) x_out + mix target, with a target, as op_mix
 *   h = rmsnorm(x_out) with w_next
 * and *first_bad is lowered as by op_find_nonfinite(x_out). */
struct branch_end {
	struct norm norm;
	struct tensor branch;      /* activation [n, d] */
	struct tensor w_branch;    /* vector [1, d], or absent: no norm of its own */
	struct tensor rstd_branch; /* activation [n, 1], or absent */
	struct tensor x_in, x_out; /* activations [n, d]; may be the same */
	struct tensor target;      /* activation [n, d], or absent */
	double mix;
	struct tensor w_next;    /* vector [1, d], or absent: h is not wanted */
	struct tensor h;         /* operand [n, d] */
	struct tensor rstd_next; /* activation [n, 1], or absent */
	int32_t *first_bad;      /* device, or NULL: x_out is not looked at */
};
int op_end_branch(struct device *, const struct branch_end *, struct err *);

/* The way back through it, in one pass, from what stands behind it to what the branch is given:
 *   g = beta g + d(sum(dh h))/d(x_out)
 *   gradient += weight g
 *   g = keep g
 *   dbranch = d(sum(g x_in + g rmsnorm(branch)))/d(branch), or g
 * Steps whose tensors are absent are left out. */
struct branch_end_back {
	struct norm norm;
	struct tensor g;      /* activation [n, d], in place */
	double beta;          /* 0: g is not read; then dh is there. Or 1 */
	struct tensor dh;     /* activation [n, d], or absent */
	struct tensor x_out;  /* with dh, of the forward call, and so the next two */
	struct tensor w_next; /* vector [1, d] */
	struct tensor rstd_next;
	struct tensor gradient; /* activation [n, d], or absent */
	double weight;
	double keep;           /* 1 - mix, or 1 */
	struct tensor dbranch; /* operand [n, d], may be dh; or absent */
	struct tensor branch, w_branch,
		rstd_branch; /* of the forward call; absent: no norm of its own */
};
int op_end_branch_backward(struct device *, const struct branch_end_back *, struct err *);

/* y = x W^T + bias.   x operand [n, in], rounded only if W is bfloat16; W weight [out, in]; bias
 * vector [1, out] or absent; y operand [n, out], rounded only if W is bfloat16 and without a bias.
 * The cost is the product's; W is read once per call in its own type. */
int op_linear(struct device *, struct tensor x, struct tensor W, struct tensor bias,
	struct tensor y, struct err *);

/* dx = beta dx + dy W.   beta 0 or 1; dy operand [n, out], rounded only if W is bfloat16; W weight
 * [out, in]; dx operand [n, in], rounded only if W is bfloat16 and beta 0. */
int op_linear_backward(struct device *, struct tensor dy, struct tensor W, double beta,
	struct tensor dx, struct err *);

/* Rotary embedding, half-split, in place, on every head of x [n, heads * head_dim]:
 *   (x_i, x_{i+h}) -> (x_i c - x_{i+h} s, x_{i+h} c + x_i s),  h = head_dim/2,
 * with c = cos_table[pos, i], s = sin_table[pos, i] (float32 [n_pos, h]).
 * direction +1 rotates; -1 applies the inverse, which is also the gradient. */
int op_rope(struct device *, size_t head_dim, int direction, struct tensor cos_table,
	struct tensor sin_table, const int32_t *pos, struct tensor x, struct err *);

/* What queries and keys go through before attention, in one pass: q and k are rotated as by
 * op_rope, and row i of k and of v goes to row cache_row[i] of what k_out and v_out are slices of.
 * With direction -1, what their gradients go through behind it.
 *
 *   q         slice [n, heads * head_dim], or absent
 *   q_out     slice of an operand, of that shape; may be q
 *   k, v      slices [n, kv heads * head_dim], undefined afterwards
 *   cache_row [n], no two equal; or NULL: row i goes to row i, and k may be k_out, v v_out
 *   k_out, v_out  slices of operands of one type, of that width; that of q_out as well, or q_out is
 *                 an activation */
struct rope_call {
	size_t head_dim;
	int direction;
	struct tensor cos_table, sin_table;
	const int32_t *pos;
	struct slice q, k, v; /* of activations */
	struct slice q_out;
	const int32_t *cache_row;
	struct slice k_out, v_out;
};
int op_rope_keys(struct device *, const struct rope_call *, struct err *);

/* Causal attention of packed sequences of any lengths over their own keys and the shared prefix:
 *   out_q = sum_k softmax_k(cap(scale q.k)) v_k   over keys k <= q, q - k < window.
 *   q, out [n, n_head * head_dim], out an operand; lse activation [n, n_head] (log of the softmax's
 *   denominator, kept for the backward pass) or absent. */
int op_attention(struct device *, const struct attention *, struct tensor q, struct rows,
	const struct keys *, struct tensor out, struct tensor lse, struct err *);

/* Gradients of op_attention for a given dout.  dq [n, ...] and, of the own keys only,
 * dk and dv (the shape of keys->k) are written in full. The prefix receives none: it lies
 * before every row whose gradient is wanted. out is an operand. */
int op_attention_backward(struct device *, const struct attention *, struct tensor q, struct rows,
	const struct keys *, struct tensor out, struct tensor lse, struct tensor dout,
	struct tensor dq, struct tensor dk, struct tensor dv, struct err *);

enum activation { ACTIVATION_GELU_TANH, ACTIVATION_SILU };

/* out = act(gate) up.   All [n, d_ff], operands of one type; gate and up slices of one matrix or of
 * two; out may be gate or up where that is a whole matrix. */
int op_gated(struct device *, enum activation, struct slice gate, struct slice up,
	struct tensor out, struct err *);

/* dgate = dout up act'(gate),  dup = dout act(gate).   All operands of one type; dgate may be gate,
 * dup may be up. */
int op_gated_backward(struct device *, enum activation, struct slice gate, struct slice up,
	struct tensor dout, struct slice dgate, struct slice dup, struct err *);

/* x = cap tanh(x / cap), in place; cap = 0 does nothing. */
int op_softcap(struct device *, double cap, struct tensor x, struct err *);

/* ---- readings of logits ---------------------------------------------------------------- */

/* out[i] = index of the largest of cap(logits[i, :]), capped as by op_softcap; the lowest index on
 * ties, which are more after the cap than before; -1 where a logit is not finite. cap = 0: none.
 *   lead[i] = by how much the largest exceeds the next one, another's: infinity where there is no
 *   other, undefined where out[i] is -1.   lead activation [n, 1] or absent. */
int op_argmax(struct device *, double cap, struct tensor logits, int32_t *out, struct tensor lead,
	struct err *);

/* out[i] = log softmax(logits[i, :])[token[i]], in nats.   out activation [n, 1]. */
int op_token_logprob(struct device *, struct tensor logits, const int32_t *token, struct tensor out,
	struct err *);

/* out[i] = KL(softmax(p[i, :]) || softmax(q[i, :])), in nats.   out activation [n, 1]. */
int op_kl(struct device *, struct tensor p, struct tensor q, struct tensor out, struct err *);

/* Logits of m chosen tokens per row, without the rest of the vocabulary:
 *   out[i, j] = cap(y[i] . E[token[i * m + j]]).   y [n, d]; E weight; out activation [n, m]. */
int op_selected_logits(struct device *, struct tensor y, struct tensor E, const int32_t *token,
	double softcap, struct tensor out, struct err *);

/* dy = sum_j dout[i, j] cap'(.) E[token[i * m + j]], with `out` as the forward call left it. */
int op_selected_logits_backward(struct device *, struct tensor dout, struct tensor out,
	struct tensor E, const int32_t *token, double softcap, struct tensor dy, struct err *);

/* ---- edits of the residual stream ------------------------------------------------------ */

/* x = x - (x.u) u, in place: ablation of a unit vector u [1, d]. Its own transpose, so the same
 * call maps gradients back. */
int op_ablate_direction(struct device *, struct tensor u, struct tensor x, struct err *);

/* x = x + a v, in place, v vector [1, d]. */
int op_add_vector(struct device *, double a, struct tensor v, struct tensor x, struct err *);

/* x = (1 - a) x + a target, in place: one point on the straight path of integrated gradients. */
int op_mix(struct device *, double a, struct tensor target, struct tensor x, struct err *);

/* ---- sparse autoencoders --------------------------------------------------------------- */

/* What the encoder reads, u, and what undoes it on the decoder's side: scale s and shift m of a
 * row. The variants that are the same affine map for every row (subtracting b_dec, dividing by a
 * dataset's average norm) are no business of a kernel: loaders fold them into the weights. */
enum sae_input {
	SAE_INPUT_RAW,    /* u = x                       s = 1            m = 0 */
	SAE_INPUT_SPHERE, /* u = x sqrt(d)/|x|           s = |x|/sqrt(d)  m = 0; |x| = 0: u = 0 */
	SAE_INPUT_STANDARDIZED /* u = (x - mean)/(sd + 1e-5)  s = sd           m = mean */
};                             /* sd with d - 1 in the denominator; m the same in every column */

/* An SAE, or a few of its features (rows of the first and third tensor are features):
 *   pre_i = W_enc_t[i] . u + b_enc_i
 *   act_i = pre_i, or max(gain_i pre_i + shift_i, 0) where gain is present (gated SAEs)
 *   f_i   = act_i if pre_i > threshold_i, else 0
 *   then, with top_k > 0, of every group_width features in a row (the last group may be narrower)
 *   only the top_k largest f stay, of equal ones the lowest; the others become 0
 *   x_hat = s (f W_dec + b_dec) + m
 * ReLU is threshold 0, BatchTopK at inference a threshold, GroupMax top_k 1. Thresholds are not
 * negative. The encoder is kept transposed, [feature, d_model], because one feature is then one
 * contiguous row: encoding a few features reads only those. */
struct sae_weights {
	struct tensor W_enc_t;          /* weight [n_feature, d_model] */
	struct tensor b_enc, threshold; /* vectors [1, n_feature] */
	struct tensor gain, shift;      /* vectors [1, n_feature]; both absent unless gated */
	struct tensor W_dec;            /* weight [n_feature, d_model]; not read by encoding */
	struct tensor b_dec;            /* vector [1, d_model]; read by decoding only */
	enum sae_input input;
	size_t top_k;       /* 0 = every feature above its threshold stays */
	size_t group_width; /* read with top_k; n_feature = the whole row is one group */
};

/* Rows of non-zero features. Row i holds entries indptr[i] to indptr[i+1] - 1, features
 * ascending. */
struct csr {
	size_t n_rows, capacity; /* capacity in entries */
	int32_t *indptr;         /* [n_rows + 1] */
	int32_t *indices;        /* [capacity] feature ids */
	struct tensor values;    /* activation [capacity, 1] */
};

/* Sparse encoding of every row of x by all features.  When the entries do not fit, indptr is
 * still exact (so indptr[n_rows] tells what is needed) and indices and values are undefined.
 * With top_k a row has at most top_k entries per group. */
int op_sae_encode(struct device *, const struct sae_weights *, struct tensor x, struct csr *out,
	struct err *);

/* Dense encoding by a few features: f activation [n, n_feature]. top_k must be 0: whether a
 * feature is among the largest only all of them can tell (op_sae_encode, then op_csr_select). */
int op_sae_encode_selected(struct device *, const struct sae_weights *, struct tensor x,
	struct tensor f, struct err *);

/* out[i, j] = the value of feature id[j] in row i of f, 0 where it has no entry.
 * id [out.cols], any order; out activation [f.n_rows, out.cols]. */
int op_csr_select(struct device *, const struct csr *f, const int32_t *id, struct tensor out,
	struct err *);

/* scale[i] = s of row i of x.   scale activation [x.rows, 1]. */
int op_sae_scale(struct device *, enum sae_input, struct tensor x, struct tensor scale,
	struct err *);

/* x_hat = s (f W_dec + b_dec) + m, s and m of the rows of x that f encodes.
 * x may be absent when the input is raw; x, x_hat [f.n_rows, d]. */
int op_sae_decode(struct device *, const struct sae_weights *, struct tensor x, const struct csr *f,
	struct tensor x_hat, struct err *);

/* out = b - a on the union of both supports, zeros of it included. Same capacity rule as
 * op_sae_encode. */
int op_csr_difference(struct device *, const struct csr *a, const struct csr *b, struct csr *out,
	struct err *);

/* values[e] *= s[row of e] W_dec[feature of e] . g[row of e], in place, for every stored entry e:
 * the product of attribution patching, sampled where it is not zero.
 * scale: s, activation [g.rows, 1], or absent = 1. */
int op_csr_attribute(struct device *, struct tensor W_dec, struct tensor g, struct tensor scale,
	struct csr *f, struct err *);

/* out[i] = cosine of W[i] and v; 0 where either is zero.   W weight [n, d]; v vector [1, d];
 * out activation [n, 1]. */
int op_row_cosine(struct device *, struct tensor W, struct tensor v, struct tensor out,
	struct err *);

/* What to do with which features of `few` (an sae_weights of the features concerned):
 * list l holds entries start[l] to start[l+1] - 1; entry e sets
 *   f_new = scale[e] f + offset[e]      (scale c: "multiply";  scale 0, offset v: "set")
 * of feature slot[e]. A row of sequence s uses list s, or list 0 when there is only one. */
struct clamp_lists {
	size_t n_lists;
	const int32_t *start; /* [n_lists + 1] */
	const int32_t *slot;  /* rows of few->W_enc_t */
	const float *scale, *offset;
};

/* x += s sum_e (f_new_e - f_e) W_dec[slot_e], in place; s and every f are read from x before any
 * of the deltas. Exactly the SAE's decode with the changed features and its error term kept, for
 * 2 d_model multiply-adds per entry instead of two products of width d_sae.
 *   f: absent, or the features as they are, activation [rows.n, rows of few->W_enc_t], in place of
 *   their encoding by `few`: what an SAE with top_k needs, since only the full encoding
 *   (op_sae_encode and op_csr_select) tells which features are on. few->top_k is not read. */
int op_clamp_features(struct device *, const struct sae_weights *few, const struct clamp_lists *,
	struct rows, struct tensor f, struct tensor x, struct err *);

#endif
