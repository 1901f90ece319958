/* SPDX-License-Identifier: MIT
 *
 * units.h - the folder of a run's units, NAME.units beside NAME.h5: what makes a run resumable.
 *
 * A unit is one batch of one stage (stage.h): the smallest piece of work that is kept. The batches
 * are cut by the config alone, with the sizes that it leaves to the device in it
 * (host/lab/batch_choice.h), so every run of a config on a machine has the same units.
 *
 *  1. A unit's file, STAGE/NUMBER.h5, is whole or absent: it is written as .part, flushed, then
 *     renamed. Killed at any moment, there are whole units and nothing else that counts.
 *  2. A unit that stands is not computed again. A run that goes on gives the result file that it
 *     would have given straight through, bit for bit: results are assembled from the files of
 *     units, in their order, always.
 *  3. The folder belongs to one set of inputs: `manifest` holds the settings that bear on the
 *     results and the SHA-256 of every file read. Another run is refused and told what differs.
 *  4. One launch at a time: rank 0 holds a lock on `lock`, which the kernel lets go when the
 * process ends, however it ends.
 *  5. Nothing is removed but what a finished run no longer needs: --fresh renames the folder.
 *  6. A unit is believed by its seal (seal.h), not by its name: run, stage, number and a checksum
 * of its bytes, which are verified before the unit is taken, by one rank for all. One that is
 * another's or spoilt becomes NUMBER.h5.bad-N and is computed again, once. What is no file, or no
 * folder where a stage should be, links among them, is refused and never opened.
 *  7. Removal begins with another name, NAME.units.done-N, which no run takes for units: a run that
 *     is killed meanwhile leaves nothing that could be taken for its own by another.
 *
 *   absent --units_open--> open --units_finish--> absent (or kept: store.keep_units)
 *                            \--kill, error, units_close--> standing --units_open--> open
 */
#ifndef SAENGINE_UNITS_H
#define SAENGINE_UNITS_H

#include "host/base/sha256.h"
#include "host/work/ranks.h"
#include "host/work/writer.h"

#include <stdio.h>

struct units {
	char folder[4096];
	struct ranks *ranks;   /* borrowed */
	struct writer *writer; /* owned */
	int lock;              /* descriptor; -1 on other ranks than 0 */
	char run[SHA256_HEX];  /* of the manifest: what the seals of its units name */
	bool resumed;          /* the folder was there */
	size_t n_stages;       /* begun so far */
};

/* Rank 0: makes or checks the folder, clears what a killed run left half-done, and lets the other
 * ranks begin. The others wait for that. `inputs`: inputs_text; only rank 0's is read.
 * `fresh`: a folder that is there is renamed to NAME.units.old-N first.
 * Errors: ERR_OUTPUT (also when another run holds the folder); ERR_CONFIG when it is of other
 * inputs or no folder of units; ERR_STOPPED. */
int units_open(struct units **out, const char *result_path, struct ranks *ranks, bool fresh,
	const char *inputs, struct err *err);

/* Who holds a folder of units, as its lock says; false when nobody does. A process that holds it
 * itself would lose it by this: for others, and before units_open. */
bool units_owner(const char *folder, char *out, size_t size);

/* What units_open will say, asked before it and of no rank: whether a folder stands there, whether
 * another run holds it, and, unless begun `fresh`, whether its units are of these inputs. Nothing
 * is written. Errors: ERR_OUTPUT, ERR_CONFIG. */
bool units_stand(const char *result_path);
int units_check(const char *result_path, bool fresh, const char *inputs, struct err *err);

/* Whatever was committed stays. Accepts NULL. */
void units_close(struct units *u);

/* The result file is complete: removes the folder unless it is kept. Closes. */
int units_finish(struct units *u, bool keep, struct err *err);

/* Closes, and removes a folder in which no unit stands: for runs that ended by their config or
 * inputs. Returns whether one stands, on rank 0; true on the others. */
bool units_leave(struct units *u);

/* The folder of the next stage, made if it is not there: "NAME.units/03-direction-harmful". Stages
 * come in the same order in every run of a config. */
int units_stage(struct units *u, const char *title, char *out, size_t size, struct err *err);

/* Prints whose folder it is and how many units of each stage stand. Errors: ERR_INPUT, ERR_CONFIG;
 * ERR_OUTPUT, ERR_DEVICE where the folder cannot be walked. */
int units_inspect(const char *folder, FILE *to, struct err *err);

/* Reads every unit and holds it against its seal; prints what was checked. Errors: those of
 * units_inspect; ERR_INPUT, with every unit that is not to be believed. */
int units_verify(const char *folder, FILE *to, struct err *err);

#endif
