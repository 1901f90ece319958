/* SPDX-License-Identifier: MIT
 *
 * readout.h - what is read off the final norm y [n, d_model] of chosen rows: next tokens,
 * log-probabilities, divergences, logits of a few tokens. The vocabulary-wide logits exist only
 * for some rows at a time, and only where they are needed.
 *
 * Numbers that come to the host are finite: one that is not is ERR_DEVICE, and `of` is for its
 * message. It is the batch whose pass gave y, with y its out rows or, where there are fewer, the
 * last one of each sequence; NULL where y is gathered otherwise.
 */
#ifndef SAENGINE_READOUT_H
#define SAENGINE_READOUT_H

#include "host/model/batch.h"
#include "host/model/model.h"

struct readout {
	const struct model *model;
	size_t rows, kl_rows; /* read at a time, of a divergence on each side */
	struct tensor logits; /* [max(rows, 2 kl_rows), n_vocab] */
	struct tensor value;  /* [max(rows, kl_rows), 1] */
	int32_t *token;       /* device [rows] */
	void *memory;         /* owned, device */
};

/* A GPU reads up to 256 rows at a time, because each time costs the reading of the whole
 * unembedding; fewer where their logits would take more than 64 MiB and a quarter of the weights'
 * bytes. What free memory there happens to be does not matter: products of other heights may round
 * otherwise. A CPU reads 32, which stay in its caches. Errors: ERR_DEVICE. */
int readout_init(struct readout *r, const struct model *m, struct err *err);
size_t readout_bytes(const struct model *m);

/* Accepts a zeroed readout. */
void readout_free(struct readout *r);

/* token[i] = the most probable next token of row i, which leads the next by lead[i] logits. token,
 * lead: host [n]; lead may be NULL. */
int readout_argmax(struct readout *r, const struct batch *of, struct tensor y, int32_t *token,
	float *lead, struct err *err);

/* Of decisions whether a row's next token is `other`: raises lead[i] to how far token[i] leads
 * `other` in row i, where it is another token and leads the next one by less than readout_noise.
 * What is left below readout_noise hangs on rounding. token, lead: as readout_argmax gave them. */
int readout_lead_over(struct readout *r, const struct batch *of, struct tensor y,
	const int32_t *token, int32_t other, float *lead, struct err *err);

/* readout_argmax with token in device memory, without waiting for the device; -1 where a logit is
 * not finite. lead: [n, 1], or absent. */
int readout_argmax_on_device(struct readout *r, struct tensor y, int32_t *token, struct tensor lead,
	struct err *err);

/* logprob[i] = log p(token[i] | row i), in nats. Host arrays [n]. */
int readout_logprob(struct readout *r, const struct batch *of, struct tensor y,
	const int32_t *token, double *logprob, struct err *err);

/* kl[i] = KL(p_i || q_i) of the next-token distributions of the rows of p and q, in nats. */
int readout_kl(struct readout *r, const struct batch *of, struct tensor p, struct tensor q,
	double *kl, struct err *err);

/* out[i m + j] = the logit of token[i m + j] at row i, m the columns of `logits`, which keeps them
 * on the device: activation [y.rows, m]. token: device; out: host. */
int readout_selected(struct readout *r, const struct batch *of, struct tensor y,
	const int32_t *token, struct tensor logits, double *out, struct err *err);

/* How far rounding may move a difference of logits, or of log-probabilities: 2^-13, on the small
 * models eight times what another batch size and another level of instructions did together;
 * deeper models sum more. Where products round to bfloat16 2^-3, by argument: 2^-9 of logits of
 * some tens. */
double readout_noise(const struct readout *r);

#endif
