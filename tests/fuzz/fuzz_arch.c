/* SPDX-License-Identifier: MIT
 *
 * fuzz_arch.c - a model's config.json. Whatever is accepted has sizes that the loader may multiply
 * and divide by.
 */
#include "host/model/arch.h"
#include "tests/fuzz/fuzz.h"

#include <math.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct arch arch; /* large */
	struct err err = {0};
	const int rc = arch_parse(&arch, "input", size ? (const char *)data : "", size, 0, &err);

	MUST_EXPLAIN(rc, err);
	if (rc)
		return 0;
	MUST(arch.n_layer >= 1 && arch.n_layer <= ARCH_MAX_LAYERS);
	MUST(arch.d_model >= 1 && arch.d_ff >= 1 && arch.n_vocab >= 1 && arch.max_position >= 1);
	MUST(arch.n_head >= 1 && arch.n_kv_head >= 1 && arch.n_head % arch.n_kv_head == 0);
	MUST(arch.head_dim >= 2 && arch.head_dim <= 1 << 20 && arch.n_head <= 1 << 20);
	MUST(isfinite(arch.attention_scale) && arch.attention_scale > 0);
	MUST(isfinite(arch.norm.eps) && arch.norm.eps > 0);
	MUST(isfinite(arch.attention_softcap) && isfinite(arch.final_softcap));
	return 0;
}
