/* SPDX-License-Identifier: MIT
 *
 * test_compare_results.c - compare_results on small files: what each line measures, its limits, and
 * the exit status. On whole runs: cuda_run_agrees_with_the_cpu (tests/emu/CMakeLists.txt).
 */
#include "host/base/file.h"
#include "tests/test.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <hdf5.h>

enum { N_PROMPT = 20, N_EFFECT = 3, N_FEATURE = 20 };

/* What is in a file. */
struct content {
	float v[1][2][4];
	double metric[N_PROMPT];
	int32_t target[N_PROMPT], effect_layer[N_EFFECT];
	float effect[N_PROMPT][N_EFFECT];
	float resid[2][4], gradient[2][4];
	int32_t layer[N_FEATURE], feature[N_FEATURE], drawn;
	unsigned char refusal[N_PROMPT];
	double p_refusal[N_PROMPT], p_random[N_PROMPT];
	float lead[N_PROMPT];
	int32_t ids[2 * N_PROMPT], end[N_PROMPT];
	double seconds;
};

static struct content usual(void)
{
	struct content c = {.v = {{{1, 2, 3, 4}, {4, 0, 0, 1}}},
		.effect_layer = {0, 4, 4},
		.resid = {{1, 2, 3, 4}, {0, 3, 0, 0}},
		.gradient = {{1, 0, 2, 0}, {1e-9f, 0, 0, 0}},
		.seconds = 1};

	for (int i = 0; i < N_PROMPT; i++) {
		c.metric[i] = i == 0 ? 0 : 4 - 0.1 * i;
		c.target[i] = 7;
		for (int j = 0; j < N_EFFECT; j++)
			c.effect[i][j] = (float)(j + 1);
		c.refusal[i] = i % 2 == 0;
		c.p_refusal[i] = c.p_random[i] = 0.5;
		c.lead[i] = 1;
		c.ids[2 * i] = i;
		c.ids[2 * i + 1] = 2 * i;
		c.end[i] = 2 * i + 2;
	}
	for (int i = 0; i < N_FEATURE; i++) {
		c.layer[i] = i / 10;
		c.feature[i] = i % 10;
	}
	return c;
}

static void put(hid_t file, const char *path, hid_t type, const void *data, int n_dims, hsize_t d0,
	hsize_t d1, hsize_t d2)
{
	const hsize_t dims[] = {d0, d1, d2};
	const hid_t space = H5Screate_simple(n_dims, dims, NULL),
		    links = H5Pcreate(H5P_LINK_CREATE);
	hid_t dataset;

	H5Pset_create_intermediate_group(links, 1);
	dataset = H5Dcreate2(file, path, type, space, links, H5P_DEFAULT, H5P_DEFAULT);
	H5Dwrite(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, data);
	H5Dclose(dataset);
	H5Sclose(space);
	H5Pclose(links);
}

static void put_vector(hid_t file, const char *path, hid_t type, const void *data, hsize_t n)
{
	put(file, path, type, data, 1, n, 0, 0);
}

