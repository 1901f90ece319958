/* SPDX-License-Identifier: MIT
 *
 * test_sae_finite.c - values of SAEs that are not finite: refused wherever they stand in the files
 * of any reader, by tensor and index; or, where that is asked for, their features put out of use,
 * with the others as if those were zero. Files: copies of tests/golden/saes.
 */
#include "host/formats/npz.h"
#include "host/formats/safetensors.h"
#include "host/model/sae.h"
#include "host/model/sparse.h"
#include "host/model/transfer.h"
#include "tests/device_fixture.h"
#include "tests/spoil.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { D = 24, N_LAYERS = 3, MOST_FEATURES = 48, MOST_TENSORS = 6 };

/* Tensors of one layer's file, b_dec the last of them. */
static const struct reader {
	const char *golden, *file, *tensors[MOST_TENSORS];
} readers[] = {
	{"gemma_scope", "layer_1/width_40/average_l0_112/params.npz",
		{"W_enc", "W_dec", "b_enc", "threshold", "b_dec"}},
	{"gemma_scope_2", "layer_2_width_40_l0_medium/params.safetensors",
		{"W_enc", "W_dec", "b_enc", "threshold", "b_dec"}},
	{"gemma_scope_2", "layer_0_width_40_l0_medium/params.safetensors",
		{"w_enc", "w_dec", "b_enc", "threshold", "b_dec"}},
	{"llama_scope", "Random-L1R-1x/checkpoints/final.safetensors",
		{"encoder.weight", "decoder.weight", "encoder.bias", "decoder.bias"}},
	{"lm_saes", "L1R/sae_weights.safetensors",
		{"encoder.weight", "decoder.weight", "encoder.bias", "log_jumprelu_threshold",
			"decoder.bias"}},
	{"saelens_gated", "a_1/b/sae_weights.safetensors",
		{"W_enc", "W_dec", "b_gate", "b_mag", "r_mag", "b_dec"}},
	{"saelens_jumprelu", "any-y/sae_weights.safetensors",
		{"W_enc", "W_dec", "b_enc", "threshold", "b_dec"}},
	{"saelens_topk", "any-y/sae_weights.safetensors", {"W_enc", "W_dec", "b_enc", "b_dec"}},
	{"saelens_batchtopk", "layer_1/sae_weights.safetensors",
		{"W_enc", "W_dec", "b_enc", "b_dec"}},
	{"sparsify_topk", "layers.1/sae.safetensors",
		{"encoder.weight", "W_dec", "encoder.bias", "b_dec"}},
	{"sparsify_groupmax", "layers.1/sae.safetensors",
		{"encoder.weight", "W_dec", "encoder.bias", "b_dec"}},
};
enum { N_READERS = sizeof readers / sizeof *readers };

static size_t count_tensors(const struct reader *r)
{
	size_t n = 0;

	while (n < MOST_TENSORS && r->tensors[n])
		n++;
	return n;
}

/* ---- copies ------------------------------------------------------------------------------ */

static const char *in_copy(const struct reader *r, bool file)
{
	static char folder[600], path[800];

	snprintf(folder, sizeof folder, "%s/saes", test_scratch_folder());
	snprintf(path, sizeof path, "%s/%s", folder, r->file);
	return file ? path : folder;
}

static void copy_golden(const struct reader *r)
{
	char command[2048];

	snprintf(command, sizeof command, "rm -rf '%s' && cp -r '%s/tests/golden/saes/%s' '%s'",
		in_copy(r, false), test_source_root(), r->golden, in_copy(r, false));
	if (system(command) != 0) {
		fprintf(stderr, "%s\n", command);
		exit(1);
	}
}

static bool is_npz(const struct reader *r)
{
	return strstr(r->file, ".npz") != NULL;
}

/* Where a tensor of the copy has its values: not the values. */
static struct file_tensor look(const struct reader *r, const char *tensor)
{
	struct safetensors *st = NULL;
	struct npz *npz = NULL;
	struct file_tensor t = {0};
	struct err err;

