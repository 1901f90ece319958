/* SPDX-License-Identifier: MIT
 *
 * sae.c - Contract: sae.h. The formats are sae_gemma_scope.c and sae_llama_scope.c.
 * Tests: tests/test_method.c.
 */
#include "host/model/sae.h"

#include "host/model/carver.h"
#include "host/model/sae_file.h"
#include "host/model/transfer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const struct sae_format *const formats[] = {&sae_gemma_scope, &sae_llama_scope};
enum { N_FORMATS = sizeof formats / sizeof *formats };

struct resident {
	struct sae_weights weights;
	void *memory; /* owned, device; NULL when not loaded */
	size_t bytes;
	unsigned long long used; /* clock of the last use */
};

struct sae_set {
	struct device *dev;
	const struct sae_format *format;
	struct sae_file *files;     /* [n_layer] */
	struct resident *residents; /* [n_layer] */
	size_t n_layer, d_model, budget, loaded_bytes;
	unsigned long long clock;
};

/* ---- opening --------------------------------------------------------------------------- */

static int choose_format(struct sae_set *set, const struct sae_options *options, struct err *err)
{
	for (size_t i = 0; i < N_FORMATS; i++) {
		const bool automatic = strcmp(options->format, "auto") == 0;

		if (automatic ? formats[i]->recognises(options->path)
			      : strcmp(options->format, formats[i]->name) == 0) {
			set->format = formats[i];
			return 0;
		}
	}
	return err_set(err, ERR_INPUT,
		"%s: expected a folder of SAEs: layer_0/... (Gemma Scope) or ...-L0R-... (Llama Scope), "
		"found neither",
		options->path);
}

static int open_layer(struct sae_set *set, const struct sae_options *options, size_t layer,
	struct err *err)
{
	struct sae_file *file = &set->files[layer];

	file->format = set->format;
	if (set->format->locate(options, layer, &file->path, err) || set->format->open(file, err))
		return err->code;
	if (file->d_model != set->d_model)
		return err_set(err, ERR_INPUT,
			"%s: expected an SAE of width %zu, the model's d_model, found %zu", file->path,
			set->d_model, file->d_model);
	return 0;
}

int sae_set_open(struct sae_set **out, struct device *dev, const struct sae_options *options,
	size_t n_layer, size_t d_model, struct err *err)
{
	struct sae_set *set = calloc(1, sizeof *set);

	*out = NULL;
	if (!set)
		return err_nomem(err, "the SAEs", sizeof *set);
	*set = (struct sae_set){.dev = dev, .n_layer = n_layer, .d_model = d_model,
		.budget = options->budget};
	set->files = calloc(n_layer, sizeof *set->files);
	set->residents = calloc(n_layer, sizeof *set->residents);
	if (!set->files || !set->residents) {
		err_nomem(err, "the SAEs", n_layer * sizeof *set->files);
		goto fail;
	}
	TRY(choose_format(set, options, err));
	for (size_t l = 0; l < n_layer; l++)
		TRY(open_layer(set, options, l, err));
	*out = set;
	return 0;
fail:
	sae_set_close(set);
	return err->code;
}

static void unload(struct sae_set *set, struct resident *r)
{
	device_free(set->dev, r->memory);
	set->loaded_bytes -= r->bytes;
	*r = (struct resident){0};
}

void sae_set_close(struct sae_set *set)
{
	if (!set)
		return;
	for (size_t l = 0; l < set->n_layer; l++) {
		if (set->residents && set->residents[l].memory)
			unload(set, &set->residents[l]);
		if (set->files && set->files[l].format)
			set->files[l].format->close(&set->files[l]);
		if (set->files)
			free(set->files[l].path);
	}
	free(set->files);
	free(set->residents);
	free(set);
}

size_t sae_set_layers(const struct sae_set *set)
{
	return set->n_layer;
}

size_t sae_set_width(const struct sae_set *set, size_t layer)
{
	return set->files[layer].d_sae;
}

const char *sae_set_format(const struct sae_set *set)
{
	return set->format->name;
}

const char *sae_set_path(const struct sae_set *set, size_t layer)
{
	return set->files[layer].path;
}

/* ---- reading --------------------------------------------------------------------------- */

/* Float32 weights in one block of device memory; parts that are not wanted have no rows. */
struct float_layout {
	struct sae_weights *weights;
	size_t n_enc, n_dec, d;
};

static struct tensor carve_floats(struct carver *c, size_t rows, size_t cols)
{
	struct tensor t = {NULL, DTYPE_F32, rows, cols};

	t.data = carve_ints(c, rows * cols); /* four bytes each, like float32 */
	return t;
}

static void layout_floats(void *object, struct carver *c)
{
	struct float_layout *l = object;

	l->weights->W_enc_t = carve_floats(c, l->n_enc, l->d);
	l->weights->W_dec = carve_floats(c, l->n_dec, l->d);
	l->weights->b_enc = carve_floats(c, 1, l->n_enc);
	l->weights->threshold = carve_floats(c, 1, l->n_enc);
	l->weights->b_dec = carve_floats(c, 1, l->d);
}

/* The first value that is not finite, or n. */
static size_t first_nonfinite(const float *values, size_t n)
{
	size_t i = 0;

	while (i < n && isfinite(values[i]))
		i++;
	return i;
}

static int check_values(const struct sae_file *file, const struct sae_arrays *a, size_t n,
	struct err *err)
{
	const struct {
		const char *name;
		const float *values;
		size_t n;
	} parts[] = {{"W_enc", a->W_enc_t, n * file->d_model}, {"b_enc", a->b_enc, n},
		{"threshold", a->threshold, n}, {"W_dec", a->W_dec, n * file->d_model},
		{"b_dec", a->b_dec, file->d_model}};

