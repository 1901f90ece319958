/* SPDX-License-Identifier: MIT
 *
 * result_lines.c - Contract: result_lines.h. Tests: test_compare_results.c.
 *
 * Rounding moves values a little, and turns decisions over. Lines are of one kind or the other.
 *
 * Values. An input of a product is off by at most 2^-9 of itself in bfloat16. Through the layers
 * of a model ten such steps may go one way, 0.02 in all: so far apart may metrics lie, by the
 * largest of them, and effects, each by its own size; of a direction or a row 1 - cosine is half
 * the square, 2e-4, and of gradients, which come through twice as many products, 1e-3. Log-odds of
 * the first token are a difference of logits, and readout_noise (readout.h) says how far rounding
 * moves one.
 *
 * Decisions. A feature near its threshold may be on in one file and off in the other: its effect at
 * that token is then there or not, and what is clamped with it changes, whatever the noise. That
 * befalls few features of few prompts: effects and log-odds are bounded in the median, and the
 * effects of one prompt of ten may lie further apart. Features of almost equal effect take each
 * other's place in a set; a quarter of it may. A reply may part where a token led by less than
 * readout_noise; the file has the least lead of each. With a greater one it must not part in the
 * unedited model, and of a clamped one's, by features near their thresholds, one in twenty may be a
 * refusal in one file only.
 *
 * Random features are drawn from those that occurred: one that occurs in one file only moves
 * every draw behind it. A condition that clamps other features is another experiment and is not
 * compared. Neither are those that clamp each prompt's own features, ranked by effects that are
 * zero where ablation changes nothing. Effects are compared for prompts whose patched run ends in
 * another token than the refusal: for the others the metric is zero by definition.
 *
 * Where both have float32 products, sums in another order leave far less of all this. Sums here run
 * in double precision.
 */
#include "tests/result_lines.h"

#include <math.h>
#include <stdlib.h>

const struct line result_lines[N_LINES] = {
	[DIRECTION] = {"direction: worst 1 - cosine", false, 1e-6, 2e-4},
	[METRIC] = {"metric: worst difference, of the largest", false, 1e-4, 2e-2},
	[EFFECTS] = {"effects of a layer: worst median difference, of each", false, 1e-4, 2e-2},
	[EFFECTS_NEAR] = {"effects of a prompt: share within a tenth of their length", true, 0.99,
		0.9},
	[SAVED_RESID] = {"saved resid_post: worst 1 - cosine", false, 1e-6, 2e-4},
	[SAVED_GRADIENTS] = {"saved gradients: worst 1 - cosine of a layer", false, 1e-5, 1e-3},
	[FEATURES] = {"global features: least overlap", true, 0.9, 0.75},
	[REFUSAL] = {"refusal: worst share that differs, of no narrow lead", false, 0.01, 0.05},
	[P_REFUSAL] = {"P(refusal): worst median shift of log-odds", false, 0x1p-13, 0x1p-3},
	[REPLIES] = {"unedited replies of no narrow lead: share of equal ones", true, 1, 1},
};

void line_measure(struct comparison *c, int line, double value)
{
	const double worst = c->measured[line].value;

	if (!c->measured[line].known || isnan(value) ||
		(result_lines[line].at_least ? value < worst : value > worst))
		c->measured[line].value = value;
	c->measured[line].known = true;
}

static int order(const void *a, const void *b)
{
	const double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

double median(double *x, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (isnan(x[i]))
			return NAN;
	qsort(x, n, sizeof *x, order);
	return x[n / 2];
}
