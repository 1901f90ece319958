/* SPDX-License-Identifier: MIT
 *
 * units_folder.h - the folder of units as it lies on the disk: that nothing is in it but what a run
 * puts there, what becomes of units that are not to be believed, and how it goes.
 */
#ifndef SAENGINE_UNITS_FOLDER_H
#define SAENGINE_UNITS_FOLDER_H

#include "host/base/err.h"

#include <stdbool.h>

/* A folder, or nothing: neither a link to one nor a file. Errors: ERR_CONFIG. */
int units_folder_check_kind(const char *folder, struct err *err);

/* That its stages are folders and all else is files, links counting as neither: what is refused
 * here is never opened. Errors: ERR_CONFIG, with the path; ERR_OUTPUT, ERR_DEVICE where it cannot
 * be walked. */
int units_folder_check(const char *folder, struct err *err);

/* A free name "FOLDER.WORD-N". Errors: ERR_OUTPUT. */
int units_folder_free_name(const char *folder, const char *word, char out[4200], struct err *err);

/* Gives the file of a unit the name UNIT.bad-N, which no run takes for a unit's; one that is gone
 * by now has none. *kept is empty then. Errors: ERR_OUTPUT. */
int units_folder_set_aside(const char *unit, char kept[4300], struct err *err);

/* Removes everything but `lock` and `manifest`; then these and the folder. Apart, so that the lock
 * can be let go between them. What is gone already is no error. Errors: ERR_OUTPUT. */
int units_folder_empty(const char *folder, struct err *err);
int units_folder_remove_empty(const char *folder, struct err *err);

#endif
