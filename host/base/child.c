/* SPDX-License-Identifier: MIT
 *
 * child.c - Contract: child.h. Tests: tests/test_child.c.
 *
 * One pair of sockets: questions go there whole, replies come back as a header and its bytes.
 */
#include "host/base/child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

struct child {
	pid_t pid;
	int socket; /* -1: it is dead */
	char *what; /* owned */
	size_t question_bytes;
	struct child_limits limits;
	char end[128]; /* of a dead one, how it died */
};

/* Before the data of a reply. */
struct header {
	struct err err;
	uint64_t number[CHILD_NUMBERS], n;
};

static bool send_all(int socket, const void *data, size_t n)
{
	for (size_t done = 0; done < n;) {
		const ssize_t k = send(socket, (const char *)data + done, n - done, MSG_NOSIGNAL);

		if (k < 0 && errno == EINTR)
			continue;
		if (k <= 0)
			return false;
		done += (size_t)k;
	}
	return true;
}

static bool receive_all(int socket, void *data, size_t n)
{
	for (size_t done = 0; done < n;) {
		const ssize_t k = recv(socket, (char *)data + done, n - done, 0);

		if (k < 0 && errno == EINTR)
			continue;
		if (k <= 0)
			return false;
		done += (size_t)k;
	}
	return true;
}

/* ---- the child ------------------------------------------------------------------------- */

static void limit(int resource, rlim_t most)
{
	struct rlimit r;

	if (getrlimit(resource, &r) != 0)
		return;
	if (most < r.rlim_cur)
		r.rlim_cur = most;
	setrlimit(resource, &r);
}

/* Bytes of address space that are taken. */
static rlim_t mapped(void)
{
	FILE *f = fopen("/proc/self/statm", "r");
	unsigned long long pages = 0;

	if (f && fscanf(f, "%llu", &pages) != 1)
		pages = 0;
	if (f)
		fclose(f);
	return (rlim_t)pages * (rlim_t)sysconf(_SC_PAGESIZE);
}

/* What stops the run is for its parent, which then ends it; what kills kills, whatever the parent
 * had made of it. */
static void settle_signals(void)
{
	static const int ignored[] = {SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2};
	static const int fatal[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGXCPU};
	sigset_t none;

	for (size_t i = 0; i < sizeof ignored / sizeof *ignored; i++)
		signal(ignored[i], SIG_IGN);
	for (size_t i = 0; i < sizeof fatal / sizeof *fatal; i++)
		signal(fatal[i], SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/* So many more seconds of processor time, where this process's own limit, `own`, is not lower. */
static void allow_time(unsigned seconds, rlim_t own)
{
	struct rusage used;
	struct rlimit r;

	if (getrlimit(RLIMIT_CPU, &r) != 0 || getrusage(RUSAGE_SELF, &used) != 0)
		return;
	r.rlim_cur = (rlim_t)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) + 1 + seconds;
	if (own < r.rlim_cur)
		r.rlim_cur = own;
	setrlimit(RLIMIT_CPU, &r);
}

static void settle(const struct child_limits *limits, pid_t parent)
{
	const rlim_t now = mapped();
	const int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(0);
	settle_signals();
	if (nowhere >= 0)
		dup2(nowhere, STDERR_FILENO);
	if (now > 0)
		limit(RLIMIT_AS, now + limits->memory);
	/* No image of it in a file, which 0 would do, nor through a pipe to a program. */
	limit(RLIMIT_CORE, 1);
}

static _Noreturn void serve(const struct child *c, child_answer answer, void *context)
{
	char *question = malloc(c->question_bytes + 1);
	struct rlimit own = {RLIM_INFINITY, RLIM_INFINITY};

	getrlimit(RLIMIT_CPU, &own);
	while (question && receive_all(c->socket, question, c->question_bytes)) {
		struct header h = {{0}, {0}, 0};
		struct child_reply reply = {{0}, NULL, 0};

		allow_time(c->limits.seconds, own.rlim_cur);
		answer(context, question, &reply, &h.err);
		memcpy(h.number, reply.number, sizeof h.number);
		h.n = h.err.code ? 0 : reply.n;
		if (!send_all(c->socket, &h, sizeof h) || !send_all(c->socket, reply.data, h.n))
			break;
		free(reply.data);
	}
	_exit(0);
}

/* ---- this process ---------------------------------------------------------------------- */

int child_start(struct child **out, const char *what, child_answer answer, void *context,
	size_t question_bytes, const struct child_limits *limits, struct err *err)
{
	struct child *c = calloc(1, sizeof *c);
	const pid_t parent = getpid();
	int pair[2];

	*out = NULL;
	if (!c || !(c->what = strdup(what))) {
		free(c);
		return err_nomem(err, what, sizeof *c);
	}
	c->question_bytes = question_bytes;
	c->limits = *limits;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) {
		err_set(err, ERR_DEVICE, "cannot make a pair of sockets: %s", strerror(errno));
		goto fail;
	}
	c->pid = fork();
	if (c->pid == 0) {
		close(pair[0]);
		c->socket = pair[1];
		settle(limits, parent);
		serve(c, answer, context);
	}
	close(pair[1]);
	c->socket = pair[0];
	if (c->pid < 0) {
		err_set(err, ERR_DEVICE, "cannot start a process: %s", strerror(errno));
		close(c->socket);
		goto fail;
	}
	*out = c;
	return 0;
fail:
	free(c->what);
	free(c);
	return err->code;
}