	if (is_npz(r) && npz_open(&npz, in_copy(r, true), &err) == 0)
		(void)npz_read(npz, tensor, &t, &err);
	else if (safetensors_open(&st, in_copy(r, true), &err) == 0 && safetensors_find(st, tensor))
		t = *safetensors_find(st, tensor);
	if (t.n_dims == 0) {
		fprintf(stderr, "%s has no %s\n", in_copy(r, true), tensor);
		exit(1);
	}
	npz_close(npz);
	safetensors_close(st);
	return t;
}

static void spoil(const struct reader *r, const char *tensor, size_t i, double value)
{
	if (is_npz(r))
		spoil_array(in_copy(r, true), tensor, i, 1, 1, value);
	else
		spoil_tensor(in_copy(r, true), tensor, i, value);
}

/* One value of a feature, wherever the file's order has it. */
static void spoil_feature(const struct reader *r, const char *tensor, size_t feature, double value)
{
	const struct file_tensor t = look(r, tensor);
	const bool first = t.shape[0] != D; /* features are the first dimension */
	const size_t d_sae = first ? t.shape[0] : t.shape[1];

	spoil(r, tensor,
		t.n_dims == 1             ? feature
		: first == t.column_major ? 5 * d_sae + feature
					  : feature * D + 5,
		value);
}

static int open_copy(struct sae_set **saes, struct device *dev, const struct reader *r,
	enum sae_dtype dtype, bool allow_unused, struct err *err)
{
	const struct sae_options options = {.path = in_copy(r, false),
		.format = "auto",
		.layer_folder = "",
		.width = strcmp(r->golden, "llama_scope") == 0 ? "1x" : "40",
		.l0 = 100,
		.fold = "authors",
		.dtype = dtype,
		.some_layers = true,
		.allow_unused = allow_unused,
		.budget = 1 << 20};

	return sae_set_open(saes, dev, &options, N_LAYERS, D, err);
}

/* The layer that the reader's file is of. */
static size_t layer_of(const struct sae_set *saes, const struct reader *r)
{
	for (size_t l = 0; l < N_LAYERS; l++)
		if (sae_set_has(saes, l) && strcmp(sae_set_path(saes, l), in_copy(r, true)) == 0)
			return l;
	fprintf(stderr, "%s is not read\n", in_copy(r, true));
	exit(1);
}

/* ---- refused ----------------------------------------------------------------------------- */

/* More and more values: the last, one in the middle, the first. -inf is alone at first: as a
 * threshold or the logarithm of a gain it would pass for 0. */
static void check_refusals(struct device *dev, const struct reader *r, const char *tensor)
{
	static const struct {
		double value;
		const char *word;
	} values[] = {{-INFINITY, "-inf"}, {NAN, "nan"}, {INFINITY, "inf"}};
	struct file_tensor t;
	size_t n;

	copy_golden(r);
	t = look(r, tensor);
	n = t.shape[0] * (t.n_dims == 2 ? t.shape[1] : 1);
	for (size_t k = 0; k < 3; k++) {
		const size_t i = k == 0 ? n - 1 : k == 1 ? n / 2 : 0;
		struct sae_set *saes;
		struct sae_weights w;
		struct err err = {0};
		char text[1024], index[64];

		spoil(r, tensor, i, values[k].value);
		if (t.n_dims == 1)
			snprintf(index, sizeof index, "%zu", i);
		else if (t.column_major)
			snprintf(index, sizeof index, "%zu, %zu", i % t.shape[0], i / t.shape[0]);
		else
			snprintf(index, sizeof index, "%zu, %zu", i / t.shape[1], i % t.shape[1]);
		snprintf(text, sizeof text,
			"%s: %s[%s]: expected finite values, found %s (%zu of %zu %s not finite)",
			in_copy(r, true), tensor, index, values[k].word, k + 1, n,
			k == 0 ? "is" : "are");
		REQUIRE_OK(open_copy(&saes, dev, r, k == 1 ? SAE_BF16 : SAE_FLOAT32, false, &err),
			&err);
		for (size_t l = 0; l < N_LAYERS; l++) {
			const bool refused = sae_set_has(saes, l) && l == layer_of(saes, r);

			if (!sae_set_has(saes, l))
				continue;
			CHECK(sae_set_load(saes, l, &w, &err) == (refused ? ERR_INPUT : 0) &&
					(!refused || strcmp(err.text, text) == 0),
				"%s, layer %zu: %s", r->golden, l, err.text);
		}
		sae_set_close(saes);
		CHECK(device_allocated(dev) == 0, "%zu bytes are left", device_allocated(dev));
	}
}

