/* SPDX-License-Identifier: MIT
 *
 * sae_tensors.h - from the tensors of a publisher's file to the engine's SAE. A format says which
 * tensor is which, how it lies, and by what constants and norms the published inference scales
 * it; everything that is the same affine map for all rows is folded here, once, at the door.
 */
#ifndef SAENGINE_SAE_TENSORS_H
#define SAENGINE_SAE_TENSORS_H

#include "host/formats/safetensors.h"
#include "host/model/sae_file.h"

/* A tensor without data is absent. With x the (normed) input, in this order:
 *   W_enc_i *= enc_scale;  b_enc_i *= bias_scale;  W_dec_i *= dec_scale (and scaling_i);
 *   b_dec *= b_dec_scale;  threshold_i *= threshold_scale (exp of it first: log_threshold);
 *   subtract_b_dec: b_enc_i -= W_enc_i . b_dec
 *   unit_decoder:   W_enc_i *= |W_dec_i|, b_enc_i *= |W_dec_i|, W_dec_i /= |W_dec_i|
 *   b_mag present (gated): b_enc is b_gate; gain_i = exp(r_mag_i), shift_i = b_mag_i -
 *   gain_i b_gate_i: max(gain pre + shift, 0) is then the magnitude path on the same W_enc.
 * Negative thresholds become 0: f is relu(pre) where pre is above the threshold. What comes of a
 * value that is not finite is not finite either. */
struct sae_tensors {
	size_t d_model, d_sae;
	struct file_tensor W_enc, W_dec; /* two dimensions, features first or last */
	struct file_tensor b_enc, b_dec, threshold, scaling, b_mag, r_mag;
	bool enc_by_feature, dec_by_feature; /* features are the first dimension */
	bool log_threshold, subtract_b_dec, unit_decoder;
	double constant_threshold; /* where there is no tensor */
	double enc_scale, bias_scale, dec_scale, b_dec_scale, threshold_scale;
};

/* No tensors, every scale 1. */
struct sae_tensors sae_tensors_none(void);

/* A tensor of the file, its type (F32, F64, BF16, F16) and shape checked; cols 0: one dimension.
 * Errors: ERR_INPUT naming file, tensor, expected and found. */
int sae_tensor_find(const struct safetensors *weights, const char *path, const char *name,
	size_t rows, size_t cols, struct file_tensor *out, struct err *err);

/* A tensor of one finite number of these types. Errors: the same. */
int sae_scalar_find(const struct safetensors *weights, const char *path, const char *name,
	double *out, struct err *err);

/* b_dec [d_model], scaled. */
void sae_tensors_b_dec(const struct sae_tensors *t, float *b_dec);

/* A few features, float32, in memory of the caller's. */
enum { SAE_BLOCK = 32 };
struct sae_block {
	float *W_enc_t, *W_dec; /* [SAE_BLOCK, d_model]; undefined where they are not wanted */
	float b_enc[SAE_BLOCK], threshold[SAE_BLOCK]; /* thresholds not negative */
	float gain[SAE_BLOCK], shift[SAE_BLOCK];      /* of gated SAEs; 0 of others */
};

/* Reads features ids[first] to ids[first + n - 1], or without ids first to first + n - 1, n at most
 * SAE_BLOCK: `parts` of them, and their biases and thresholds as for the encoder if that is among
 * the parts. b_dec as sae_tensors_b_dec gives it. Any number of threads may do so at a time. */
void sae_tensors_read(const struct sae_tensors *t, const float *b_dec, enum sae_parts parts,
	const int32_t *ids, size_t first, size_t n, struct sae_block *out);

/* Whether the tensors that `parts` are made of are finite as they lie in the file. Errors: those of
 * finite_check. */
int sae_tensors_check_finite(const struct sae_tensors *t, enum sae_parts parts, const char *path,
	int n_threads, struct err *err);

/* Before all features are read: brings in, from start to end, the pages of matrices that have
 * features along their columns. Reading them feature by feature would have the disk jump. */
void sae_tensors_walk(const struct sae_tensors *t, enum sae_parts parts, int n_threads);

/* A reader made of one safetensors file and the description of its tensors, which is all that
 * most formats need: open fills it; tensors, release and close are the functions below. */
struct sae_safetensors {
	struct safetensors *weights;
	struct sae_tensors tensors;
};

/* Maps file->path into a fresh file->reader; *out borrows it. */
int sae_safetensors_open(struct sae_file *file, struct sae_safetensors **out, struct err *err);

/* Takes d_sae and d_model, of file and tensors, from the shape of "encoder.weight" [d_sae,
 * d_model], and finds it and "encoder.bias". Errors: ERR_INPUT. */
int sae_safetensors_encoder(struct sae_file *file, struct err *err);
int sae_safetensors_tensors(struct sae_file *file, enum sae_parts parts, struct sae_tensors *out,
	struct err *err);
void sae_safetensors_release(struct sae_file *file);
void sae_safetensors_close(struct sae_file *file);

#endif
