/* SPDX-License-Identifier: MIT
 *
 * ranks_join.c - how ranks agree on the id of their launch. Contract: ranks_parts.h. Tests:
 * tests/test_ranks.c.
 */
#include "host/work/ranks_parts.h"

#include "host/base/file.h"
#include "host/base/log.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <sys/random.h>

int meeting_draw(char out[NUMBER], struct err *err)
{
	unsigned char bytes[NUMBER / 2];

	if (getrandom(bytes, sizeof bytes, 0) != sizeof bytes)
		return err_set(err, ERR_INTERNAL, "no random numbers: %s", strerror(errno));
	for (size_t i = 0; i < sizeof bytes; i++)
		snprintf(out + 2 * i, 3, "%02x", bytes[i]);
	return 0;
}

void meeting_join(struct meeting *m, const char *id)
{
	snprintf(m->folder, sizeof m->folder, "%s/%s", m->top, id);
	atomic_store(&m->joined, true);
}

/* Said again and again, in case that an earlier launch clears up. */
void meeting_greet(struct meeting *m, bool again)
{
	char name[64], answer[2 * NUMBER + 1];
	struct err ignored;

	meeting_name("hello", m->rank, name);
	if (again && folder_make(m->top, &ignored) == 0)
		meeting_write(m, m->top, name, m->number);
	meeting_name("welcome", m->rank, name);
	if (meeting_read(m->top, name, answer, sizeof answer) &&
		strncmp(answer, m->number, NUMBER - 1) == 0 && answer[NUMBER - 1] == ' ')
		meeting_join(m, answer + NUMBER);
}

/* Rank 0: answers the hello of a rank that has not joined. */
static void welcome(const struct meeting *m, struct guest *guest, size_t rank)
{
	char name[64], number[NUMBER], answer[2 * NUMBER + 1];

	meeting_name("hello", rank, name);
	if (!meeting_read(m->top, name, number, sizeof number) ||
		strcmp(number, guest->answered) == 0)
		return;
	snprintf(answer, sizeof answer, "%s %s", number, m->number);
	meeting_name("welcome", rank, name);
	if (meeting_write(m, m->top, name, answer))
		memcpy(guest->answered, number, sizeof number);
}

void meeting_receive(struct meeting *m, struct guest *guests, size_t *n_joined)
{
	size_t n = 1;

	for (size_t r = 1; r < m->world; r++) {
		if (!guests[r].watch.seen) {
			welcome(m, &guests[r], r);
			watch_look(m, &guests[r].watch, r);
		}
		n += guests[r].watch.seen;
	}
	if (n != *n_joined)
		log_info("ranks: %zu of %zu have joined", n, m->world);
	*n_joined = n;
	atomic_store(&m->all_joined, n == m->world);
}

bool meeting_find_other(const struct meeting *m, char path[PATH])
{
	struct folder_names names;
	struct err ignored;
	bool found = folder_list(&names, m->top, ERR_OUTPUT, &ignored) != 0;

	path[0] = '\0';
	for (size_t i = 0; !found && i < names.n; i++) {
		snprintf(path, PATH, "%s/%.200s", m->top, names.data[i]);
		found = strcmp(names.data[i], m->number) != 0 && folder_exists(path);
	}
	folder_names_free(&names);
	return found;
}