static void write_file(const char *name, const struct content *c)
{
	const hid_t f32 = H5T_NATIVE_FLOAT, f64 = H5T_NATIVE_DOUBLE, i32 = H5T_NATIVE_INT32,
		    file = H5Fcreate(in_scratch(name), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);

	put(file, "/direction/v", f32, c->v, 3, 1, 2, 4);
	put_vector(file, "/indirect_effect/cossim_ap/metric_patched", f64, c->metric, N_PROMPT);
	put_vector(file, "/indirect_effect/cossim_ap/target", i32, c->target, N_PROMPT);
	put_vector(file, "/candidates/layer", i32, c->effect_layer, N_EFFECT);
	put(file, "/indirect_effect/cossim_ap/per_prompt", f32, c->effect, 2, N_PROMPT, N_EFFECT,
		0);
	put(file, "/activations/blocks.0.hook_resid_post", f32, c->resid, 2, 2, 4, 0);
	put_vector(file, "/activations/prompt", i32, c->target, 2);
	put(file, "/gradients/blocks.0.hook_resid_post", f32, c->gradient, 2, 2, 4, 0);
	put_vector(file, "/feature_sets/ap/global/layer", i32, c->layer, N_FEATURE);
	put_vector(file, "/feature_sets/ap/global/feature", i32, c->feature, N_FEATURE);
	put_vector(file, "/feature_sets/random/global/layer", i32, c->layer, 1);
	put_vector(file, "/feature_sets/random/global/feature", i32, &c->drawn, 1);
	put_vector(file, "/scores/jailbreak/none/refusal", H5T_NATIVE_UCHAR, c->refusal, N_PROMPT);
	put_vector(file, "/scores/jailbreak/none/p_refusal", f64, c->p_refusal, N_PROMPT);
	put_vector(file, "/scores/jailbreak/random_global_x0/p_refusal", f64, c->p_random,
		N_PROMPT);
	put_vector(file, "/scores/jailbreak/ap_local_x0/p_refusal", f64, &c->seconds, 1);
	put_vector(file, "/generations/jailbreak/none/lead", f32, c->lead, N_PROMPT);
	put_vector(file, "/generations/jailbreak/none/token_ids", i32, c->ids, 2 * N_PROMPT);
	put_vector(file, "/generations/jailbreak/none/token_end", i32, c->end, N_PROMPT);
	put_vector(file, "/provenance/seconds", f64, &c->seconds, 1);
	H5Fclose(file);
}

static char out[16384];

/* Runs it in the scratch folder; its exit status. What it printed, errors too, is in `out`. */
static int compare(const char *arguments)
{
	char command[1024];

	snprintf(command, sizeof command, "cd '%s' && exec '%s' %s 2>&1", test_scratch_folder(),
		COMPARE_RESULTS, arguments);
	return test_shell(command, out, sizeof out);
}

#define EXPECT(status, arguments) \
	do { \
		const int found = compare(arguments); \
		CHECK(found == (status), "%s: expected status %d, found %d: %s", arguments, \
			status, found, out); \
	} while (0)

/* The line of what is measured, in `out`. */
static const char *line_of(const char *name)
{
	static char line[256];
	const char *at = strstr(out, name);

	snprintf(line, sizeof line, "%.*s", at ? (int)strcspn(at, "\n") : 0, at ? at : "");
	return line;
}

TEST(equal_files_are_inside_every_limit)
{
	static const char *const names[] = {"direction: worst 1 - cosine",
		"metric: worst difference, of the largest",
		"effects of a layer: worst median difference, of each",
		"effects of a prompt: share within a tenth of their length",
		"saved resid_post: worst 1 - cosine",
		"saved gradients: worst 1 - cosine of a layer", "global features: least overlap",
		"refusal: worst share that differs, of no narrow lead",
		"P(refusal): worst median shift of log-odds",
		"unedited replies of no narrow lead: share of equal ones"};
	const struct content c = usual();

	write_file("a.h5", &c);
	EXPECT(0, "a.h5 a.h5");
	CHECK(strstr(out, "exact (float32 products on both): a.h5, a.h5\n") == out, "found %s",
		out);
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		CHECK(line_of(names[i])[0], "no line of %s: %s", names[i], out);
	CHECK(!strstr(out, "OUTSIDE"), "found %s", out);
	EXPECT(0, "a.h5 a.h5 --rounded");
	CHECK(strstr(out, "rounded (the second rounds products to bfloat16): a.h5, a.h5\n") == out,
		"found %s", out);
	EXPECT(0, "a.h5 a.h5 --same");
}

/* One number of the second file is another, and one line says so. */
static void expect_line(const struct content *b, const char *line)
{
	const struct content a = usual();
	const char *at;

	write_file("a.h5", &a);
	write_file("b.h5", b);
	EXPECT(1, "a.h5 b.h5");
	at = strstr(out, line);
	CHECK(at, "expected \"%s\", found %s", line, out);
	at = strstr(out, "OUTSIDE");
	CHECK(at && !strstr(at + 1, "OUTSIDE"), "expected one line outside, found %s", out);
}

