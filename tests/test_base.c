/* SPDX-License-Identifier: MIT
 *
 * test_base.c - errors, files, sizes, growing arrays, arenas, random orders, sums, memory, threads.
 */
#include "host/base/arena.h"
#include "host/base/exact_sum.h"
#include "host/base/file.h"
#include "host/base/memory.h"
#include "host/base/random.h"
#include "host/base/sample.h"
#include "host/base/size.h"
#include "host/base/thread.h"
#include "host/base/utf8.h"
#include "host/base/vec.h"
#include "tests/test.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

TEST(an_error_text_that_is_too_long_is_cut_and_stays_a_text)
{
	struct err err;
	char text[2 * sizeof err.text];

	memset(text, 'x', sizeof text);
	text[sizeof text - 1] = '\0';
	CHECK(err_set(&err, ERR_INPUT, "%s", text) == ERR_INPUT, "code is not returned");
	CHECK(strlen(err.text) == sizeof err.text - 1, "length %zu", strlen(err.text));
	CHECK(err_prefix(&err, "where") == ERR_INPUT, "code is lost");
	CHECK(strncmp(err.text, "where: xxx", 10) == 0 && strlen(err.text) == sizeof err.text - 1,
		"begins with %.12s", err.text);
}

TEST(a_prefix_says_where_and_keeps_what)
{
	struct err err;

	err_set(&err, ERR_OUTPUT, "no room");
	err_prefix(&err, "layer %d", 3);
	CHECK(strcmp(err.text, "layer 3: no room") == 0, "%s", err.text);
}

TEST(only_whole_characters_that_leave_a_terminal_alone_are_printable)
{
	static const struct {
		const char *text;
		size_t expected;
	} cases[] = {{"a", 1}, {" ", 1}, {"\xc3\xa9", 2}, {"\xf0\x9f\x98\x80", 4}, {"\xc2\xa0", 2},
		{"\n", 0}, {"\x1b[2J", 0}, {"\x7f", 0}, {"\xc2\x9b", 0}, {"\xc3", 0}, {"\xff", 0},
		{"\xe2\x80\xae", 0}, {"\xe2\x81\xa6", 0}, {"", 0}};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		const size_t n = utf8_printable(cases[i].text, strlen(cases[i].text));

		CHECK(n == cases[i].expected, "case %zu: %zu bytes", i, n);
	}
}

TEST(sha256_of_bytes_and_of_a_file_agree_with_the_published_value)
{
	/* FIPS 180-2, appendix B.1 */
	static const char expected[] =
		"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
	char hex[SHA256_HEX], path[512];
	struct err err = {0};
	FILE *file;

	sha256_bytes("abc", 3, hex);
	CHECK(strcmp(hex, expected) == 0, "%s", hex);
	snprintf(path, sizeof path, "%s/abc", test_scratch_folder());
	file = fopen(path, "wb");
	REQUIRE(file && fputs("abc", file) >= 0, "%s: cannot write", path);
	fclose(file);
	REQUIRE_OK(sha256_file(path, hex, &err), &err);
	CHECK(strcmp(hex, expected) == 0, "%s", hex);
}

TEST(an_empty_file_maps_to_no_bytes_and_a_missing_one_is_an_error)
{
	struct file_map map = {0};
	struct err err = {0};
	char path[512];
	FILE *file;

	snprintf(path, sizeof path, "%s/empty", test_scratch_folder());
	file = fopen(path, "wb");
	REQUIRE(file, "%s: cannot write", path);
	fclose(file);
	REQUIRE_OK(file_map_open(&map, path, &err), &err);
	CHECK(map.size == 0, "size %zu", map.size);
	file_map_close(&map);
	snprintf(path, sizeof path, "%s/none", test_scratch_folder());
	CHECK(file_map_open(&map, path, &err) == ERR_INPUT, "code %d", err.code);
	CHECK(strstr(err.text, path), "the message does not name the file: %s", err.text);
	file_map_close(&map);
}

TEST(joined_paths_have_one_slash_and_an_absolute_name_stays)
{
	static const struct {
		const char *folder, *name, *joined;
	} cases[] = {{"a", "b", "a/b"}, {"a/", "b", "a/b"}, {"a", "/b", "/b"}};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		char *path = path_join(cases[i].folder, cases[i].name);

		CHECK(path && strcmp(path, cases[i].joined) == 0, "%s", path);
		free(path);
	}
}

TEST(sizes_that_overflow_are_seen)
{
	size_t out;

	CHECK(size_mul_overflow(SIZE_MAX / 2, 3, &out), "a product overflowed unseen");
	CHECK(size_add_overflow(SIZE_MAX, 1, &out), "a sum overflowed unseen");
	CHECK(!size_mul_overflow(3, 4, &out) && out == 12, "3 x 4 = %zu", out);
}

