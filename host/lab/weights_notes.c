/* SPDX-License-Identifier: MIT
 *
 * weights_notes.c - Contract: weights_notes.h.
 */
#include "host/lab/weights_notes.h"

#include "host/formats/safetensors.h"
#include "host/model/adapter.h"

#include <stdio.h>
#include <string.h>

static const char *last_part(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

static void describe_files(const struct safetensors_folder *files, struct weights_note *note)
{
	const size_t n = safetensors_folder_files(files);
	const char *left = safetensors_folder_left(files);
	char shards[64] = "";

	if (n > 1)
		snprintf(shards, sizeof shards, " and its %zu shards", n - 1);
	snprintf(note->text, sizeof note->text, "%s%s%s%s",
		last_part(safetensors_folder_path(files, 0)), shards, *left ? "; left alone: " : "",
		left);
}

static void describe_head(const struct model *m, struct weights_note *note)
{
	static const char *const from[] = {[HEAD_TIED] = "the embedding (tie_word_embeddings)",
		[HEAD_OWN] = "lm_head.weight",
		[HEAD_REPEATED] =
			"the embedding (tie_word_embeddings; the file's lm_head.weight is the "
			"same)",
		[HEAD_DIFFERS] = "lm_head.weight: it differs from the embedding, though "
				 "tie_word_embeddings is true in config.json"};

	const bool tied = m->head == HEAD_TIED || m->head == HEAD_REPEATED;
	const bool parted = tied && m->unembedding.data != m->embedding.data;

	snprintf(note->text, sizeof note->text, "%s%s", from[m->head],
		parted ? ", from which the adapter parts it" : "");
}

static void describe_adapter(const struct machine *m, struct weights_note *note)
{
	char what[256];

	adapter_describe(m->model->adapter, what, sizeof what);
	snprintf(note->text, sizeof note->text, "%s: %s; base %s; what it changes is in float32",
		m->folder.adapter, what, m->folder.base);
}

size_t weights_notes(const struct machine *m, struct weights_note notes[WEIGHTS_NOTES])
{
	const struct model *model = m->model;
	size_t n = 0;

	memset(notes, 0, WEIGHTS_NOTES * sizeof *notes);
	notes[n].label = "weights";
	describe_files(model->files, &notes[n++]);
	notes[n].label = "head";
	describe_head(model, &notes[n++]);
	if (model->adapter) {
		notes[n].label = "adapter";
		describe_adapter(m, &notes[n++]);
	}
	if (model->n_ctx > model->arch.max_position) {
		notes[n].label = "context";
		snprintf(notes[n].text, sizeof notes[n].text,
			"of %zu tokens (model.n_ctx), beyond the %zu that config.json declares "
			"(max_position_embeddings)",
			model->n_ctx, model->arch.max_position);
		n++;
	}
	if (*model->unused) {
		notes[n].label = "unused";
		snprintf(notes[n].text, sizeof notes[n].text, "tensors of the checkpoint: %s",
			model->unused);
		n++;
	}
	if (*model->arch.unread_keys) {
		notes[n].label = "unread";
		snprintf(notes[n].text, sizeof notes[n].text,
			"keys of config.json that %s has no use for, here or in transformers: %s",
			model->arch.model_type, model->arch.unread_keys);
		n++;
	}
	return n;
}
