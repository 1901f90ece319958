/* SPDX-License-Identifier: MIT
 *
 * test_sae.c - every published SAE format: what the engine encodes and decodes with the files of
 * tests/golden/saes against the publishers' own code in float64 (tests/golden/make_saes.py), how
 * folders are found, and what is said of files that do not fit.
 *
 * Features must have the same support; values and reconstructions agree to 1e-5 of the largest on
 * the CPU in float32, and to 2e-6 in float64, where the stored float32 of the golden files and of
 * the folded weights remain.
 */
#include "host/formats/safetensors.h"
#include "host/model/sae.h"
#include "host/model/sparse.h"
#include "host/model/transfer.h"
#include "kernels/backend.h"
#include "kernels/ref/ref.h"
#include "tests/device_fixture.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

enum { D = 24, N_ROWS = 12, N_LAYERS = 3, MOST_FEATURES = 48 };

static struct sae_options options_of(const char *path)
{
	return (struct sae_options){.path = path,
		.format = "auto",
		.layer_folder = "",
		.width = "40",
		.l0 = 100,
		.fold = "authors",
		.budget = 1 << 20};
}

static const char *golden_folder(const char *name)
{
	static char path[600];

	snprintf(path, sizeof path, "%s/tests/golden/saes/%s", test_source_root(), name);
	return path;
}

/* ---- values ------------------------------------------------------------------------------ */

struct expected {
	struct safetensors *file;
	const char *suffix;
};

static const float *expected_values(const struct expected *e, const char *kind, size_t layer)
{
	char name[64];
	const struct file_tensor *t;

	snprintf(name, sizeof name, "%s%s.%zu", kind, e->suffix, layer);
	t = safetensors_find(e->file, name);
	if (!t) {
		fprintf(stderr, "expected.safetensors has no %s\n", name);
		exit(1);
	}
	return (const float *)t->data;
}

static void check_close(const char *what, size_t layer, const float *got, const float *expected,
	size_t n, double tolerance)
{
	double worst = 0, scale = 0;

	for (size_t i = 0; i < n; i++) {
		worst = fmax(worst, fabs((double)got[i] - expected[i]));
		scale = fmax(scale, fabs(expected[i]));
	}
	CHECK(worst <= tolerance * scale, "%s of layer %zu differ by %.2g of the largest", what,
		layer, worst / scale);
}

static void check_layer(struct device *dev, struct sae_set *saes, const struct expected *e,
	size_t layer, const char *name, double tolerance)
{
	const size_t d_sae = sae_set_width(saes);
	struct fixture f;
	struct sparse sparse = {.dev = dev};
	struct host_csr csr = {0};
	struct sae_weights sae;
	struct tensor x, x_hat;
	const float *x_host = (const float *)safetensors_find(e->file, "x")->data;
	float dense[N_ROWS * MOST_FEATURES] = {0}, decoded[N_ROWS * D];
	const float *feature = expected_values(e, "feature", layer);
	struct err err = {0};

	fixture_init(&f, dev, 1);
	x = fixture_zeros(&f, N_ROWS, D);
	x_hat = fixture_zeros(&f, N_ROWS, D);
	for (size_t i = 0; i < N_ROWS * D; i++)
		fixture_set(x, i, x_host[i]);
	REQUIRE(sae_set_load(saes, layer, &sae, &err) == 0 &&
			sparse_encode(&sparse, &sae, x, &err) == 0 &&
			sparse_download(&sparse, &csr, &err) == 0 &&
			op_sae_decode(dev, &sae, x, &sparse.csr, x_hat, &err) == 0 &&
			download_floats(dev, x_hat, decoded, &err) == 0,
		"%s: %s", name, err.text);
	for (size_t r = 0; r < N_ROWS; r++)
		for (int32_t k = csr.indptr[r]; k < csr.indptr[r + 1]; k++)
			dense[r * d_sae + (size_t)csr.indices[k]] = csr.values[k];
	for (size_t i = 0; i < N_ROWS * d_sae; i++)
		CHECK((dense[i] != 0) == (feature[i] != 0),
			"%s layer %zu: row %zu, feature %zu is %g, expected %g", name, layer,
			i / d_sae, i % d_sae, (double)dense[i], (double)feature[i]);
	check_close(name, layer, dense, feature, N_ROWS * d_sae, tolerance);
	check_close(name, layer, decoded, expected_values(e, "decoded", layer), N_ROWS * D,
		tolerance);
	host_csr_free(&csr);
	sparse_free(&sparse);
	fixture_free(&f);
}