TEST(a_growing_array_keeps_what_was_pushed)
{
	struct {
		int *data;
		size_t n, cap;
	} v = {0};
	struct err err = {0};

	for (int i = 0; i < 1000; i++)
		REQUIRE_OK(vec_push(&v, i, &err), &err);
	for (int i = 0; i < 1000; i++)
		CHECK(v.data[i] == i, "element %d is %d", i, v.data[i]);
	free(v.data);
}

TEST(an_arena_gives_zeroed_pieces_of_any_size_and_takes_all_back)
{
	struct arena a = {0};
	struct err err = {0};
	unsigned char *pieces[100];

	arena_free(&a); /* nothing to take back */
	for (size_t i = 0; i < 100; i++) {
		pieces[i] = arena_alloc(&a, i, i);
		REQUIRE(pieces[i], "%zu bytes: none", i * i);
		for (size_t k = 0; k < i * i; k++)
			REQUIRE(pieces[i][k] == 0, "byte %zu of %zu is not 0", k, i * i);
		memset(pieces[i], (int)i, i * i);
	}
	for (size_t i = 0; i < 100; i++)
		for (size_t k = 0; k < i * i; k++)
			REQUIRE(pieces[i][k] == i, "piece %zu was written over", i);
	CHECK(arena_check(&a, "pieces", &err) == 0, "%s", err.text);
	arena_free(&a);
	CHECK(a.n == 0 && !a.pieces, "it is not empty");
	arena_free(&a);
}

TEST(an_arena_reports_the_first_piece_it_could_not_give_and_gives_smaller_ones)
{
	const struct {
		size_t n, size;
		const char *text;
	} cases[] =
	{ {SIZE_MAX / 2, 3, "out of memory: the table needs 18446744073709551615 bytes"},
#if !defined(__SANITIZE_ADDRESS__) /* which ends the program there */
		{SIZE_MAX / 16, 8, "out of memory: the table needs 9223372036854775800 bytes"},
#endif
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct arena a = {0};
		struct err err = {0};

		CHECK(arena_alloc(&a, 4, 4), "the first piece");
		CHECK(!arena_alloc(&a, cases[i].n, cases[i].size), "the second is there");
		CHECK(!arena_alloc(&a, SIZE_MAX, SIZE_MAX), "the third is there");
		CHECK(arena_alloc(&a, 4, 4), "the fourth piece");
		CHECK(arena_check(&a, "the table", &err) == ERR_DEVICE, "code %d", err.code);
		CHECK(strcmp(err.text, cases[i].text) == 0, "%s", err.text);
		arena_free(&a);
		CHECK(arena_check(&a, "the table", &err) == 0, "an empty arena has failed");
	}
}

TEST(a_random_order_depends_on_the_seed_alone_and_not_on_what_is_ordered)
{
	/* What the generator gives: changing it would change every control drawn so far. */
	static const int32_t expected[] = {1, 4, 5, 2, 6, 0, 3, 7};
	int32_t small[8];
	struct {
		size_t number;
		char rest[41];
	} large[8];
	uint64_t seed = 7, again = 7;

	memset(large, 0, sizeof large);
	for (size_t i = 0; i < 8; i++) {
		small[i] = (int32_t)i;
		large[i].number = i;
		memset(large[i].rest, (int)i, sizeof large[i].rest);
	}
	random_shuffle(&seed, small, 8, sizeof *small);
	random_shuffle(&again, large, 8, sizeof *large);
	for (size_t i = 0; i < 8; i++) {
		CHECK(small[i] == expected[i], "place %zu: %d", i, small[i]);
		CHECK(large[i].number == (size_t)small[i] && large[i].rest[40] == small[i],
			"place %zu: %d and %zu", i, small[i], large[i].number);
	}
	random_shuffle(&seed, small, 1, sizeof *small);
	random_shuffle(&seed, NULL, 0, sizeof *small);
	CHECK(seed == again, "orders of one or none draw numbers");
}

/* ---- memory ---------------------------------------------------------------------------- */

static void write_below(const char *folder, const char *name, const char *text)
{
	char path[512], *slash;
	FILE *file;

	snprintf(path, sizeof path, "%s/%s/%s", test_scratch_folder(), folder, name);
	for (slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		mkdir(path, 0777);
		*slash = '/';
	}
	file = fopen(path, "w");
	REQUIRE(file && fputs(text, file) >= 0 && fclose(file) == 0, "cannot write %s", path);
}

static struct memory_left left_in(const char *proc, const char *cgroup)
{
	char a[512], b[512];

	snprintf(a, sizeof a, "%s/%s", test_scratch_folder(), proc);
	snprintf(b, sizeof b, "%s/%s", test_scratch_folder(), cgroup);
	return memory_left_in(a, b);
}

