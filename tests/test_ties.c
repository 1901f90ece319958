/* SPDX-License-Identifier: MIT
 *
 * test_ties.c - decisions that hang on less than rounding moves are counted and said, clear ones
 * are not: candidates by cosine, tokens by logit. Feature sets by any score: test_method.c; whole
 * runs: test_tied.c.
 */
#include "host/measure/ties.h"

#include "host/measure/candidates.h"
#include "host/model/transfer.h"
#include "tests/small_model.h"

#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { D = 24, N_LAYERS = 3, WIDTH = 40 };

static struct err err;

/* ---- what is said ------------------------------------------------------------------------ */

static int real_stdout;

static void listen(void)
{
	fflush(stdout);
	real_stdout = dup(STDOUT_FILENO);
	if (!freopen(in_scratch("said"), "w", stdout))
		perror("said");
}

/* What has been printed since listen(). */
static const char *heard(void)
{
	static char text[4096];
	FILE *f;

	fflush(stdout);
	dup2(real_stdout, STDOUT_FILENO);
	close(real_stdout);
	f = fopen(in_scratch("said"), "r");
	text[f ? fread(text, 1, sizeof text - 1, f) : 0] = '\0';
	if (f)
		fclose(f);
	return text;
}

/* ---- candidates -------------------------------------------------------------------------- */

/* A lab that has SAEs and nothing else. */
struct sae_lab {
	struct config config;
	struct model model;
	struct machine machine;
	struct lab lab;
};

static int open_saes(struct sae_lab *s)
{
	static char path[600];
	struct sae_options options = {.path = path,
		.format = "auto",
		.layer_folder = "",
		.width = "40",
		.l0 = 100,
		.fold = "authors",
		.budget = 1 << 20};

	snprintf(path, sizeof path, "%s/tests/golden/saes/saelens_topk", test_source_root());
	*s = (struct sae_lab){.model = {.arch = {.n_layer = N_LAYERS, .d_model = D}}};
	s->machine.model = &s->model;
	s->lab = (struct lab){.config = &s->config, .machine = &s->machine};
	TRY(device_open(&s->machine.dev, "cpu", 1, &err));
	return sae_set_open(&s->machine.saes, s->machine.dev, &options, N_LAYERS, D, &err);
fail:
	return err.code;
}

static void close_saes(struct sae_lab *s)
{
	sae_set_close(s->machine.saes);
	device_close(s->machine.dev);
}

/* v: `first` times the unit vector of decoder row 3 of layer 1, plus that of row 8. */
static int between_rows(struct sae_lab *s, double first, float *v)
{
	static float rows[WIDTH * D];
	struct sae_weights sae;
	double length[2] = {0};

	TRY(sae_set_load(s->machine.saes, 1, &sae, &err));
	TRY(download_floats(s->machine.dev, sae.W_dec, rows, &err));
	for (size_t j = 0; j < D; j++) {
		length[0] += rows[3 * D + j] * rows[3 * D + j];
		length[1] += rows[8 * D + j] * rows[8 * D + j];
	}
	for (size_t j = 0; j < D; j++)
		v[j] = (float)(first * rows[3 * D + j] / sqrt(length[0]) +
			       rows[8 * D + j] / sqrt(length[1]));
	return 0;
fail:
	return err.code;
}

/* How many are undecided among the nearest of each layer, and what was said. */
static const char *find_nearest(struct sae_lab *s, double first, size_t *undecided, size_t *n)
{
	struct candidates c = {0};
	float v[D];
	int rc = between_rows(s, first, v);
	const char *said;

	listen();
	if (rc == 0)
		rc = candidates_find(&c, &s->lab, "here", v, 1, &err);
	said = heard();
	*undecided = c.undecided;
	*n = c.set.n;
	candidates_free(&c);
	return rc ? err.text : said;
}

TEST(candidates_that_the_next_of_their_layer_could_stand_for_are_counted_and_said)
{
	struct sae_lab s;
	size_t undecided, n;
	const char *said;

	REQUIRE_OK(open_saes(&s), &err);
	said = find_nearest(&s, 1, &undecided, &n);
	CHECK(n == N_LAYERS && undecided == 1, "%zu of %zu for a tie in one layer", undecided, n);
	CHECK(strstr(said, "here: rounding could exchange 1 of the 3 candidates"), "\"%s\"", said);
	said = find_nearest(&s, 1 + 0x1p-21, &undecided, &n);
	CHECK(undecided == 1 && *said, "%zu where cosines differ by 2^-22: \"%s\"", undecided,
		said);
	said = find_nearest(&s, 1 + 0x1p-12, &undecided, &n);
	CHECK(undecided == 0 && !*said, "%zu where one leads by 2^-13: \"%s\"", undecided, said);
	s.config.batch.invariant = true;
	said = find_nearest(&s, 1, &undecided, &n);
	CHECK(undecided == 1 && !*said, "%zu with batch.invariant: \"%s\"", undecided, said);
	close_saes(&s);
}

