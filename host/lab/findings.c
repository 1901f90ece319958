/* SPDX-License-Identifier: MIT
 *
 * findings.c - Contract: findings.h. Reading: findings_read.c; writing: findings_write.c.
 */
#include "host/lab/findings.h"

#include <stdlib.h>

int findings_new_local(struct findings *f, enum method method, struct err *err)
{
	struct method_sets *sets = &f->sets[method];

	sets->local = calloc(f->n_prompts + 1, sizeof *sets->local);
	sets->attributed = calloc(f->n_prompts + 1, sizeof *sets->attributed);
	if (sets->local && sets->attributed)
		return 0;
	return err_nomem(err, "local sets", f->n_prompts * sizeof *sets->local);
}

static void free_sets(struct method_sets *sets, size_t n_prompts)
{
	free(sets->global.data);
	for (size_t p = 0; sets->local && p < n_prompts; p++)
		free(sets->local[p].data);
	free(sets->local);
	free(sets->attributed);
}

void findings_free(struct findings *f)
{
	for (int m = 0; m < N_METHODS; m++)
		free_sets(&f->sets[m], f->n_prompts);
	free(f->roles.refusal.data);
	free(f->roles.harm.data);
	free(f->direction.v);
	*f = (struct findings){0};
}