	for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
		if (parts[i].values && first_nonfinite(parts[i].values, parts[i].n) < parts[i].n)
			return err_set(err, ERR_INPUT, "%s: %s holds a value that is not finite",
				file->path, parts[i].name);
	return 0;
}

/* Reads features (ids NULL: all) into fresh device memory. The encoder is left out on request. */
static int read_to_device(struct sae_set *set, size_t layer, const int32_t *ids, size_t n,
	bool encoder, struct sae_weights *weights, void **memory, size_t *bytes, struct err *err)
{
	struct sae_file *file = &set->files[layer];
	struct float_layout layout = {weights, encoder ? n : 0, n, set->d_model};
	struct sae_arrays arrays;
	char *staging = NULL, *base;

	*memory = NULL;
	TRY(carve_allocate(set->dev, layout_floats, &layout, memory, err));
	*bytes = carve_count(set->dev, layout_floats, &layout);
	if (!device_is_host(set->dev)) { /* the same layout in host memory, uploaded at once */
		staging = malloc(*bytes);
		if (!staging) {
			err_nomem(err, file->path, *bytes);
			goto fail;
		}
	}
	base = staging ? staging : *memory;
	{
		struct carver c = {DTYPE_F32, base, 0};

		layout_floats(&layout, &c);
	}
	arrays = (struct sae_arrays){
		.W_enc_t = encoder ? weights->W_enc_t.data : NULL,
		.b_enc = encoder ? weights->b_enc.data : NULL,
		.threshold = encoder ? weights->threshold.data : NULL,
		.W_dec = weights->W_dec.data,
		.b_dec = weights->b_dec.data,
	};
	TRY(file->format->read(file, ids, n, &arrays, err));
	TRY(check_values(file, &arrays, n, err));
	if (staging) {
		struct carver c = {DTYPE_F32, *memory, 0};

		layout_floats(&layout, &c);
		TRY(device_upload(set->dev, *memory, staging, *bytes, err));
		free(staging);
	}
	return 0;
fail:
	free(staging);
	device_free(set->dev, *memory);
	*memory = NULL;
	return err->code;
}

/* Unloads the least recently used layers until `bytes` more fit the budget, or none is left. */
static void make_room(struct sae_set *set, size_t bytes)
{
	while (set->loaded_bytes > 0 && set->loaded_bytes + bytes > set->budget) {
		struct resident *oldest = NULL;

		for (size_t l = 0; l < set->n_layer; l++) {
			struct resident *r = &set->residents[l];

			if (r->memory && (!oldest || r->used < oldest->used))
				oldest = r;
		}
		unload(set, oldest);
	}
}

int sae_set_load(struct sae_set *set, size_t layer, struct sae_weights *out, struct err *err)
{
	struct resident *r = &set->residents[layer];
	struct float_layout layout = {&r->weights, set->files[layer].d_sae,
		set->files[layer].d_sae, set->d_model};

	if (!r->memory) {
		make_room(set, carve_count(set->dev, layout_floats, &layout));
		if (read_to_device(set, layer, NULL, set->files[layer].d_sae, true, &r->weights,
			    &r->memory, &r->bytes, err))
			return err->code;
		set->loaded_bytes += r->bytes;
	}
	r->used = ++set->clock;
	*out = r->weights;
	return 0;
}

/* ---- cosines and few features ----------------------------------------------------------- */

struct cosine_buffers {
	size_t n, d;
	struct tensor cosine, v;
};

static void layout_cosines(void *object, struct carver *c)
{
	struct cosine_buffers *b = object;

	b->cosine = carve(c, b->n, 1);
	b->v = carve_floats(c, 1, b->d);
}

int sae_set_cosines(struct sae_set *set, size_t layer, const float *v, float *cosine,
	struct err *err)
{
	struct cosine_buffers b = {.n = set->files[layer].d_sae, .d = set->d_model};
	struct sae_weights decoder = set->residents[layer].weights;
	void *memory = NULL, *buffers = NULL;
	size_t bytes;

	if (!set->residents[layer].memory) {
		make_room(set, b.n * b.d * sizeof(float));
		TRY(read_to_device(set, layer, NULL, b.n, false, &decoder, &memory, &bytes, err));
	}
	TRY(carve_allocate(set->dev, layout_cosines, &b, &buffers, err));
	TRY(device_upload(set->dev, b.v.data, v, b.d * sizeof *v, err));
	TRY(op_row_cosine(set->dev, decoder.W_dec, b.v, b.cosine, err));
	TRY(download_floats(set->dev, b.cosine, cosine, err));
	device_free(set->dev, buffers);
	device_free(set->dev, memory);
	return 0;
fail:
	device_free(set->dev, buffers);
	device_free(set->dev, memory);
	return err->code;
}

int sae_set_select(struct sae_set *set, size_t layer, const int32_t *ids, size_t n,
	struct sae_few *out, struct err *err)
{
	size_t bytes;

	*out = (struct sae_few){.dev = set->dev};
	for (size_t k = 0; k < n; k++)
		if (ids[k] < 0 || (size_t)ids[k] >= set->files[layer].d_sae)
			return err_set(err, ERR_INPUT,
				"%s: expected feature ids below %zu, its width, found %d",
				set->files[layer].path, set->files[layer].d_sae, ids[k]);
	return read_to_device(set, layer, ids, n, true, &out->weights, &out->memory, &bytes, err);
}

void sae_few_free(struct sae_few *few)
{
	if (few->dev)
		device_free(few->dev, few->memory);
	*few = (struct sae_few){0};
}