/* A golden folder under options that may be other than the usual ones. */
static void check_format(const char *name, const struct sae_options *options, const char *suffix,
	const char *format)
{
	char path[700];

	snprintf(path, sizeof path, "%s/expected.safetensors", golden_folder(name));
	for (int wide = 0; wide <= 1; wide++) {
		struct device *dev;
		struct sae_set *saes;
		struct expected e = {.suffix = suffix};
		struct err err;

		if (wide)
			REQUIRE_OK(device_open_backend(&dev, &backend_ref_f64, 1, &err), &err);
		else
			REQUIRE_OK(device_open(&dev, "cpu", 2, &err), &err);
		REQUIRE_OK(safetensors_open(&e.file, path, &err), &err);
		REQUIRE_OK(sae_set_open(&saes, dev, options, N_LAYERS, D, &err), &err);
		CHECK(strcmp(sae_set_format(saes), format) == 0, "%s is taken for %s", name,
			sae_set_format(saes));
		for (size_t l = 0; l < N_LAYERS; l++)
			if (sae_set_has(saes, l))
				check_layer(dev, saes, &e, l, name, wide ? 2e-6 : 1e-5);
		sae_set_close(saes);
		safetensors_close(e.file);
		device_close(dev);
	}
}

static const struct {
	const char *name, *format;
} formats[] = {{"gemma_scope", "gemma_scope"}, {"llama_scope", "llama_scope"},
	{"lm_saes", "lm_saes"}, {"saelens_standard", "saelens"}, {"saelens_gated", "saelens"},
	{"saelens_topk", "saelens"}, {"saelens_jumprelu", "saelens"},
	{"saelens_batchtopk", "saelens"}, {"saelens_sphere", "saelens"},
	{"saelens_standardized", "saelens"}, {"saelens_before_6", "saelens"},
	{"sparsify_topk", "sparsify"}, {"sparsify_groupmax", "sparsify"},
	{"gemma_scope_2", "gemma_scope_2"}};

TEST(every_format_is_told_by_its_folder_and_encodes_and_decodes_as_its_publisher_does)
{
	for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
		const bool llama = strcmp(formats[i].name, "llama_scope") == 0;
		struct sae_options options;
		char path[600];

		snprintf(path, sizeof path, "%s", golden_folder(formats[i].name));
		options = options_of(path);
		options.width = llama ? "1x" : "40";
		options.some_layers = strcmp(formats[i].name, "gemma_scope_2") == 0;
		check_format(formats[i].name, &options, "", formats[i].format);
	}
}

TEST(the_three_folds_of_llama_scope_are_what_authors_and_saelens_compute)
{
	const char *const folds[] = {"authors", "saelens5", "saelens6"};
	char path[600];

	snprintf(path, sizeof path, "%s", golden_folder("llama_scope"));
	for (size_t i = 0; i < 3; i++) {
		struct sae_options options = options_of(path);
		char suffix[32];

		snprintf(suffix, sizeof suffix, "_%s", folds[i]);
		options.width = "1x";
		options.fold = folds[i];
		check_format("llama_scope", &options, suffix, "llama_scope");
	}
}

