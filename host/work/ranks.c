/* SPDX-License-Identifier: MIT
 *
 * ranks.c - who is who, and the queue. Contract: ranks.h. Tests: tests/test_ranks.c.
 */
#include "host/work/ranks.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <omp.h>

/* ---- who is who ------------------------------------------------------------------------ */

static bool number_in(const char *name, size_t *out)
{
	const char *text = getenv(name);
	char *end;

	if (!text || !*text)
		return false;
	*out = strtoul(text, &end, 10);
	return *end == '\0';
}

/* How many ranks this machine has, by a number or, as Slurm spells it, the numbers of all machines:
 * "4(x2),3" is 4 on each of two and 3 on the third. SLURM_NODEID says which is this one. */
static bool number_here(const char *name, size_t *out)
{
	const char *text = getenv(name);
	size_t node = 0;

	if (number_in(name, out))
		return true;
	if (!text || !number_in("SLURM_NODEID", &node))
		return false;
	while (*text) {
		char *end;
		size_t n = strtoul(text, &end, 10), times = 1;

		if (end == text)
			return false;
		if (strncmp(end, "(x", 2) == 0)
			times = strtoul(end + 2, &end, 10);
		if (node < times) {
			*out = n;
			return true;
		}
		node -= times;
		text = end + strspn(end, "),");
	}
	return false;
}

int ranks_from_environment(struct ranks *ranks, struct err *err)
{
	static const struct {
		const char *inside, *rank, *world, *local, *n_local;
	} launchers[] = {
		{"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE",
			"OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE"},
		{"WORLD_SIZE", "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"},
		{"SLURM_STEP_NUM_TASKS", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID",
			"SLURM_STEP_TASKS_PER_NODE"},
		{"PMI_SIZE", "PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS"},
	};

	*ranks = (struct ranks){.world = 1, .n_local = 1};
	for (size_t i = 0; i < sizeof launchers / sizeof *launchers; i++) {
		if (!getenv(launchers[i].inside))
			continue;
		if (!number_in(launchers[i].rank, &ranks->rank) ||
			!number_in(launchers[i].world, &ranks->world) ||
			ranks->rank >= ranks->world)
			return err_set(err, ERR_CONFIG,
				"launcher: expected %s below %s, found \"%s\" and \"%s\"",
				launchers[i].rank, launchers[i].world,
				getenv(launchers[i].rank) ? getenv(launchers[i].rank) : "",
				getenv(launchers[i].world));
		snprintf(ranks->found, sizeof ranks->found, "%s=%zu, %s=%zu", launchers[i].rank,
			ranks->rank, launchers[i].world, ranks->world);
		if (!number_in(launchers[i].local, &ranks->local))
			ranks->local = ranks->rank;
		if (!number_here(launchers[i].n_local, &ranks->n_local) || ranks->n_local == 0)
			ranks->n_local = ranks->world;
		return 0;
	}
	return 0;
}

void ranks_device(const struct ranks *ranks, const char *device, char *out, size_t size)
{
	const char *visible = getenv("CUDA_VISIBLE_DEVICES");

	/* A launcher that shows each rank one GPU of its own numbers it 0. */
	if (strcmp(device, "cuda") != 0 || ranks->world == 1 ||
		(visible && *visible && !strchr(visible, ',')))
		snprintf(out, size, "%s", device);
	else
		snprintf(out, size, "cuda:%zu", ranks->local);
}

int ranks_threads(const struct ranks *ranks, int threads)
{
	const int mine = omp_get_num_procs(), machine = (int)sysconf(_SC_NPROCESSORS_ONLN);

	if (threads > 0 || ranks->n_local == 1 || mine < machine)
		return threads;
	return machine / (int)ranks->n_local > 0 ? machine / (int)ranks->n_local : 1;
}

/* ---- the queue ------------------------------------------------------------------------- */

int ranks_claim(const struct ranks *ranks, const char *path, bool *mine, struct err *err)
{
	char claim[4200];
	int fd;

	*mine = true;
	if (ranks->world == 1)
		return 0;
	snprintf(claim, sizeof claim, "%s.claim", path);
	fd = open(claim, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
	*mine = fd >= 0;
	if (fd >= 0) {
		(void)dprintf(fd, "rank %zu\n", ranks->rank); /* for people */
		close(fd);
	} else if (errno != EEXIST) {
		return err_set(err, ERR_OUTPUT, "%s: cannot claim the unit: %s", claim,
			strerror(errno));
	}
	return 0;
}
