/* SPDX-License-Identifier: MIT
 *
 * readout.c - Contract: readout.h. Tests: tests/test_model.c.
 */
#include "host/model/readout.h"

#include "host/base/size.h"
#include "host/model/carver.h"
#include "host/model/transfer.h"

#include <math.h>
#include <stdlib.h>

enum { LEAST_ROWS = 32, MOST_ROWS = 256, SMALL_BYTES = 64 << 20 };

static struct readout readout_of(const struct model *m)
{
	const size_t bytes = size_max(SMALL_BYTES, m->bytes / 4);
	const size_t fit = bytes / (m->arch.n_vocab * dtype_bytes(device_activation(m->dev)));
	const size_t rows = size_min(MOST_ROWS, size_max(LEAST_ROWS, fit));

	if (device_is_host(m->dev))
		return (struct readout){.model = m, .rows = LEAST_ROWS, .kl_rows = LEAST_ROWS};
	return (struct readout){.model = m, .rows = rows, .kl_rows = rows / 2};
}

static void layout(void *object, struct carver *c)
{
	struct readout *r = object;

	r->logits = carve(c, size_max(r->rows, 2 * r->kl_rows), r->model->arch.n_vocab);
	r->value = carve(c, size_max(r->rows, r->kl_rows), 1);
	r->token = carve_ints(c, r->rows);
}

int readout_init(struct readout *r, const struct model *m, struct err *err)
{
	*r = readout_of(m);
	return carve_allocate(m->dev, layout, r, &r->memory, err);
}

size_t readout_bytes(const struct model *m)
{
	struct readout r = readout_of(m);

	return carve_count(m->dev, layout, &r);
}

void readout_free(struct readout *r)
{
	if (r->model)
		device_free(r->model->dev, r->memory);
	*r = (struct readout){0};
}

/* Logits of every row of y, before the cap and after it. */
static int unembed_uncapped(const struct model *m, struct tensor y, struct tensor out,
	struct err *err)
{
	return op_linear(m->dev, y, m->unembedding, (struct tensor){0}, out, err);
}

static int unembed(const struct model *m, struct tensor y, struct tensor out, struct err *err)
{
	if (unembed_uncapped(m, y, out, err))
		return err->code;
	return op_softcap(m->dev, m->arch.final_softcap, out, err);
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
	float *lead, struct err *err)
{
	struct device *dev = r->model->dev;

	for (size_t i = 0; i < y.rows; i += r->rows) {
		const size_t n = size_min(r->rows, y.rows - i);
		const struct tensor leads = tensor_rows(r->value, 0, n);

		TRY(readout_argmax_on_device(r, tensor_rows(y, i, n), r->token,
			lead ? leads : (struct tensor){0}, err));
		TRY(device_download(dev, token + i, r->token, n * sizeof *token, err));
		if (lead)
			TRY(download_floats(dev, leads, lead + i, err));
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

	for (size_t i = 0; i < y.rows; i += r->rows) {
		const size_t n = size_min(r->rows, y.rows - i);
		const struct tensor logits = tensor_rows(r->logits, 0, n);

		TRY(unembed_uncapped(m, tensor_rows(y, i, n), logits, err));
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

	for (size_t i = 0; i < y.rows; i += r->rows) {
		const size_t n = size_min(r->rows, y.rows - i);
		const struct tensor logits = tensor_rows(r->logits, 0, n);

		TRY(unembed(r->model, tensor_rows(y, i, n), logits, err));
		TRY(device_upload(dev, r->token, token + i, n * sizeof *token, err));
		TRY(op_token_logprob(dev, logits, r->token, tensor_rows(r->value, 0, n), err));
		TRY(download_doubles(dev, tensor_rows(r->value, 0, n), logprob + i, err));
	}
	return check_finite("a log-probability", of, logprob, y.rows, err);
fail:
	return err->code;
}

int readout_lead_over(struct readout *r, const struct batch *of, struct tensor y,
	const int32_t *token, int32_t other, float *lead, struct err *err)
{
	const double noise = readout_noise(r);
	bool any = false;
	double *logprob;
	int32_t *others;

	for (size_t i = 0; i < y.rows; i++)
		any |= token[i] != other && lead[i] < noise;
	if (!any)
		return 0;
	logprob = malloc(2 * y.rows * sizeof *logprob);
	others = malloc(y.rows * sizeof *others);
	err_clear(err);
	if (!logprob || !others) {
		err_nomem(err, "leads", 2 * y.rows * sizeof *logprob);
		goto fail;
	}
	for (size_t i = 0; i < y.rows; i++)
		others[i] = other;
	TRY(readout_logprob(r, of, y, token, logprob, err));
	TRY(readout_logprob(r, of, y, others, logprob + y.rows, err));
	for (size_t i = 0; i < y.rows; i++)
		if (token[i] != other)
			lead[i] = fmaxf(lead[i], (float)(logprob[i] - logprob[y.rows + i]));
fail:
	free(logprob);
	free(others);
	return err->code;
}

int readout_kl(struct readout *r, const struct batch *of, struct tensor p, struct tensor q,
	double *kl, struct err *err)
{
	struct device *dev = r->model->dev;

	for (size_t i = 0; i < p.rows; i += r->kl_rows) {
		const size_t n = size_min(r->kl_rows, p.rows - i);
		const struct tensor logits_p = tensor_rows(r->logits, 0, n);
		const struct tensor logits_q = tensor_rows(r->logits, r->kl_rows, n);

		TRY(unembed(r->model, tensor_rows(p, i, n), logits_p, err));
		TRY(unembed(r->model, tensor_rows(q, i, n), logits_q, err));
		TRY(op_kl(dev, logits_p, logits_q, tensor_rows(r->value, 0, n), err));
		TRY(download_doubles(dev, tensor_rows(r->value, 0, n), kl + i, err));
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