TEST(one_value_that_is_not_finite_in_any_tensor_of_any_reader_is_refused_by_its_index)
{
	struct device *dev;
	struct err err;

	REQUIRE_OK(device_open(&dev, "cpu", 1, &err), &err);
	for (size_t i = 0; i < N_READERS; i++)
		for (size_t t = 0; t < count_tensors(&readers[i]); t++)
			check_refusals(dev, &readers[i], readers[i].tensors[t]);
	device_close(dev);
}

TEST(a_threshold_of_all_features_and_a_norm_of_inputs_are_finite_or_refused)
{
	static const struct {
		struct reader reader;
		const char *tensor;
	} cases[] = {
		{{"saelens_batchtopk", "layer_1/sae_weights.safetensors", {0}}, "topk_threshold"},
		{{"lm_saes", "L1R/sae_weights.safetensors", {0}},
			"dataset_average_activation_norm.blocks.1.hook_resid_post"},
	};
	struct device *dev;
	struct err err;

	REQUIRE_OK(device_open(&dev, "cpu", 1, &err), &err);
	for (size_t i = 0; i < 2; i++) {
		const struct reader *r = &cases[i].reader;
		struct sae_set *saes;
		char text[1024];

		copy_golden(r);
		spoil(r, cases[i].tensor, 0, NAN);
		snprintf(text, sizeof text,
			"%s: %s: expected finite values, found nan (1 of 1 is not finite)",
			in_copy(r, true), cases[i].tensor);
		CHECK(open_copy(&saes, dev, r, SAE_FLOAT32, true, &err) == ERR_INPUT &&
				strcmp(err.text, text) == 0,
			"%s", err.text);
	}
	device_close(dev);
}

/* A finite value of the file that scaling or rounding makes infinite. */
TEST(values_too_large_for_the_type_they_are_kept_in_are_refused)
{
	static const struct reader gated = {"saelens_gated", "a_1/b/sae_weights.safetensors", {0}};
	static const struct {
		const char *tensor, *array; /* array NULL: accepted */
		double value;
		enum sae_dtype dtype;
	} cases[] = {
		{"W_dec", NULL, 3.4e38, SAE_FLOAT32}, {"W_dec", "W_dec", 3.4e38, SAE_BF16},
		{"W_enc", "W_enc", -3.4e38, SAE_BF16}, {"b_gate", NULL, 3.4e38, SAE_BF16},
		{"b_gate", "b_enc", 3.4e38, SAE_RELEASED}, {"b_dec", "b_dec", 3.4e38, SAE_RELEASED},
		{"r_mag", "gain", 100, SAE_FLOAT32}, /* exp of it */
	};
	struct device *dev;
	struct err err;

	REQUIRE_OK(device_open(&dev, "cpu", 2, &err), &err);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct sae_set *saes;
		struct sae_weights w;
		char text[1024];

		copy_golden(&gated);
		spoil(&gated, cases[i].tensor, 7, cases[i].value);
		snprintf(text, sizeof text,
			"%s: %s: expected values that are finite when scaled as the format says and "
			"kept as sae.dtype says (%s), found larger ones",
			in_copy(&gated, true), cases[i].array ? cases[i].array : "",
			sae_dtype_names[cases[i].dtype]);
		REQUIRE_OK(open_copy(&saes, dev, &gated, cases[i].dtype, false, &err), &err);
		CHECK(sae_set_load(saes, 1, &w, &err) == (cases[i].array ? ERR_INPUT : 0) &&
				(!cases[i].array || strcmp(err.text, text) == 0),
			"case %zu: %s", i, err.text);
		sae_set_close(saes);
	}
	device_close(dev);
}

/* ---- out of use -------------------------------------------------------------------------- */

/* The k-th tensor of a file is spoiled in this feature. */
static const int32_t spoiled[] = {3, 17, 0, 39, 8};

static bool is_spoiled(size_t n, size_t feature)
{
	for (size_t k = 0; k < n; k++)
		if ((size_t)spoiled[k] == feature)
			return true;
	return false;
}