TEST(the_average_l0_nearest_to_the_wanted_one_is_taken_or_the_folder_that_is_named)
{
	char path[600];
	struct sae_options options;

	snprintf(path, sizeof path, "%s", golden_folder("gemma_scope"));
	options = options_of(path);
	check_format("gemma_scope", &options, "_112", "gemma_scope");
	options.l0 = 85;
	check_format("gemma_scope", &options, "_60", "gemma_scope");
	options.layer_folder = "layer_{layer}/width_40/average_l0_112";
	check_format("gemma_scope", &options, "_112", "gemma_scope");
}

/* ---- a few features ---------------------------------------------------------------------- */

TEST(a_few_features_are_those_of_the_whole_encoding_in_every_format)
{
	static const int32_t ids[] = {31, 0, 17, 5, 39};
	struct device *dev;
	struct err err;

	REQUIRE_OK(device_open(&dev, "cpu", 2, &err), &err);
	for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
		char path[700];
		struct sae_options options;
		struct sae_set *saes;

		snprintf(path, sizeof path, "%s", golden_folder(formats[i].name));
		options = options_of(path);
		options.width = strcmp(formats[i].name, "llama_scope") == 0 ? "1x" : "40";
		options.some_layers = true;
		REQUIRE_OK(sae_set_open(&saes, dev, &options, N_LAYERS, D, &err), &err);
		for (size_t l = 0; l < N_LAYERS; l++) {
			struct fixture f;
			struct sae_few few;
			struct sae_weights whole;
			struct csr all;
			struct tensor x, got, expected;
			int32_t *device_ids;

			if (!sae_set_has(saes, l))
				continue;
			fixture_init(&f, dev, 5);
			x = fixture_activation(&f, 7, D, 2);
			got = fixture_zeros(&f, 7, 5);
			expected = fixture_zeros(&f, 7, 5);
			device_ids = fixture_ids(&f, ids, 5);
			all = (struct csr){7, 7 * MOST_FEATURES, fixture_random_ids(&f, 8, 1),
				fixture_random_ids(&f, 7 * MOST_FEATURES, 1),
				fixture_zeros(&f, 7 * MOST_FEATURES, 1)};
			REQUIRE_OK(sae_set_select(saes, l, ids, 5, &few, &err), &err);
			REQUIRE_OK(sae_few_encode(&few, x, got, &err), &err);
			REQUIRE_OK(sae_set_load(saes, l, &whole, &err), &err);
			REQUIRE_OK(op_sae_encode(dev, &whole, x, &all, &err), &err);
			REQUIRE_OK(op_csr_select(dev, &all, device_ids, expected, &err), &err);
			for (size_t k = 0; k < 35; k++)
				CHECK(fabs(fixture_get(got, k) - fixture_get(expected, k)) < 1e-5,
					"%s layer %zu: feature %d of row %zu is %g, expected %g",
					formats[i].name, l, ids[k % 5], k / 5, fixture_get(got, k),
					fixture_get(expected, k));
			sae_few_free(&few);
			fixture_free(&f);
		}
		sae_set_close(saes);
	}
	device_close(dev);
}

/* ---- types and threads ------------------------------------------------------------------- */

static struct tensor array_of(const struct sae_weights *w, size_t i)
{
	const struct tensor arrays[] = {w->W_enc_t, w->W_dec, w->b_enc, w->threshold, w->gain,
		w->shift, w->b_dec};

	return arrays[i];
}

enum { N_MATRICES = 2, N_ARRAYS = 7 };

static double element(struct tensor t, size_t i)
{
	return t.dtype == DTYPE_BF16 ? bf16_to_f32(((const uint16_t *)t.data)[i])
				     : fixture_get(t, i);
}

static void open_golden(struct sae_set **saes, struct device *dev, size_t i, enum sae_dtype dtype,
	size_t budget)
{
	char path[700];
	struct sae_options options;
	struct err err;

	snprintf(path, sizeof path, "%s", golden_folder(formats[i].name));
	options = options_of(path);
	options.width = strcmp(formats[i].name, "llama_scope") == 0 ? "1x" : "40";
	options.some_layers = true;
	options.dtype = dtype;
	options.budget = budget;
	REQUIRE_OK(sae_set_open(saes, dev, &options, N_LAYERS, D, &err), &err);
}

