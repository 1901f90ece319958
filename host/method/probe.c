/* SPDX-License-Identifier: MIT
 *
 * probe.c - Contract: probe.h. Tests: tests/test_method.c.
 */
#include "host/method/probe.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* log(1 + exp(s)) - y s: cross-entropy of a label given its score. */
static double loss_of(double score, uint8_t label)
{
	return fmax(score, 0) + log1p(exp(-fabs(score))) - (label ? score : 0);
}

static double score_at(const double *w, const float *x, size_t m)
{
	double score = w[m];

	for (size_t j = 0; j < m; j++)
		score += w[j] * x[j];
	return score;
}

double probe_score(const struct probe *p, const float *x)
{
	return score_at(p->weight, x, p->m);
}

static double mean_loss(const double *w, const struct probe_data *d)
{
	double sum = 0;

	for (size_t i = 0; i < d->n; i++)
		sum += loss_of(score_at(w, d->x + d->row[i] * d->m, d->m), d->y[d->row[i]]);
	return sum / (double)d->n;
}

static void gradient(const double *w, const struct probe_data *d, double *g)
{
	memset(g, 0, (d->m + 1) * sizeof *g);
	for (size_t i = 0; i < d->n; i++) {
		const float *x = d->x + d->row[i] * d->m;
		const double p = 1 / (1 + exp(-score_at(w, x, d->m)));
		const double error = (p - d->y[d->row[i]]) / (double)d->n;

		for (size_t j = 0; j < d->m; j++)
			g[j] += error * x[j];
		g[d->m] += error;
	}
}

/* Loshchilov and Hutter, arXiv:1711.05101, with the usual constants. */
static void adamw_step(double *w, const double *g, double *mean, double *square, size_t n,
	size_t step, const struct probe_options *o)
{
	const double beta1 = 0.9, beta2 = 0.999, eps = 1e-8;
	const double correct1 = 1 - pow(beta1, (double)step),
		     correct2 = 1 - pow(beta2, (double)step);

	for (size_t j = 0; j < n; j++) {
		mean[j] = beta1 * mean[j] + (1 - beta1) * g[j];
		square[j] = beta2 * square[j] + (1 - beta2) * g[j] * g[j];
		w[j] -= o->rate * o->decay * w[j];
		w[j] -= o->rate * (mean[j] / correct1) / (sqrt(square[j] / correct2) + eps);
	}
}

int probe_train(struct probe *p, const struct probe_data *train,
	const struct probe_data *validation, const struct probe_options *options, struct err *err)
{
	const size_t n = train->m + 1;
	double *scratch = calloc(4 * n, sizeof *scratch);
	double *w = scratch, *g = w + n, *mean = g + n, *square = mean + n;

	*p = (struct probe){.m = train->m, .validation_loss = INFINITY, .lead = INFINITY};
	p->weight = calloc(n, sizeof *p->weight);
	if (!scratch || !p->weight) {
		free(scratch);
		return err_nomem(err, "a probe", 5 * n * sizeof *scratch);
	}
	for (size_t epoch = 1; epoch <= options->epochs; epoch++) {
		double loss;

		gradient(w, train, g);
		adamw_step(w, g, mean, square, n, epoch, options);
		loss = mean_loss(w, validation);
		p->lead = loss < p->validation_loss ? p->validation_loss - loss
						    : fmin(p->lead, loss - p->validation_loss);
		if (loss >= p->validation_loss)
			continue;
		p->validation_loss = loss;
		p->best_epoch = epoch;
		memcpy(p->weight, w, n * sizeof *w);
	}
	free(scratch);
	return 0;
}

void probe_free(struct probe *p)
{
	free(p->weight);
	*p = (struct probe){0};
}
