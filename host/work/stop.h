/* SPDX-License-Identifier: MIT
 *
 * stop.h - being asked to stop. The state is the process's own, because signals are.
 *
 * SIGTERM, SIGINT, SIGHUP, SIGXCPU, SIGUSR1 and SIGUSR2 ask, but for those that the process was
 * started to ignore; so does another part of the program (a rank that sees another one die). The
 * unit in work is finished if that takes no longer than STOP_GRACE seconds; then the process leaves
 * at once, which loses that unit and nothing else: files of units are whole or absent. A second
 * SIGINT leaves at once too. The exit status is ERR_STOPPED.
 */
#ifndef SAENGINE_STOP_H
#define SAENGINE_STOP_H

#include "host/base/err.h"

#include <stdbool.h>

enum { STOP_GRACE = 20 };

/* From here on signals ask instead of killing. Before the first thread: later ones inherit what it
 * sets. Errors: ERR_INTERNAL when no thread can be started. */
int stop_on_signals(struct err *err);

/* Asks, once; `reason` (static text) is what the message names: "SIGTERM". */
void stop_request(const char *reason);

bool stop_requested(void);

/* Sets ERR_STOPPED with the reason when it was asked for. */
int stop_check(struct err *err);

#endif