TEST(memory_left_is_the_least_that_machine_and_control_groups_leave)
{
	struct memory_left left;

	write_below("proc", "meminfo",
		"MemTotal: 9000 kB\nMemFree: 10 kB\nMemAvailable: 4000 kB\n");
	left = left_in("proc", "cgroup");
	CHECK(left.bytes == 4000 * 1024 && strcmp(left.limit, "available on this machine") == 0,
		"%zu bytes %s", left.bytes, left.limit);

	/* Version 2: the parent's limit is nearer than the group's own; files it caches do not
	 * count. */
	write_below("proc/self", "cgroup", "0::/job/step\n");
	write_below("cgroup/job/step", "memory.max", "max\n");
	write_below("cgroup/job/step", "memory.current", "1000\n");
	write_below("cgroup/job", "memory.max", "3000000\n");
	write_below("cgroup/job", "memory.current", "2000000\n");
	write_below("cgroup/job", "memory.stat",
		"anon 5\ninactive_file 700000\nactive_file 200000\n");
	left = left_in("proc", "cgroup");
	CHECK(left.bytes == 1900000 && strcmp(left.limit, "left of the control group's limit") == 0,
		"%zu bytes %s", left.bytes, left.limit);

	/* Version 1, in a container that sees its group's files at the root. */
	write_below("proc/self", "cgroup", "5:cpu:/x\n4:memory:/outside/name\n0::/\n");
	write_below("cgroup/memory", "memory.limit_in_bytes", "500000\n");
	write_below("cgroup/memory", "memory.usage_in_bytes", "600000\n");
	left = left_in("proc", "cgroup");
	CHECK(left.bytes == 0, "%zu bytes %s", left.bytes, left.limit);

	left = left_in("nothing", "cgroup");
	CHECK(left.bytes == SIZE_MAX, "%zu bytes %s", left.bytes, left.limit);
}

#if !defined(__SANITIZE_ADDRESS__) /* which takes terabytes of it, and ends the program for want \
				    */
static const size_t MIB = 1 << 20;

TEST(what_would_leave_libraries_too_little_address_space_is_refused)
{
	struct arena arena = {0};
	struct file_map map;
	struct err err = {0};
	void *piece;

	CHECK(memory_left_of_space().bytes == SIZE_MAX && memory_fits(SIZE_MAX), "no limit, yet");
	test_limit_space(96 * MIB);
	CHECK(memory_left_of_space().bytes / MIB >= 30 && memory_left_of_space().bytes / MIB <= 32,
		"%zu MiB are left", memory_left_of_space().bytes / MIB);
	CHECK(memory_check("it", 16 * MIB, &err) == 0, "%s", err.text);
	CHECK(!memory_fits(48 * MIB) && !memory_fits(SIZE_MAX), "what is kept was given away");
	CHECK(memory_check("it", 48 * MIB, &err) == ERR_DEVICE &&
			strstr(err.text, "too little memory: it: expected at least 112.0 MiB of "
					 "address space, found 9"),
		"%s", err.text);
	piece = memory_alloc(16 * MIB);
	CHECK(piece && !memory_alloc(48 * MIB), "16 MiB are there, 48 are not");
	free(piece);
	CHECK(!arena_alloc(&arena, 48, MIB) && arena_check(&arena, "it", &err) == ERR_DEVICE,
		"an arena gave what is kept");
	arena_free(&arena);

	/* Whatever is about to begin, and files, which are mapped whole. */
	test_limit_space(48 * MIB);
	CHECK(memory_check("it", 0, &err) == ERR_DEVICE, "nothing is left for libraries");
	CHECK(file_map_open(&map, "/proc/self/exe", &err) == ERR_DEVICE, "%d: %s", err.code,
		err.text);
	test_limit_space(SIZE_MAX);
}
#endif

TEST(a_machine_without_memory_for_libraries_refuses_to_begin)
{
	struct err err = {0};

	CHECK(memory_check_machine("it", 0, &err) == 0, "%s", err.text);
	CHECK(memory_check_machine("it", SIZE_MAX / 2, &err) == ERR_DEVICE &&
			strncmp(err.text, "too little memory: it: expected at least ", 41) == 0,
		"%s", err.text);
}

/* ---- threads --------------------------------------------------------------------------- */

struct counts {
	_Atomic int items[1000], on_thread[4];
};

static void count_item(void *context, size_t i, int thread)
{
	struct counts *c = context;

	c->items[i]++;
	c->on_thread[thread]++;
}