TEST(each_line_measures_its_own)
{
	struct content b = usual();

	b.v[0][1][1] = 3; /* (4, 3, 0, 1) . (4, 0, 0, 1) = 17 of sqrt(17 26) */
	expect_line(&b, "direction: worst 1 - cosine                                     0.191   "
			"at most  1e-06   OUTSIDE\n");
	b = usual();
	b.metric[1] += 0.39; /* of 3.9 */
	expect_line(&b, "metric: worst difference, of the largest                          0.1   "
			"at most  0.0001   OUTSIDE\n");
	b = usual();
	for (int i = 0; i < N_PROMPT; i++) /* one of the two effects of the layer */
		b.effect[i][2] *= 1.03f;
	expect_line(&b, "effects of a layer: worst median difference, of each             0.03   "
			"at most  0.0001   OUTSIDE\n");
	b = usual();
	b.effect[2][0] = 2; /* 1 of sqrt(14); and of prompt 0 none is compared */
	expect_line(&b, "effects of a prompt: share within a tenth of their length       0.947   "
			"at least 0.99   OUTSIDE\n");
	b = usual();
	b.resid[1][3] = 4;
	expect_line(&b, "saved resid_post: worst 1 - cosine                                0.4   "
			"at most  1e-06   OUTSIDE\n");
	b = usual();
	b.gradient[0][0] = 2; /* (1, 2) . (2, 2) = 6 of sqrt(5 8) */
	expect_line(&b, "saved gradients: worst 1 - cosine of a layer                   0.0513   "
			"at most  1e-05   OUTSIDE\n");
	b = usual();
	b.feature[0] = b.feature[11] = b.feature[12] = 1000;
	expect_line(&b, "global features: least overlap                                   0.85   "
			"at least 0.9   OUTSIDE\n");
	b = usual();
	b.refusal[0] = b.refusal[2] = 0;
	expect_line(&b, "refusal: worst share that differs, of no narrow lead              0.1   "
			"at most  0.01   OUTSIDE\n");
	b = usual();
	for (int i = N_PROMPT / 2; i < N_PROMPT; i++)
		b.p_refusal[i] = 0.6; /* log(0.6 / 0.4) */
	expect_line(&b, "P(refusal): worst median shift of log-odds                      0.405   "
			"at most  0.00012207   OUTSIDE\n");
	b = usual();
	b.ids[0]++, b.end[2]--; /* the ends move: two replies, and that of the id */
	expect_line(&b, "unedited replies of no narrow lead: share of equal ones          0.85   "
			"at least 1   OUTSIDE\n");
}

TEST(what_rounding_may_turn_over_is_not_compared)
{
	const struct content a = usual();
	struct content b = a;

	b.metric[0] = 3; /* ends in the refusal: zero in the first file */
	b.target[5]++;
	b.metric[5] = -3; /* another target, another metric */
	b.effect[5][0] = -8;
	b.gradient[1][0] = -1e-9f; /* of a token that hardly matters */
	b.seconds = 0;             /* a local set's score */
	write_file("a.h5", &a);
	write_file("b.h5", &b);
	EXPECT(0, "a.h5 b.h5");
	b.effect[3][1] = 0; /* two features of two prompts, off */
	b.effect[4][2] = 0;
	b.p_refusal[3] = 0.99;
	write_file("b.h5", &b);
	EXPECT(1, "a.h5 b.h5");
	CHECK(strstr(line_of("effects of a prompt"), "0.889   at least 0.99   OUTSIDE"), "found %s",
		out);
	b.effect[4][2] = a.effect[4][2];
	write_file("b.h5", &b);
	EXPECT(0, "a.h5 b.h5 --rounded");
}