static void check_types(struct sae_set *saes, struct sae_set *exact, size_t layer, const char *name)
{
	const bool all = sae_set_dtype(saes) == SAE_RELEASED;
	struct sae_weights w, published;
	struct err err;

	REQUIRE_OK(sae_set_load(saes, layer, &w, &err), &err);
	REQUIRE_OK(sae_set_load(exact, layer, &published, &err), &err);
	for (size_t a = 0; a < N_ARRAYS; a++) {
		const struct tensor t = array_of(&w, a), from = array_of(&published, a);
		const bool rounded = a < N_MATRICES || all;

		CHECK(t.dtype == (a < N_MATRICES ? DTYPE_BF16 : DTYPE_F32) &&
				from.dtype == DTYPE_F32 && t.rows == from.rows &&
				t.cols == from.cols,
			"%s layer %zu: array %zu is %s [%zu, %zu]", name, layer, a,
			dtype_name(t.dtype), t.rows, t.cols);
		for (size_t j = 0; j < tensor_count(t); j++) {
			const float value = (float)element(from, j);
			const float expected = rounded ? bf16_to_f32(f32_to_bf16(value)) : value;

			CHECK((float)element(t, j) == expected,
				"%s layer %zu: array %zu, value %zu is %.9g, expected %.9g", name,
				layer, a, j, element(t, j), (double)expected);
		}
	}
}

TEST(bf16_rounds_matrices_and_released_all_values_of_every_format)
{
	struct device *dev;
	struct err err;

	REQUIRE_OK(device_open(&dev, "cpu", 1, &err), &err);
	for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
		for (enum sae_dtype dtype = SAE_BF16; dtype <= SAE_RELEASED; dtype++) {
			struct sae_set *saes, *exact;

			open_golden(&saes, dev, i, dtype, 1 << 20);
			open_golden(&exact, dev, i, SAE_FLOAT32, 1 << 20);
			for (size_t l = 0; l < N_LAYERS; l++)
				if (sae_set_has(saes, l))
					check_types(saes, exact, l, formats[i].name);
			sae_set_close(saes);
			sae_set_close(exact);
		}
	}
	device_close(dev);
}

/* Layers that stay loaded when all are asked for in turn. */
static void count_resident(struct device *dev, struct sae_set *saes, size_t *n)
{
	struct sae_weights w;
	struct err err;

	for (size_t l = 0; l < N_LAYERS; l++)
		REQUIRE_OK(sae_set_load(saes, l, &w, &err), &err);
	*n = device_allocated(dev) / sae_set_bytes(saes, 0);
}

TEST(bf16_halves_an_sae_and_a_budget_holds_twice_as_many)
{
	const size_t matrices = (size_t)2 * 40 * D, vectors = 2 * 192 + 128; /* of 64 bytes each */
	struct device *dev;
	struct err err;

	REQUIRE_OK(device_open(&dev, "cpu", 1, &err), &err);
	for (int half = 0; half <= 1; half++) {
		struct sae_set *saes;
		size_t bytes, n = 0;

		open_golden(&saes, dev, 0, half ? SAE_BF16 : SAE_FLOAT32,
			2 * (2 * matrices + vectors));
		bytes = sae_set_bytes(saes, 0);
		CHECK(bytes == matrices * (half ? 2 : 4) + vectors, "%zu bytes", bytes);
		count_resident(dev, saes, &n);
		CHECK(n == (half ? 2 : 1), "%zu SAEs are loaded", n);
		sae_set_close(saes);
	}
	device_close(dev);
}

