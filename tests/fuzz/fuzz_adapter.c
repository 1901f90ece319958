/* SPDX-License-Identifier: MIT
 *
 * fuzz_adapter.c - an adapter_config.json. Whatever is accepted says of every module whether it is
 * meant, the same when it is asked again, and scales it by a number.
 */
#include "host/formats/json.h"
#include "host/model/adapter_targets.h"
#include "tests/fuzz/fuzz.h"

#include <math.h>

static void ask(const json_t *config, const char *name, enum module_kind kind)
{
	struct err err = {0};
	bool targeted, again;
	int64_t r;
	double scale;
	int rc = adapter_targets(config, "input", name, kind, &targeted, &err);

	MUST_EXPLAIN(rc, err);
	if (rc == 0) {
		MUST(adapter_targets(config, "input", name, kind, &again, &err) == 0);
		MUST(targeted == again);
	}
	err = (struct err){0};
	rc = adapter_scale(config, "input", name, &r, &scale, &err);
	MUST_EXPLAIN(rc, err);
	if (rc == 0)
		MUST(r >= 1 && isfinite(scale));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err err = {0};
	json_t *config;
	int rc;

	if (json_parse(&config, "input", size ? (const char *)data : "", size, &err))
		return 0;
	rc = adapter_config_check(config, "input", &err);
	MUST_EXPLAIN(rc, err);
	if (rc == 0) {
		ask(config, "model.layers.0.self_attn.q_proj", MODULE_LINEAR);
		ask(config, "language_model.model.layers.11.mlp.down_proj", MODULE_LINEAR);
		ask(config, "lm_head", MODULE_HEAD);
		ask(config, "model.embed_tokens", MODULE_EMBEDDING);
		ask(config, "model.norm", MODULE_NORM);
	}
	json_decref(config);
	return 0;
}