static void every_item_once(size_t n)
{
	struct counts c = {0};
	int sum = 0;

	threads_run(n, 4, count_item, &c);
	for (size_t i = 0; i < 1000; i++)
		CHECK(c.items[i] == (i < n), "item %zu of %zu: %d times", i, n, c.items[i]);
	for (int t = 0; t < 4; t++)
		sum += c.on_thread[t];
	CHECK(sum == (int)n, "%d items on 4 threads", sum);
}

TEST(a_loop_over_threads_does_every_item_once_even_where_no_thread_can_be_started)
{
	for (size_t n = 0; n < 6; n++)
		every_item_once(n);
	every_item_once(1000);
#if !defined(__SANITIZE_ADDRESS__)
	test_limit_space(MIB);
	every_item_once(1000);
	test_limit_space(SIZE_MAX);
#endif
}

/* ---- samples ---------------------------------------------------------------------------- */

/* The digest of a file of `size` zeros but for one byte. */
static void sample_of(size_t size, size_t at, char hex[SHA256_HEX])
{
	const char *path = in_scratch("sampled");
	FILE *file = fopen(path, "wb");
	struct err err;

	if (!file || ftruncate(fileno(file), (off_t)size) != 0 ||
		fseek(file, (long)at, SEEK_SET) != 0 || putc(1, file) == EOF || fclose(file) != 0)
		exit(1);
	REQUIRE_OK(sample_file(path, hex, &err), &err);
}

TEST(a_sample_tells_another_size_other_ends_and_other_blocks)
{
	const size_t size = (size_t)SAMPLE_WHOLE + 12345,
		     apart = (size - 2 * SAMPLE_END) / SAMPLE_BLOCKS,
		     last = SAMPLE_END + (SAMPLE_BLOCKS - 1) * apart;
	const size_t seen[] = {0, SAMPLE_END - 1, SAMPLE_END, SAMPLE_END + 7 * apart,
		last + SAMPLE_BLOCK - 1, size - SAMPLE_END, size - 1};
	char between[SHA256_HEX], other[SHA256_HEX];

	sample_of(size, SAMPLE_END + SAMPLE_BLOCK, between);
	sample_of(size, SAMPLE_END + 2 * apart - 1, other);
	CHECK(strcmp(between, other) == 0, "a byte between the blocks was read");
	for (size_t i = 0; i < sizeof seen / sizeof *seen; i++) {
		sample_of(size, seen[i], other);
		CHECK(strcmp(between, other) != 0, "byte %zu was not read", seen[i]);
	}
	sample_of(size + 1, SAMPLE_END + SAMPLE_BLOCK, other);
	CHECK(strcmp(between, other) != 0, "the size does not count");
}

TEST(a_sample_of_a_small_file_is_its_hash)
{
	char sample[SHA256_HEX], whole[SHA256_HEX];
	struct err err;

	sample_of(SAMPLE_WHOLE, SAMPLE_WHOLE / 2 + 100, sample);
	REQUIRE_OK(sha256_file(in_scratch("sampled"), whole, &err), &err);
	CHECK(strcmp(sample, whole) == 0, "%s, %s", sample, whole);
	CHECK(sample_file(in_scratch("no such"), sample, &err) == ERR_INPUT &&
			strstr(err.text, "no such: No such file or directory"),
		"%d: %s", err.code, err.text);
}

TEST(an_exact_sum_has_the_same_bits_in_any_order_and_any_grouping)
{
	struct test_random random = {3};
	double x[300], plain[2] = {0};
	exact_sum forward = 0, backward = 0, groups[7] = {0}, of_groups = 0;

	for (int i = 0; i < 300; i++)
		x[i] = test_random_uniform(&random) * (i % 3 ? 1e-6 : 1e4);
	for (int i = 0; i < 300; i++) {
		forward += exact_term(x[i]);
		backward += exact_term(x[299 - i]);
		groups[i % 7] += exact_term(x[i]);
		plain[0] += x[i];
		plain[1] += x[299 - i];
	}
	for (int g = 0; g < 7; g++)
		of_groups += groups[g];
	CHECK(exact_value(forward) == exact_value(backward) &&
			exact_value(forward) == exact_value(of_groups),
		"%.17g, %.17g and %.17g", exact_value(forward), exact_value(backward),
		exact_value(of_groups));
	CHECK(plain[0] != plain[1], "no case: plain sums agree");
	CHECK(fabs(exact_value(forward) - plain[0]) < 1e-9, "%.17g and %.17g", exact_value(forward),
		plain[0]);
	CHECK(exact_value(exact_term(-1.5)) == -1.5 && exact_value(exact_term(1e-300)) == 0,
		"a term is another");
	CHECK(isnan(exact_value(exact_term(1e300) + exact_term(-1e12))) &&
			isnan(exact_value(exact_term(NAN) + exact_term(-INFINITY))),
		"what is too large or not finite has gone");
}