/* Rows of features that are out of use are zeros, the others those of the file as it was. */
static void check_rows(const struct reader *r, struct tensor got, struct tensor expected, size_t n)
{
	const bool matrix = got.cols == D;
	const size_t width = matrix ? D : 1;

	for (size_t i = 0; i < tensor_count(got); i++) {
		const float want = is_spoiled(n, i / width) ? 0 : ((const float *)expected.data)[i];

		CHECK(((const float *)got.data)[i] == want, "%s: feature %zu: %g, expected %g",
			r->golden, i / width, (double)((const float *)got.data)[i], (double)want);
	}
}

static void check_never_on(struct device *dev, const struct reader *r, const struct sae_weights *w,
	size_t n)
{
	struct fixture f;
	struct sparse sparse = {.dev = dev};
	struct host_csr csr = {0};
	float decoded[9 * D];
	struct tensor x, x_hat;
	struct err err = {0};

	fixture_init(&f, dev, 7);
	x = fixture_activation(&f, 9, D, 3);
	x_hat = fixture_zeros(&f, 9, D);
	REQUIRE(sparse_encode(&sparse, w, x, &err) == 0 &&
			sparse_download(&sparse, &csr, &err) == 0 &&
			op_sae_decode(dev, w, x, &sparse.csr, x_hat, &err) == 0 &&
			download_floats(dev, x_hat, decoded, &err) == 0,
		"%s", err.text);
	CHECK(csr.indptr[9] > 9, "%s: only %d features are on", r->golden, csr.indptr[9]);
	for (int32_t k = 0; k < csr.indptr[9]; k++)
		CHECK(!is_spoiled(n, (size_t)csr.indices[k]) && isfinite(csr.values[k]),
			"%s: feature %d is %g", r->golden, csr.indices[k], (double)csr.values[k]);
	for (size_t i = 0; i < 9 * D; i++)
		CHECK(isfinite(decoded[i]), "%s: x_hat is %g", r->golden, (double)decoded[i]);
	host_csr_free(&csr);
	sparse_free(&sparse);
	fixture_free(&f);
}

static void check_cosines(const struct reader *r, struct sae_set *saes, struct sae_set *clean,
	size_t layer, size_t n)
{
	float v[D], got[MOST_FEATURES], expected[MOST_FEATURES];
	struct err err;

	for (size_t j = 0; j < D; j++)
		v[j] = (float)j - 7;
	REQUIRE_OK(sae_set_cosines(saes, layer, v, got, &err), &err);
	REQUIRE_OK(sae_set_cosines(clean, layer, v, expected, &err), &err);
	for (size_t i = 0; i < sae_set_width(saes); i++)
		CHECK(is_spoiled(n, i) ? isnan(got[i]) : got[i] == expected[i],
			"%s: cosine of feature %zu is %g", r->golden, i, (double)got[i]);
}

static void check_selection(const struct reader *r, struct sae_set *saes, size_t layer, size_t n)
{
	static const int32_t good[] = {1, 20};
	struct sae_few few;
	struct err err;
	char text[1024];

	REQUIRE_OK(sae_set_select(saes, layer, good, 2, &few, &err), &err);
	sae_few_free(&few);
	for (size_t k = 0; k < n; k++) {
		snprintf(text, sizeof text,
			"%s: expected features that are in use, found %d, of which a value is not "
			"finite (sae.allow_nonfinite_unused)",
			in_copy(r, true), spoiled[k]);
		CHECK(sae_set_select(saes, layer, &spoiled[k], 1, &few, &err) == ERR_INPUT &&
				strcmp(err.text, text) == 0,
			"%s: %s", r->golden, err.text);
	}
}

