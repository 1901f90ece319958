/* SPDX-License-Identifier: MIT
 *
 * readout.c - Contract: readout.h. Tests: tests/test_model.c.
 */
#include "host/model/readout.h"

#include "host/base/size.h"
#include "host/model/carver.h"
#include "host/model/transfer.h"

#include <math.h>

static void layout(void *object, struct carver *c)
{
	struct readout *r = object;

	r->logits = carve(c, READOUT_ROWS, r->model->arch.n_vocab);
	r->logits_2 = carve(c, READOUT_ROWS, r->model->arch.n_vocab);
	r->value = carve(c, READOUT_ROWS, 1);
	r->token = carve_ints(c, READOUT_ROWS);
}

int readout_init(struct readout *r, const struct model *m, struct err *err)
{
	*r = (struct readout){.model = m};
	return carve_allocate(m->dev, layout, r, &r->memory, err);
}

size_t readout_bytes(const struct model *m)
{
	struct readout r = {.model = m};

	return carve_count(m->dev, layout, &r);
}

void readout_free(struct readout *r)
{
	if (r->model)
		device_free(r->model->dev, r->memory);
	*r = (struct readout){0};
}

/* Logits of rows [first, first + n) of y, before the cap, into `to`. */
static int unembed_uncapped(const struct model *m, struct tensor y, size_t first, size_t n,
	struct tensor to, struct tensor *out, struct err *err)
{
	*out = tensor_rows(to, 0, n);
	return op_linear(m->dev, tensor_rows(y, first, n), m->unembedding, (struct tensor){0}, *out,
		err);
}

/* The same, after it. */
static int unembed(const struct model *m, struct tensor y, size_t first, size_t n, struct tensor to,
	struct tensor *out, struct err *err)
{
	if (unembed_uncapped(m, y, first, n, to, out, err))
		return err->code;
	return op_softcap(m->dev, m->arch.final_softcap, *out, err);
}

/* ---- what is not finite ---------------------------------------------------------------- */

/* Row i of y, which has n. */
static int not_finite(const char *what, const struct batch *of, size_t i, size_t n, struct err *err)
{
	size_t row = i;

	if (!of)
		return err_set(err, ERR_DEVICE, "%s is not finite in row %zu of %zu", what, i, n);
	for (size_t k = 0; n < of->n_out && k < of->n_out; k++)
		if ((size_t)of->out_seq[k] == i)
			row = k;
	return batch_not_finite(what, of->label[of->out_seq[row]], of->out_pos[row], err);
}

static int check_finite(const char *what, const struct batch *of, const double *values, size_t n,
	struct err *err)
{
	for (size_t i = 0; i < n; i++)
		if (!isfinite(values[i]))
			return not_finite(what, of, i, n, err);
	return 0;
}

/* ---- readings -------------------------------------------------------------------------- */

int readout_argmax(struct readout *r, const struct batch *of, struct tensor y, int32_t *token,
	struct err *err)
{
	struct device *dev = r->model->dev;

	for (size_t i = 0; i < y.rows; i += READOUT_ROWS) {
		const size_t n = size_min(READOUT_ROWS, y.rows - i);

		TRY(readout_argmax_on_device(r, tensor_rows(y, i, n), r->token, (struct tensor){0},
			err));
		TRY(device_download(dev, token + i, r->token, n * sizeof *token, err));
	}
	for (size_t i = 0; i < y.rows; i++)
		if (token[i] < 0)
			return not_finite("a logit", of, i, y.rows, err);
	return 0;
fail:
	return err->code;
}

int readout_argmax_on_device(struct readout *r, struct tensor y, int32_t *token, struct tensor lead,
	struct err *err)
{
	const struct model *m = r->model;

	for (size_t i = 0; i < y.rows; i += READOUT_ROWS) {
		const size_t n = size_min(READOUT_ROWS, y.rows - i);
		struct tensor logits;

		TRY(unembed_uncapped(m, y, i, n, r->logits, &logits, err));
		TRY(op_argmax(m->dev, m->arch.final_softcap, logits, token + i,
			lead.data ? tensor_rows(lead, i, n) : lead, err));
	}
	return 0;
fail:
	return err->code;
}

int readout_logprob(struct readout *r, const struct batch *of, struct tensor y,
	const int32_t *token, double *logprob, struct err *err)
{
	struct device *dev = r->model->dev;

	for (size_t i = 0; i < y.rows; i += READOUT_ROWS) {
		const size_t n = size_min(READOUT_ROWS, y.rows - i);
		struct tensor logits;

		TRY(unembed(r->model, y, i, n, r->logits, &logits, err));
		TRY(device_upload(dev, r->token, token + i, n * sizeof *token, err));
		TRY(op_token_logprob(dev, logits, r->token, tensor_rows(r->value, 0, n), err));
		TRY(download_doubles(dev, tensor_rows(r->value, 0, n), logprob + i, err));
	}
	return check_finite("a log-probability", of, logprob, y.rows, err);
fail:
	return err->code;
}

int readout_kl(struct readout *r, const struct batch *of, struct tensor p, struct tensor q,
	double *kl, struct err *err)
{
	for (size_t i = 0; i < p.rows; i += READOUT_ROWS) {
		const size_t n = size_min(READOUT_ROWS, p.rows - i);
		struct tensor logits_p, logits_q;

		TRY(unembed(r->model, p, i, n, r->logits, &logits_p, err));
		TRY(unembed(r->model, q, i, n, r->logits_2, &logits_q, err));
		TRY(op_kl(r->model->dev, logits_p, logits_q, tensor_rows(r->value, 0, n), err));
		TRY(download_doubles(r->model->dev, tensor_rows(r->value, 0, n), kl + i, err));
	}
	for (size_t i = 0; i < p.rows; i++)
		if (kl[i] < 0) /* by rounding alone */
			kl[i] = 0;
	return check_finite("a KL divergence", of, kl, p.rows, err);
fail:
	return err->code;
}

int readout_selected(struct readout *r, const struct batch *of, struct tensor y,
	const int32_t *token, struct tensor logits, double *out, struct err *err)
{
	const struct model *m = r->model;

	TRY(op_selected_logits(m->dev, y, m->unembedding, token, m->arch.final_softcap, logits,
		err));
	TRY(download_doubles(m->dev, logits, out, err));
	for (size_t i = 0; i < tensor_count(logits); i++)
		if (!isfinite(out[i]))
			return not_finite("a logit", of, i / logits.cols, y.rows, err);
	return 0;
fail:
	return err->code;
}

double readout_noise(const struct readout *r)
{
	return device_rounds_products(r->model->dev) ? 0x1p-3 : 0x1p-13;
}