/* Leaves nothing of it but how it ended. */
static void bury(struct child *c)
{
	int status = 0;

	if (c->socket < 0)
		return;
	close(c->socket);
	c->socket = -1;
	kill(c->pid, SIGKILL); /* no end but its own, if it is at that already */
	while (waitpid(c->pid, &status, 0) < 0 && errno == EINTR)
		;
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGXCPU)
		snprintf(c->end, sizeof c->end, "it took more than %u s", c->limits.seconds);
	else if (WIFSIGNALED(status))
		snprintf(c->end, sizeof c->end, "it died by signal %d (%s)", WTERMSIG(status),
			strsignal(WTERMSIG(status)));
	else
		snprintf(c->end, sizeof c->end, "it ended with status %d", WEXITSTATUS(status));
}

static int is_dead(struct child *c, struct err *err)
{
	bury(c);
	return err_set(err, ERR_INPUT, "%s: %s", c->what, c->end);
}

/* One that does not keep to the form is as good as dead. */
static int kill_liar(struct child *c, struct err *err)
{
	bury(c);
	snprintf(c->end, sizeof c->end, "its memory was damaged");
	return is_dead(c, err);
}

int child_ask(struct child *c, const void *question, struct child_reply *reply, struct err *err)
{
	struct header h;

	*reply = (struct child_reply){{0}, NULL, 0};
	if (c->socket < 0 || !send_all(c->socket, question, c->question_bytes) ||
		!receive_all(c->socket, &h, sizeof h))
		return is_dead(c, err);
	if (h.n > c->limits.reply ||
		(h.err.code && (h.n || !memchr(h.err.text, '\0', sizeof h.err.text))))
		return kill_liar(c, err);
	if (h.err.code)
		return err_set(err, h.err.code, "%s", h.err.text);
	reply->data = malloc((size_t)h.n + 1);
	if (!reply->data) {
		kill_liar(c, err);
		return err_nomem(err, c->what, h.n);
	}
	if (!receive_all(c->socket, reply->data, (size_t)h.n)) {
		free(reply->data);
		reply->data = NULL;
		return is_dead(c, err);
	}
	memcpy(reply->number, h.number, sizeof reply->number);
	reply->n = (size_t)h.n;
	return 0;
}

void child_stop(struct child *c)
{
	if (!c)
		return;
	bury(c);
	free(c->what);
	free(c);
}