TEST(cosines_and_a_few_features_are_those_of_the_rows_in_bfloat16)
{
	static const int32_t ids[] = {39, 2, 21};
	struct sae_set *saes;
	struct device *dev;
	struct sae_few few;
	struct sae_weights whole;
	float v[D], cosine[40];
	struct err err;

	REQUIRE_OK(device_open(&dev, "cpu", 2, &err), &err);
	open_golden(&saes, dev, 0, SAE_BF16, 1 << 20);
	for (size_t j = 0; j < D; j++)
		v[j] = (float)j - 7;
	REQUIRE_OK(sae_set_cosines(saes, 1, v, cosine, &err), &err);
	REQUIRE_OK(sae_set_select(saes, 1, ids, 3, &few, &err), &err);
	REQUIRE_OK(sae_set_load(saes, 1, &whole, &err), &err);
	for (size_t i = 0; i < 40; i++) {
		double product = 0, row = 0, square = 0;

		for (size_t j = 0; j < D; j++) {
			const double w = element(whole.W_dec, i * D + j);

			product += w * (double)v[j];
			row += w * w;
			square += (double)v[j] * (double)v[j];
		}
		CHECK(fabs(cosine[i] - product / sqrt(row * square)) < 1e-6, "feature %zu: %g", i,
			(double)cosine[i]);
	}
	for (size_t k = 0; k < 3; k++)
		for (size_t j = 0; j < D; j++)
			CHECK(element(few.weights.W_enc_t, k * D + j) ==
						element(whole.W_enc_t, (size_t)ids[k] * D + j) &&
					element(few.weights.W_dec, k * D + j) ==
						element(whole.W_dec, (size_t)ids[k] * D + j),
				"feature %d, value %zu", ids[k], j);
	sae_few_free(&few);
	sae_set_close(saes);
	device_close(dev);
}

/* On the CPU: the released code's values, whichever type they are kept in. */
TEST(encoding_by_matrices_in_bfloat16_agrees_with_float32_matrices_of_the_same_values)
{
	struct sae_set *saes;
	struct sae_weights narrow, wide;
	struct fixture f;
	struct device *dev;
	struct err err;

	REQUIRE_OK(device_open(&dev, "cpu", 2, &err), &err);
	open_golden(&saes, dev, 0, SAE_RELEASED, 1 << 20);
	REQUIRE_OK(sae_set_load(saes, 0, &narrow, &err), &err);
	for (size_t rows = 1; rows <= 70; rows += 23) { /* both products of the CPU */
		struct tensor x, a, b;

		fixture_init(&f, dev, rows);
		x = fixture_activation(&f, rows, D, 2);
		a = fixture_zeros(&f, rows, 40);
		b = fixture_zeros(&f, rows, 40);
		wide = narrow;
		wide.W_enc_t = fixture_weight(&f, DTYPE_F32, 40, D, 1);
		for (size_t i = 0; i < tensor_count(wide.W_enc_t); i++)
			fixture_set(wide.W_enc_t, i, element(narrow.W_enc_t, i));
		REQUIRE_OK(op_sae_encode_selected(dev, &narrow, x, a, &err), &err);
		REQUIRE_OK(op_sae_encode_selected(dev, &wide, x, b, &err), &err);
		for (size_t i = 0; i < tensor_count(a); i++) /* sums of 24 in another order */
			CHECK(fabs(fixture_get(a, i) - fixture_get(b, i)) <=
					1e-6 * fmax(1, fabs(fixture_get(b, i))),
				"%zu rows, value %zu: %.9g and %.9g", rows, i, fixture_get(a, i),
				fixture_get(b, i));
		fixture_free(&f);
	}
	sae_set_close(saes);
	device_close(dev);
}

/* 1024 features: several blocks for each thread. model: its name, and the width of its SAEs. */
static void open_shipped(struct sae_set **saes, struct device *dev, const char *const model[2],
	enum sae_dtype dtype)
{
	char path[600];
	struct sae_options options = options_of(path);
	struct err err;

	snprintf(path, sizeof path, "%s/models/%s-scope", test_source_root(), model[0]);
	options.width = model[1];
	options.dtype = dtype;
	options.budget = 1 << 24;
	REQUIRE_OK(sae_set_open(saes, dev, &options, 6, 128, &err), &err);
}