/* ---- tokens ------------------------------------------------------------------------------ */

/* Row t of the unembedding is 1 + t / 8 in its first column. So of y = (8 lead, 0, ...) the last
 * token leads the one before it by `lead`, and token 0 by four times as much. */
static const float leads[] = {1, 0x1p-14f, 0.5f, 0};
enum { N_ROWS = sizeof leads / sizeof *leads, LAST = SMALL_VOCAB - 1 };

struct read_rows {
	struct device *dev;
	struct model *model;
	struct readout readout;
	void *memory;
	struct tensor y;
	int32_t token[N_ROWS];
	float lead[N_ROWS];
};

static int open_rows(struct read_rows *r)
{
	static const struct small_tensor head = {"lm_head.weight", SMALL_VOCAB, SMALL_WIDTH, 1};
	const char *folder = small_folder("ties");
	float y[N_ROWS][SMALL_WIDTH] = {0};

	*r = (struct read_rows){0};
	for (size_t i = 0; i < N_ROWS; i++)
		y[i][0] = 8 * leads[i];
	small_write_model(folder, "", &head, 1);
	TRY(small_open(&r->model, &r->dev, folder, NULL, &err));
	TRY(readout_init(&r->readout, r->model, &err));
	r->readout.rows = 3; /* fewer than are asked for */
	TRY(device_alloc(r->dev, sizeof y, &r->memory, &err));
	TRY(device_upload(r->dev, r->memory, y, sizeof y, &err));
	r->y = (struct tensor){.data = r->memory,
		.dtype = DTYPE_F32,
		.rows = N_ROWS,
		.cols = SMALL_WIDTH};
	return readout_argmax(&r->readout, NULL, r->y, r->token, r->lead, &err);
fail:
	return err.code;
}

static void close_rows(struct read_rows *r)
{
	readout_free(&r->readout);
	device_free(r->dev, r->memory);
	model_close(r->model);
	device_close(r->dev);
}

TEST(each_token_has_its_lead_over_the_next)
{
	struct read_rows r;

	REQUIRE_OK(open_rows(&r), &err);
	for (size_t i = 0; i < N_ROWS; i++) {
		CHECK(r.lead[i] == leads[i], "row %zu: %g, not %g", i, r.lead[i], leads[i]);
		CHECK(r.token[i] == (leads[i] > 0 ? LAST : 0), "row %zu: %d", i, r.token[i]);
	}
	close_rows(&r);
}

TEST(a_token_that_is_not_the_refusal_token_is_held_against_that_and_not_against_the_next)
{
	struct read_rows r;
	float lead[N_ROWS];
	static const struct {
		int32_t other;
		float narrow[2]; /* what becomes of the leads 2^-14 and 0 */
	} cases[] = {{0, {0x1p-12f, 0}}, {LAST - 1, {0x1p-14f, 0}}, {LAST, {0x1p-14f, 0}}};

	REQUIRE_OK(open_rows(&r), &err);
	for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
		memcpy(lead, r.lead, sizeof lead);
		REQUIRE_OK(readout_lead_over(&r.readout, NULL, r.y, r.token, cases[k].other, lead,
				   &err),
			&err);
		CHECK(fabsf(lead[1] - cases[k].narrow[0]) < 1e-6f, "over %d: %g, not %g",
			cases[k].other, lead[1], cases[k].narrow[0]);
		CHECK(fabsf(lead[3] - cases[k].narrow[1]) < 1e-6f, "over %d: %g, not %g",
			cases[k].other, lead[3], cases[k].narrow[1]);
		CHECK(lead[0] >= 1 && lead[2] >= 0.5f, "clear leads became %g, %g", lead[0],
			lead[2]);
	}
	close_rows(&r);
}

TEST(targets_that_lead_by_less_than_rounding_moves_are_said_and_clear_ones_are_not)
{
	struct config config = {0};
	struct machine machine = {0};
	const struct lab lab = {.config = &config, .machine = &machine};
	const char *said;
	struct read_rows r;

	REQUIRE_OK(open_rows(&r), &err);
	machine.readout = r.readout;
	listen();
	ties_tell_targets(&lab, "here", r.lead, N_ROWS);
	said = heard();
	CHECK(strstr(said, "here: in 2 of 4 prompts token j"), "\"%s\"", said);
	listen();
	ties_tell_targets(&lab, "here", r.lead, 1);
	said = heard();
	CHECK(!*said, "of a clear lead: \"%s\"", said);
	config.batch.invariant = true;
	listen();
	ties_tell_targets(&lab, "here", r.lead, N_ROWS);
	said = heard();
	CHECK(!*said, "with batch.invariant: \"%s\"", said);
	close_rows(&r);
}
