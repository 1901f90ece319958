/* SPDX-License-Identifier: MIT
 *
 * results_walk.c - everything that is in a file, one after the other. Contract: results_door.h.
 *
 * The library's own walk (H5Ovisit) goes as deep as the groups do, on the stack. The links of a
 * group are taken in whatever order it has them, and sorted here: to give them by name the library
 * makes a table, and where a read fails meanwhile it frees entries of it that were never filled
 * (1.10.8).
 */
#include "host/store/results_door.h"

#include "host/base/vec.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct walk {
	const struct results_reader *r;
	int (*entry)(void *context, const char *path, enum door_kind kind, struct err *err);
	void *context;
	struct addresses { /* of the objects that were met, ascending */
		haddr_t *data;
		size_t n, cap;
	} met;
	char path[RESULTS_PATH_BYTES];
	size_t n_path; /* bytes of the group that is walked */
	int depth;
	struct err *err;
};

struct link {
	char *name; /* owned */
	bool is_hard;
	haddr_t address; /* of a hard one */
};

struct links {
	struct link *data; /* owned */
	size_t n, cap;
	const struct walk *walk;
};

static int walk_group(struct walk *w);

/* Whether an object is met for the first time, which is remembered. */
static bool is_new(struct walk *w, haddr_t address)
{
	size_t low = 0, high = w->met.n;

	while (low < high) {
		const size_t middle = low + (high - low) / 2;

		if (w->met.data[middle] < address)
			low = middle + 1;
		else
			high = middle;
	}
	if (low < w->met.n && w->met.data[low] == address)
		return false;
	if (vec_push(&w->met, address, w->err))
		return false;
	memmove(w->met.data + low + 1, w->met.data + low,
		(w->met.n - 1 - low) * sizeof *w->met.data);
	w->met.data[low] = address;
	return true;
}

static int take_object(struct walk *w, hid_t group, const char *name, haddr_t address)
{
	enum door_kind kind = DOOR_OTHER;
	H5O_info_t object;

	if (!is_new(w, address))
		return w->err->code;
	if (w->met.n > DOOR_OBJECTS)
		return err_set(w->err, ERR_INPUT, "%s: expected at most %d objects, found more",
			w->r->path, DOOR_OBJECTS);
	if (H5Oget_info_by_name2(group, name, &object, H5O_INFO_BASIC, H5P_DEFAULT) >= 0)
		kind = door_kind(object.type);
	TRY(w->entry(w->context, w->path, kind, w->err));
	if (kind == DOOR_GROUP)
		TRY(walk_group(w));
	return 0;
fail:
	return w->err->code;
}

static int take_link(struct walk *w, hid_t group, const struct link *link)
{
	const size_t n = w->n_path, room = sizeof w->path - n;
	const int written = snprintf(w->path + n, room, "/%s", link->name);

	if (!*link->name || strchr(link->name, '/') || written < 0 || (size_t)written >= room)
		err_set(w->err, ERR_INPUT,
			"%s: %.*s: expected names that make paths of at most %zu bytes, found "
			"another",
			w->r->path, (int)n, w->path, sizeof w->path - 1);
	else if (!link->is_hard)
		w->entry(w->context, w->path, DOOR_LINK, w->err);
	else
		take_object(w, group, link->name, link->address);
	w->path[n] = '\0';
	return w->err->code;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct link *)a)->name, ((const struct link *)b)->name);
}

/* Of every link of a group. */
static herr_t list_link(hid_t group, const char *name, const H5L_info_t *info, void *context)
{
	struct links *links = context;
	struct err *err = links->walk->err;
	struct link link = {.is_hard = info->type == H5L_TYPE_HARD};

	(void)group;
	if (link.is_hard)
		link.address = info->u.address;
	link.name = strdup(name);
	if (!link.name)
		err_nomem(err, name, strlen(name));
	else if (links->n == DOOR_OBJECTS)
		err_set(err, ERR_INPUT, "%s: %s/: expected at most %d links, found more",
			links->walk->r->path, links->walk->path, DOOR_OBJECTS);
	else if (vec_push(links, link, err) == 0)
		return 0;
	free(link.name);
	return -1;
}

static void take_links(struct walk *w, hid_t group)
{
	struct links links = {.walk = w};

	if (H5Literate(group, H5_INDEX_NAME, H5_ITER_NATIVE, NULL, list_link, &links) < 0 &&
		w->err->code == 0)
		err_set(w->err, ERR_INPUT, "%s: %s/: expected links that can be read", w->r->path,
			w->path);
	if (links.n > 0)
		qsort(links.data, links.n, sizeof *links.data, by_name);
	for (size_t i = 0; i < links.n && w->err->code == 0; i++)
		take_link(w, group, &links.data[i]);
	for (size_t i = 0; i < links.n; i++)
		free(links.data[i].name);
	free(links.data);
}

/* That of w->path; of the root it is empty. */
static int walk_group(struct walk *w)
{
	const size_t n_before = w->n_path;
	const hid_t group = H5Gopen2(w->r->file, *w->path ? w->path : "/", H5P_DEFAULT);

	w->n_path = strlen(w->path);
	w->depth++;
	if (group < 0)
		err_set(w->err, ERR_INPUT, "%s: %s/: expected a group that can be read", w->r->path,
			w->path);
	else if (w->depth > DOOR_DEPTH)
		err_set(w->err, ERR_INPUT, "%s: expected groups nested %d deep, found more",
			w->r->path, DOOR_DEPTH);
	else
		take_links(w, group);
	w->depth--;
	w->n_path = n_before;
	if (group >= 0)
		H5Gclose(group);
	return w->err->code;
}

int door_walk(const struct results_reader *r,
	int (*entry)(void *context, const char *path, enum door_kind kind, struct err *err),
	void *context, struct err *err)
{
	struct walk w = {.r = r, .entry = entry, .context = context, .err = err};
	H5O_info_t root;

	err_clear(err);
	if (H5Oget_info2(r->file, &root, H5O_INFO_BASIC) < 0)
		err_set(err, ERR_INPUT, "%s: expected a group that can be read", r->path);
	else if (is_new(&w, root.addr))
		walk_group(&w);
	free(w.met.data);
	return err->code;
}