TEST(any_number_of_threads_reads_the_same_bits)
{
	static const char *const models[][2] = {{"tiny-gemma2", "1k"}, {"tiny-llama", "8x"}};
	struct device *one, *seven;
	struct err err;

	REQUIRE_OK(device_open(&one, "cpu", 1, &err), &err);
	REQUIRE_OK(device_open(&seven, "cpu", 7, &err), &err);
	for (size_t m = 0; m < 2; m++) {
		for (enum sae_dtype dtype = 0; dtype < N_SAE_DTYPES; dtype++) {
			struct sae_weights from_one, from_seven;
			struct sae_set *a, *b;

			open_shipped(&a, one, models[m], dtype);
			open_shipped(&b, seven, models[m], dtype);
			REQUIRE_OK(sae_set_load(a, 3, &from_one, &err), &err);
			REQUIRE_OK(sae_set_load(b, 3, &from_seven, &err), &err);
			for (size_t i = 0; i < N_ARRAYS; i++) {
				const struct tensor s = array_of(&from_one, i),
						    t = array_of(&from_seven, i);

				CHECK(tensor_bytes(s) == tensor_bytes(t) &&
						(tensor_count(s) == 0 ||
							memcmp(s.data, t.data, tensor_bytes(s)) ==
								0),
					"%s as %s: array %zu differs", models[m][0],
					sae_dtype_names[dtype], i);
			}
			sae_set_close(a);
			sae_set_close(b);
		}
	}
	device_close(one);
	device_close(seven);
}

/* ---- what is refused --------------------------------------------------------------------- */

/* A copy of a golden folder's tree in the scratch folder, to be spoiled. */
static const char *copy_tree(const char *name)
{
	static char to[600];
	char command[2048];

	snprintf(to, sizeof to, "%s/saes", test_scratch_folder());
	snprintf(command, sizeof command, "rm -rf '%s' && cp -r '%s' '%s'", to, golden_folder(name),
		to);
	if (system(command) != 0) {
		fprintf(stderr, "%s\n", command);
		exit(1);
	}
	return to;
}

static void edit_file(const char *folder, const char *file, const char *from, const char *to)
{
	char command[2048];

	snprintf(command, sizeof command, "grep -q '%s' '%s/%s' && sed -i 's/%s/%s/' '%s/%s'", from,
		folder, file, from, to, folder, file);
	REQUIRE(system(command) == 0, "%s", command);
}