/* In float32 the lead must be far smaller to be narrow. */
TEST(a_reply_may_part_where_a_lead_was_narrow)
{
	struct content a = usual(), b;

	a.lead[0] = 0.1f;
	b = a;
	b.refusal[0] = 0;
	b.ids[1] = 77;
	write_file("a.h5", &a);
	write_file("b.h5", &b);
	EXPECT(0, "a.h5 b.h5 --rounded");
	EXPECT(1, "a.h5 b.h5");
	a.lead[0] = 1; /* that of the second file says nothing about it */
	write_file("a.h5", &a);
	EXPECT(1, "a.h5 b.h5 --rounded");
	CHECK(strstr(line_of("unedited replies"), "0.95   at least 1   OUTSIDE"), "found %s", out);
	CHECK(!strstr(line_of("refusal: "), "OUTSIDE"), "found %s", out);
}

TEST(a_condition_that_clamps_other_features_is_not_compared)
{
	const struct content a = usual();
	struct content b = a;

	for (int i = 0; i < N_PROMPT; i++)
		b.p_random[i] = 0.9;
	write_file("a.h5", &a);
	write_file("b.h5", &b);
	EXPECT(1, "a.h5 b.h5 --rounded");
	CHECK(strstr(line_of("P(refusal)"), "2.2   at most") && !strstr(out, "not compared"),
		"found %s", out);
	b.drawn = 1;
	write_file("b.h5", &b);
	EXPECT(0, "a.h5 b.h5 --rounded");
	CHECK(strstr(out, "  not compared: 1 conditions that clamp other features in the second "
			  "file\n"),
		"found %s", out);
}

TEST(rounded_products_have_limits_of_their_own)
{
	const struct content a = usual();
	struct content b = a;

	b.metric[1] += 0.039;
	write_file("a.h5", &a);
	write_file("b.h5", &b);
	EXPECT(1, "a.h5 b.h5");
	EXPECT(0, "a.h5 b.h5 --rounded");
	CHECK(strstr(line_of("metric"), "0.01   at most  0.02"), "found %s", out);
}

TEST(a_number_that_is_none_is_outside)
{
	const struct content a = usual();
	struct content b = a;

	b.v[0][0][0] = NAN;
	write_file("a.h5", &a);
	write_file("b.h5", &b);
	EXPECT(1, "a.h5 b.h5 --rounded");
	CHECK(strstr(line_of("direction"), "OUTSIDE"), "found %s", out);
}

TEST(the_same_is_every_bit_but_what_the_run_came_from)
{
	const struct content a = usual();
	struct content b = a;
	hid_t file;

	b.v[0][0][0] = nextafterf(1, 2);
	write_file("a.h5", &a);
	write_file("b.h5", &b);
	EXPECT(0, "a.h5 b.h5");
	EXPECT(1, "a.h5 b.h5 --same");
	CHECK(strstr(out, "  direction/v differs at element 0 of 8\n"), "found %s", out);
	CHECK(strstr(line_of("datasets that differ"), " 1   at most  0   OUTSIDE"), "found %s",
		out);
	write_file("b.h5", &a);
	file = H5Fopen(in_scratch("b.h5"), H5F_ACC_RDWR, H5P_DEFAULT);
	put_vector(file, "/provenance/more", H5T_NATIVE_INT32, a.ids, 1);
	H5Fclose(file);
	EXPECT(0, "a.h5 b.h5 --same");
	file = H5Fopen(in_scratch("b.h5"), H5F_ACC_RDWR, H5P_DEFAULT);
	put_vector(file, "/more/values", H5T_NATIVE_INT32, a.ids, 1);
	H5Fclose(file);
	EXPECT(1, "b.h5 a.h5 --same");
	CHECK(strstr(out, "  more/values is in one file only\n"), "found %s", out);
	EXPECT(1, "a.h5 b.h5 --same");
	CHECK(strstr(out, "  more/values is in the second file only\n"), "found %s", out);
}

