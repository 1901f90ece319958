/* SPDX-License-Identifier: MIT
 *
 * test_child.c - a process that may die answers, or its death is told (host/base/child.h).
 */
#include "host/base/child.h"
#include "tests/test.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum deed { DOUBLE, FAIL, CRASH, LEAVE, SPIN, GROW, LONG, SIGNAL };

struct question {
	enum deed deed;
	uint64_t number;
};

static int answer(void *context, const void *question, struct child_reply *reply, struct err *err)
{
	const struct question *q = question;
	static int asked;
	volatile char *room;

	reply->number[0] = 2 * q->number;
	reply->number[1] = (uint64_t)++asked;
	reply->data = strdup(context);
	reply->n = strlen(context) + 1;
	switch (q->deed) {
	case FAIL:
		return err_set(err, ERR_INPUT, "no %d", (int)q->number);
	case CRASH:
		raise(SIGSEGV);
		break;
	case LEAVE:
		_exit(7);
	case SPIN:
		for (;;)
			__asm__ volatile("");
	case GROW:
		room = malloc(q->number);
		if (!room)
			return err_set(err, ERR_INPUT, "no room");
		room[0] = 1;
		free((void *)room);
		break;
	case SIGNAL:
		raise((int)q->number);
		break;
	case LONG:
		reply->n = q->number;
		break;
	default:
		break;
	}
	return 0;
}

static struct child *start(void)
{
	static const struct child_limits limits = {(size_t)256 << 20, 4096, 1};
	static char text[] = "text";
	struct child *c;
	struct err err;

	if (child_start(&c, "F: not read", answer, text, sizeof(struct question), &limits, &err))
		test_fail(__FILE__, __LINE__, "%s", err.text);
	return c;
}

TEST(a_child_answers_each_question_with_numbers_and_bytes_or_an_error)
{
	struct child *c = start();
	struct child_reply reply;
	struct err err;

	for (uint64_t i = 1; i < 4; i++) {
		REQUIRE_OK(child_ask(c, &(struct question){DOUBLE, i}, &reply, &err), &err);
		CHECK(reply.number[0] == 2 * i && reply.number[1] == i && reply.n == 5 &&
				strcmp(reply.data, "text") == 0,
			"%d and %d", (int)reply.number[0], (int)reply.number[1]);
		free(reply.data);
	}
	CHECK(child_ask(c, &(struct question){FAIL, 9}, &reply, &err) == ERR_INPUT &&
			strcmp(err.text, "no 9") == 0,
		"%s", err.text);
	REQUIRE_OK(child_ask(c, &(struct question){DOUBLE, 4}, &reply, &err), &err);
	CHECK(reply.number[1] == 5, "it was not asked five times");
	free(reply.data);
	child_stop(c);
}

/* The fault, what is said of it, now and when it is asked again. */
static void expect_death(struct question fatal, const char *text)
{
	struct child *c = start();
	struct child_reply reply;
	struct err err = {0};

	CHECK(child_ask(c, &fatal, &reply, &err) == ERR_INPUT && strcmp(err.text, text) == 0, "%s",
		err.text);
	CHECK(child_ask(c, &(struct question){DOUBLE, 1}, &reply, &err) == ERR_INPUT &&
			strcmp(err.text, text) == 0,
		"again: %s", err.text);
	child_stop(c);
}

TEST(a_child_that_crashes_leaves_hangs_or_lies_is_an_input_error_that_says_so)
{
	expect_death((struct question){CRASH, 0},
		"F: not read: it died by signal 11 (Segmentation fault)");
	expect_death((struct question){LEAVE, 0}, "F: not read: it ended with status 7");
	expect_death((struct question){SPIN, 0}, "F: not read: it took more than 1 s");
	expect_death((struct question){LONG, 4097}, "F: not read: its memory was damaged");
}

TEST(a_child_has_no_more_memory_than_it_was_given)
{
	struct child *c = start();
	struct child_reply reply;
	struct err err = {0};

	REQUIRE_OK(child_ask(c, &(struct question){GROW, 16 << 20}, &reply, &err), &err);
	free(reply.data);
	CHECK(child_ask(c, &(struct question){GROW, 1 << 30}, &reply, &err) == ERR_INPUT,
		"it grew"); /* a sanitizer ends it */
	child_stop(c);
}

TEST(a_signal_that_stops_the_run_does_not_stop_its_child)
{
	static const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2};
	struct child *c = start();
	struct child_reply reply;
	struct err err = {0};

	for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
		REQUIRE_OK(child_ask(c, &(struct question){SIGNAL, (uint64_t)numbers[i]}, &reply,
				   &err),
			&err);
		free(reply.data);
	}
	child_stop(c);
}