static const struct refusal {
	const char *golden;
	const char *file, *from, *to; /* an edit of one file; file NULL: none */
	const char *layer_folder;
	size_t n_layer, d_model;
	const char *text; /* %s: the folder */
} refusals[] = {
	{"saelens_topk", "any-x/cfg.json", "\"topk\"", "\"transcoder\"", "", 3, 24,
		"%s/any-x/cfg.json: expected an SAE that reads and reconstructs resid_post, found a "
		"transcoder (architecture)"},
	{"saelens_topk", "any-x/cfg.json", "\"topk\"", "\"jumprelu_skip_transcoder\"", "", 3, 24,
		"%s/any-x/cfg.json: expected an SAE that reads and reconstructs resid_post, found a "
		"transcoder (architecture)"},
	{"saelens_topk", "any-x/cfg.json", "\"topk\"", "\"temporal\"", "", 3, 24,
		"%s/any-x/cfg.json: architecture: expected standard, gated, topk, jumprelu, batchtopk or "
		"matryoshka_batchtopk, found \"temporal\""},
	{"lm_saes", "L1R/config.json", "\"act_fn\": \"jumprelu\"", "\"act_fn\": \"topk\"", "", 3,
		24, "%s/L1R/config.json: act_fn: expected \"jumprelu\", found \"topk\""},
	{"lm_saes", "L1R/config.json", "\"sae_type\": \"sae\"", "\"sae_type\": \"clt\"", "", 3, 24,
		"%s/L1R/config.json: sae_type: expected \"sae\", found \"clt\""},
	{"lm_saes", "L1R/config.json", "dataset-wise", "inference", "", 3, 24,
		"%s/L1R/config.json: norm_activation: expected \"dataset-wise\", found \"inference\""},
	{"lm_saes", "L1R/config.json", "\"hook_point_out\": \"blocks.1.hook_resid_post",
		"\"hook_point_out\": \"blocks.1.hook_mlp_out", "", 3, 24,
		"%s/L1R/config.json: hook_point_out: expected a hook of resid_post of layer 1, where the "
		"engine reads and clamps, found \"blocks.1.hook_mlp_out\", which is mlp_out of layer 1"},
	{"lm_saes", "L1R/config.json", "glu_encoder\": false", "glu_encoder\": true", "", 3, 24,
		"%s/L1R/config.json: expected an SAE that reads and reconstructs resid_post, found a "
		"gated linear encoder (use_glu_encoder)"},
	{"lm_saes", "L1R/sae_weights.safetensors", "norm.blocks.1", "norm.blocks.0", "", 3, 24,
		"%s/L1R/sae_weights.safetensors: expected a tensor "
		"\"dataset_average_activation_norm.blocks.1.hook_resid_post\" of one F32, F64, BF16 or "
		"F16, found none of 0 dimensions"},
	{"saelens_topk", "any-x/cfg.json", "\"k\": 6", "\"k\": 41", "", 3, 24,
		"%s/any-x/cfg.json: k: expected 1 to 40, found 41"},
	{"saelens_topk", "any-y/cfg.json", "\"normalize_activations\": \"none\"",
		"\"normalize_activations\": \"covariance_whitening\"", "", 3, 24,
		"%s/any-y/cfg.json: normalize_activations: expected none, expected_average_only_in, "
		"constant_norm_rescale or layer_norm, found \"covariance_whitening\""},
	{"saelens_topk", "any-y/cfg.json", "\"reshape_activations\": \"none\"",
		"\"reshape_activations\": \"hook_z\"", "", 3, 24,
		"%s/any-y/cfg.json: reshape_activations: expected \"none\", found \"hook_z\""},
	{"saelens_topk", "any-z/cfg.json", "blocks.2.hook_resid_post", "blocks.1.hook_resid_post",
		"", 3, 24, NULL},
	{"saelens_topk", "any-z/cfg.json", "blocks.2.hook_resid_post", "blocks.2.hook_mlp_out", "",
		3, 24,
		"%s: expected an SAE of every layer, found none of layer 2 in the format saelens (to go "
		"on without, sae.layers = \"found\")"},
	{"saelens_topk", "any-x/sae_weights.safetensors", "b_enc", "b_eNc", "", 3, 24,
		"%s/any-x/sae_weights.safetensors: expected a tensor \"b_enc\" of F32, F64, BF16 or F16 "
		"with shape [40], found none"},
	{"saelens_topk", NULL, NULL, NULL, "", 3, 32,
		"%s/any-x/sae_weights.safetensors: expected an SAE of width 32, the model's d_model, "
		"found 24"},
	{"saelens_topk", NULL, NULL, NULL, "any", 3, 24,
		"sae.layer_folder: expected {layer} in place of the layer's number, found \"any\""},
	{"saelens_gated", "a_1/b/sae_weights.safetensors", "r_mag", "r_mOg", "", 3, 24,
		"%s/a_1/b/sae_weights.safetensors: expected a tensor \"r_mag\" of F32, F64, BF16 or F16 "
		"with shape [40], found none"},
	{"sparsify_topk", "layers.1/cfg.json", "\"transcode\": false", "\"transcode\": true", "", 3,
		24,
		"%s/layers.1/cfg.json: expected an SAE that reads and reconstructs resid_post, found a "
		"transcoder (transcode)"},
	{"sparsify_topk", "layers.1/cfg.json", "\"skip_connection\": false",
		"\"skip_connection\": true", "", 3, 24,
		"%s/layers.1/cfg.json: expected an SAE that reads and reconstructs resid_post, found a "
		"skip connection (skip_connection)"},
	{"sparsify_groupmax", "layers.0/cfg.json", "\"k\": 6", "\"k\": 7", "", 3, 24,
		"%s/layers.0/cfg.json: k: expected a divisor of 48, found 7"},
	{"sparsify_groupmax", "layers.0/cfg.json", "groupmax", "softmax", "", 3, 24,
		"%s/layers.0/cfg.json: activation: expected \"topk\" or \"groupmax\", found \"softmax\""},
	{"gemma_scope_2", NULL, NULL, NULL, "", 3, 24,
		"%s: expected an SAE of every layer, found none of layer 1 in the format gemma_scope_2 "
		"(to go on without, sae.layers = \"found\")"},
	{"gemma_scope_2", "layer_0_width_40_l0_small/config.json", "\"l0\": 10, ", "", "", 3, 24,
		"%s: expected an l0 in the config.json of every folder layer_0_width_40_l0_..., to choose "
		"the one nearest to sae.l0, or sae.layer_folder; found one without"},
	{"gemma_scope_2", "layer_0_width_40_l0_medium/config.json", "jump_relu", "topk", "", 3, 24,
		"%s/layer_0_width_40_l0_medium/config.json: architecture: expected \"jump_relu\", found "
		"\"topk\""},
	{"llama_scope", "Random-L0R-1x/hyperparams.json", "dataset-wise", "token-wise", "", 3, 24,
		"%s/Random-L0R-1x/hyperparams.json: norm_activation: expected \"dataset-wise\", found "
		"\"token-wise\""},
};