TEST(the_table_is_lines_of_json_too)
{
	const struct content a = usual();
	struct content b = a;
	char *text;
	struct err err;

	b.metric[1] += 0.39;
	b.p_refusal[0] = NAN;
	write_file("a.h5", &a);
	write_file("b.h5", &b);
	EXPECT(1, "a.h5 b.h5 --rounded --json table.json");
	REQUIRE_OK(file_read_text(in_scratch("table.json"), &text, &err), &err);
	CHECK(strstr(text,
		      "{\"comparison\": \"rounded\", \"name\": \"direction: worst 1 - cosine\", "
		      "\"value\": 0, \"bound\": \"at most\", \"limit\": 0.0002, \"ok\": true}\n") ==
			text,
		"found %s", text);
	CHECK(strstr(text,
		      "\"name\": \"metric: worst difference, of the largest\", \"value\": 0.1, "
		      "\"bound\": \"at most\", \"limit\": 0.02, \"ok\": false}\n"),
		"found %s", text);
	CHECK(strstr(text,
		      "\"name\": \"P(refusal): worst median shift of log-odds\", \"value\": null, "
		      "\"bound\": \"at most\", \"limit\": 0.125, \"ok\": false}\n"),
		"found %s", text);
	free(text);
	EXPECT(5, "a.h5 a.h5 --json /nowhere/table.json");
}

/* A vector of n numbers in place of one. */
static void expect_wrong_length(const char *path, hsize_t n, const char *message)
{
	const struct content a = usual();
	hid_t file;

	write_file("a.h5", &a);
	file = H5Fopen(in_scratch("a.h5"), H5F_ACC_RDWR, H5P_DEFAULT);
	H5Ldelete(file, path, H5P_DEFAULT);
	put_vector(file, path, H5T_NATIVE_INT32, a.target, n);
	H5Fclose(file);
	EXPECT(3, "a.h5 a.h5");
	CHECK(strstr(out, message), "expected \"%s\", found %s", message, out);
}

TEST(usage_and_files_that_do_not_fit_have_statuses_of_their_own)
{
	const struct content a = usual();
	struct content b = a;
	hid_t file;

	write_file("a.h5", &a);
	EXPECT(2, "a.h5");
	EXPECT(2, "a.h5 a.h5 a.h5");
	EXPECT(2, "a.h5 a.h5 --roundde");
	EXPECT(2, "a.h5 a.h5 --json");
	EXPECT(3, "a.h5 none.h5");
	CHECK(strstr(out, "none.h5: expected a result file (HDF5) that can be read"), "found %s",
		out);
	file = H5Fcreate(in_scratch("b.h5"), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
	put(file, "/direction/v", H5T_NATIVE_FLOAT, a.v, 3, 1, 1, 4);
	H5Fclose(file);
	EXPECT(3, "a.h5 b.h5");
	CHECK(strstr(out,
		      "/direction/v: expected 3 dimensions of the same lengths in a.h5 and b.h5, "
		      "found 8 and 4 values"),
		"found %s", out);
	file = H5Fcreate(in_scratch("b.h5"), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
	put(file, "/direction/v", H5T_NATIVE_FLOAT, a.v, 3, 1, 2, 4);
	H5Fclose(file);
	EXPECT(3, "a.h5 b.h5");
	CHECK(strstr(out,
		      "b.h5: expected a dataset /indirect_effect/cossim_ap/metric_patched, found "
		      "none"),
		"found %s", out);
	EXPECT(0, "b.h5 b.h5");
	b.end[N_PROMPT - 1] = 1000;
	write_file("b.h5", &b);
	EXPECT(3, "a.h5 b.h5");
	CHECK(strstr(out, "/generations/jailbreak/none/token_end: expected ascending ends"),
		"found %s", out);
	expect_wrong_length("/candidates/layer", 2,
		"/indirect_effect/cossim_ap: expected 20 targets and effects of 20 prompts and 2 "
		"candidates, found 20 and 20, 3");
	expect_wrong_length("/generations/jailbreak/none/lead", 19,
		"/generations/jailbreak/none/lead: expected 20 leads, found 19");
}