static void check_unused(struct device *dev, const struct reader *r)
{
	static const double values[] = {NAN, INFINITY, -INFINITY};
	const size_t n = count_tensors(r) - 1; /* b_dec is of no feature */
	struct sae_set *saes, *clean;
	struct sae_weights w, was;
	struct err err;
	size_t layer;

	copy_golden(r);
	REQUIRE_OK(open_copy(&clean, dev, r, SAE_FLOAT32, true, &err), &err);
	layer = layer_of(clean, r);
	REQUIRE_OK(sae_set_load(clean, layer, &was, &err), &err);
	CHECK(sae_set_n_unused(clean, layer) == 0, "%s: a feature of the golden file", r->golden);
	for (size_t k = 0; k < n; k++)
		spoil_feature(r, r->tensors[k], (size_t)spoiled[k], values[k % 3]);
	REQUIRE_OK(open_copy(&saes, dev, r, SAE_FLOAT32, true, &err), &err);
	CHECK(sae_set_n_unused(saes, layer) == n, "%s: %zu features, expected %zu", r->golden,
		sae_set_n_unused(saes, layer), n);
	for (size_t i = 0; i < sae_set_width(saes); i++)
		CHECK(sae_set_is_unused(saes, layer, i) == is_spoiled(n, i), "%s: feature %zu",
			r->golden, i);
	check_cosines(r, saes, clean, layer, n); /* before the whole is loaded: by a part */
	REQUIRE_OK(sae_set_load(saes, layer, &w, &err), &err);
	check_rows(r, w.W_enc_t, was.W_enc_t, n);
	check_rows(r, w.W_dec, was.W_dec, n);
	check_rows(r, w.b_enc, was.b_enc, n);
	check_rows(r, w.threshold, was.threshold, n);
	check_rows(r, w.gain, was.gain, n);
	check_rows(r, w.shift, was.shift, n);
	check_never_on(dev, r, &w, n);
	check_selection(r, saes, layer, n);
	sae_set_close(saes);
	sae_set_close(clean);
}

TEST(features_that_are_not_finite_are_zeros_where_they_are_allowed_and_the_others_stay)
{
	struct device *dev;
	struct err err;

	REQUIRE_OK(device_open(&dev, "cpu", 2, &err), &err);
	for (size_t i = 0; i < N_READERS; i++)
		check_unused(dev, &readers[i]);
	CHECK(device_allocated(dev) == 0, "%zu bytes are left", device_allocated(dev));
	device_close(dev);
}

TEST(a_feature_too_large_for_its_type_is_out_of_use_in_that_type_alone)
{
	struct device *dev;
	struct err err;

	REQUIRE_OK(device_open(&dev, "cpu", 2, &err), &err);
	copy_golden(&readers[0]);
	spoil_feature(&readers[0], "W_dec", 11, 3.4e38);
	for (enum sae_dtype dtype = SAE_FLOAT32; dtype <= SAE_BF16; dtype++) {
		struct sae_set *saes;
		struct sae_weights w;

		REQUIRE_OK(open_copy(&saes, dev, &readers[0], dtype, true, &err), &err);
		CHECK(sae_set_is_unused(saes, 1, 11) == (dtype == SAE_BF16) &&
				sae_set_n_unused(saes, 1) == (dtype == SAE_BF16),
			"%s: %zu", sae_dtype_names[dtype], sae_set_n_unused(saes, 1));
		CHECK(sae_set_load(saes, 1, &w, &err) == 0, "%s", err.text);
		sae_set_close(saes);
	}
	device_close(dev);
}

TEST(what_is_of_no_feature_or_of_all_is_refused_also_where_unused_features_are_allowed)
{
	const struct reader *r = &readers[0];
	struct sae_set *saes;
	struct device *dev;
	struct err err;
	char text[1024];

	REQUIRE_OK(device_open(&dev, "cpu", 2, &err), &err);
	copy_golden(r);
	spoil(r, "b_dec", 23, INFINITY);
	snprintf(text, sizeof text,
		"%s: b_dec[23]: expected finite values, found inf (1 of 24 is not finite)",
		in_copy(r, true));
	CHECK(open_copy(&saes, dev, r, SAE_FLOAT32, true, &err) == ERR_INPUT &&
			strcmp(err.text, text) == 0,
		"%s", err.text);
	copy_golden(r);
	spoil_array(in_copy(r, true), "threshold", 0, 1, 40, NAN);
	snprintf(text, sizeof text,
		"%s: expected a feature whose values are all finite, found none among 40",
		in_copy(r, true));
	CHECK(open_copy(&saes, dev, r, SAE_FLOAT32, true, &err) == ERR_INPUT &&
			strcmp(err.text, text) == 0,
		"%s", err.text);
	device_close(dev);
}
