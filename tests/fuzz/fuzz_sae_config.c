/* SPDX-License-Identifier: MIT
 *
 * fuzz_sae_config.c - the JSON beside a published SAE, by each of its readers. What is accepted can
 * be divided by and is of a layer, and says the same when it is read again.
 */
#include "host/model/sae_config.h"
#include "host/model/sae_site.h"
#include "tests/fuzz/fuzz.h"

#include <math.h>
#include <string.h>

static void check_where(struct sae_where w)
{
	struct site site = {w.layer, SITE_RESID_POST}, again;

	MUST(memchr(w.place, '\0', sizeof w.place));
	MUST(!w.has_layer || (w.layer < 1000000 && w.layer <= w.block && w.block - w.layer <= 1));
	if (!sae_where_is(&w, site))
		return;
	MUST(site_of_name(site_name(site).text, &again) && site_equal(site, again));
}

static void check_saelens(const json_t *json)
{
	struct saelens_config a, b;
	struct err err = {0};
	const char *hook = NULL;
	int rc = saelens_config_read(&a, json, "input", &err);

	MUST_EXPLAIN(rc, err);
	if (rc == 0) {
		MUST(a.kind <= SAELENS_THRESHOLD && a.input <= SAE_INPUT_STANDARDIZED);
		MUST((a.kind == SAELENS_TOP_K) == (a.k > 0) && a.k <= INT32_MAX);
		MUST(saelens_config_read(&b, json, "input", &err) == 0);
		MUST(a.kind == b.kind && a.input == b.input && a.k == b.k &&
			a.subtract_b_dec == b.subtract_b_dec && a.rescaled == b.rescaled &&
			a.scaled == b.scaled);
	}
	err = (struct err){0};
	rc = saelens_config_hook(&hook, json, "input", &err);
	MUST_EXPLAIN(rc, err);
	if (rc == 0)
		check_where(sae_where_of_hook(hook));
	if (rc == 0)
		check_where(sae_where_of_folder(hook));
}

/* A file of a site is that of no other. */
static void check_site(const json_t *json)
{
	size_t n_accepted = 0;

	for (size_t l = 0; l < 3; l++) {
		const struct site site = {l, SITE_RESID_POST};
		struct sae_file file = {.reads = site, .writes = site};
		struct err err = {0};
		const int rc = sae_site_check_config(&file, json, "input", &err);

		MUST_EXPLAIN(rc, err);
		n_accepted += rc == 0 && *file.said.by;
	}
	MUST(n_accepted <= 1);
}

static void check_sparsify(const json_t *json)
{
	struct sparsify_config c;
	struct err err = {0};
	const int rc = sparsify_config_read(&c, json, "input", &err);

	MUST_EXPLAIN(rc, err);
	MUST(rc != 0 || (c.k >= 1 && c.k <= INT32_MAX));
}

static void check_llama_scope(const json_t *json)
{
	struct llama_scope_config c;
	struct err err = {0};
	const int rc = llama_scope_config_read(&c, json, "input", &err);

	MUST_EXPLAIN(rc, err);
	MUST(rc != 0 || (c.norm_in > 0 && isfinite(c.norm_in) && c.norm_out > 0 &&
				isfinite(c.norm_out) && c.threshold > 0 && isfinite(c.threshold)));
}

static void check_lm_saes(const json_t *json)
{
	struct lm_saes_config c;
	struct err err = {0};
	const int rc = lm_saes_config_read(&c, json, "input", &err);

	MUST_EXPLAIN(rc, err);
	MUST(rc != 0 || (*c.hook && memchr(c.hook, '\0', sizeof c.hook)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err err = {0};
	json_t *json;
	const int rc = json_parse(&json, "input", size ? (const char *)data : "", size, &err);

	MUST_EXPLAIN(rc, err);
	if (rc)
		return 0;
	check_saelens(json);
	check_sparsify(json);
	check_llama_scope(json);
	check_lm_saes(json);
	check_site(json);
	json_decref(json);
	return 0;
}
