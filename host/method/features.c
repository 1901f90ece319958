/* SPDX-License-Identifier: MIT
 *
 * features.c - Contract: features.h. Clamping plans: clamp_plan.c. Tests: tests/test_method.c.
 */
#include "host/method/features.h"

#include "host/base/random.h"
#include "host/base/vec.h"

#include <math.h>

static bool better(struct feature a, struct feature b)
{
	if (a.score != b.score)
		return a.score > b.score;
	if (a.layer != b.layer)
		return a.layer < b.layer;
	return a.id < b.id;
}

int feature_set_add(struct feature_set *set, struct feature f, struct err *err)
{
	return vec_push(set, f, err);
}

int feature_set_offer(struct feature_set *set, size_t limit, struct feature f, struct err *err)
{
	size_t i = set->n;

	if (limit == 0 || (set->n == limit && !better(f, set->data[limit - 1])))
		return 0;
	if (set->n < limit) {
		if (vec_push(set, f, err))
			return err->code;
	} else {
		i = limit - 1;
	}
	for (; i > 0 && better(f, set->data[i - 1]); i--)
		set->data[i] = set->data[i - 1];
	set->data[i] = f;
	return 0;
}

void feature_set_without_zeros(struct feature_set *set)
{
	size_t n = 0;

	for (size_t i = 0; i < set->n; i++)
		if (set->data[i].score != 0)
			set->data[n++] = set->data[i];
	set->n = n;
}

bool feature_set_holds(const struct feature_set *set, int32_t layer, int32_t id)
{
	for (size_t i = 0; i < set->n; i++)
		if (set->data[i].layer == layer && set->data[i].id == id)
			return true;
	return false;
}

size_t feature_set_undecided(const struct feature_set *set, const struct feature_set *among,
	const float *score, const float *noise)
{
	double best_out = -INFINITY;
	size_t n = 0;

	for (size_t k = 0; k < among->n; k++)
		if (!feature_set_holds(set, among->data[k].layer, among->data[k].id))
			best_out = fmax(best_out, (double)score[k] + noise[k]);
	for (size_t k = 0; k < among->n; k++)
		n += (double)score[k] - noise[k] <= best_out &&
		     feature_set_holds(set, among->data[k].layer, among->data[k].id);
	return n;
}

static double off_by(struct score_noise noise, struct feature f)
{
	return noise.fixed + noise.share * fabs((double)f.score);
}

size_t feature_set_cut(struct feature_set *set, size_t limit, struct score_noise noise)
{
	struct feature out;
	size_t n = 0;

	if (set->n <= limit)
		return 0;
	out = set->data[limit];
	set->n = limit;
	for (size_t i = 0; i < limit; i++) {
		const struct feature f = set->data[i];

		n += f.score - off_by(noise, f) <= out.score + off_by(noise, out);
	}
	return n;
}

int feature_set_random(struct feature_set *set, const struct feature_set *like,
	const uint8_t *alive, size_t n_layer, size_t d_sae, uint64_t seed, struct err *err)
{
	int32_t *pool = malloc(d_sae * sizeof *pool + 1);

	if (!pool)
		return err_nomem(err, "random features", d_sae * sizeof *pool);
	for (size_t l = 0; l < n_layer; l++) {
		size_t wanted = 0, n = 0;

		for (size_t i = 0; i < like->n; i++)
			wanted += (size_t)like->data[i].layer == l;
		for (size_t i = 0; i < d_sae; i++)
			if (alive[l * d_sae + i] &&
				!feature_set_holds(like, (int32_t)l, (int32_t)i))
				pool[n++] = (int32_t)i;
		for (; wanted > 0 && n > 0; wanted--) {
			const size_t k = random_below(&seed, n);

			TRY(feature_set_add(set, (struct feature){(int32_t)l, pool[k], 0, 0}, err));
			pool[k] = pool[--n];
		}
	}
	free(pool);
	return 0;
fail:
	free(pool);
	return err->code;
}

int feature_set_first(const struct feature_set *set, const struct feature_set *without, size_t n,
	struct feature_set *out, struct err *err)
{
	size_t taken = 0;

	for (size_t i = 0; i < set->n && taken < n; i++) {
		if (feature_set_holds(without, set->data[i].layer, set->data[i].id))
			continue;
		if (feature_set_add(out, set->data[i], err))
			return err->code;
		taken++;
	}
	return 0;
}