/* Without a descriptor to list it with. */
TEST(a_folder_of_saes_that_cannot_be_read_is_not_said_to_hold_none)
{
	struct sae_options options = options_of(golden_folder("gemma_scope"));
	struct sae_set *saes = NULL;
	struct rlimit limit, none;
	struct device *dev;
	struct err err;

	REQUIRE_OK(device_open(&dev, "cpu", 1, &err), &err);
	REQUIRE(getrlimit(RLIMIT_NOFILE, &limit) == 0, "no limit to lower");
	none = (struct rlimit){0, limit.rlim_max};
	setrlimit(RLIMIT_NOFILE, &none);
	sae_set_open(&saes, dev, &options, N_LAYERS, D, &err);
	setrlimit(RLIMIT_NOFILE, &limit);
	CHECK(err.code == ERR_INPUT && strstr(err.text, "Too many open files"),
		"expected the reason, found %d: %s", err.code, err.text);
	sae_set_close(saes);
	device_close(dev);
}

TEST(sae_files_that_do_not_fit_are_refused_in_words)
{
	struct device *dev;
	struct err err;

	REQUIRE_OK(device_open(&dev, "cpu", 1, &err), &err);
	for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
		const struct refusal *r = &refusals[i];
		const char *folder = copy_tree(r->golden);
		struct sae_options options = options_of(folder);
		struct sae_set *saes;
		char text[2048];

		options.width = strcmp(r->golden, "llama_scope") == 0 ? "1x" : "40";
		options.layer_folder = r->layer_folder;
		if (r->file)
			edit_file(folder, r->file, r->from, r->to);
		CHECK(sae_set_open(&saes, dev, &options, r->n_layer, r->d_model, &err) ==
				(*r->layer_folder ? ERR_CONFIG : ERR_INPUT),
			"case %zu: code %d", i, err.code);
		if (r->text) {
			snprintf(text, sizeof text, r->text, folder);
			CHECK(strcmp(err.text, text) == 0, "case %zu says\n  %s\nexpected\n  %s", i,
				err.text, text);
		} else { /* in either order */
			CHECK(strstr(err.text,
				      "expected one SAE of blocks.1.hook_resid_post, found") &&
					strstr(err.text, "any-y") && strstr(err.text, "any-z"),
				"case %zu says\n  %s", i, err.text);
		}
		sae_set_close(saes);
	}
	device_close(dev);
}
