/* SPDX-License-Identifier: MIT
 *
 * log.h - what the program says while it works: one line per message, warnings marked, on the
 * stream that main chose. Progress lives in host/work/progress.h.
 */
#ifndef SAENGINE_LOG_H
#define SAENGINE_LOG_H

#include "host/base/err.h"

/* For the very start of a program: descriptors 0 to 2 that nobody has opened lead nowhere from now
 * on. Else the first file that is opened would get one, and messages would be written into it. */
void log_open_streams(void);

/* Whether all that was written to standard output has got where it leads. Errors: ERR_OUTPUT. */
int log_check_output(struct err *err);

/* Before every line from here on: "rank 3: ". Static text, or as good as. */
void log_set_prefix(const char *prefix);

/* One line to standard output. */
void log_info(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* One line to standard error, "warning: " before it. */
void log_warn(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* An error's lines to standard error; of what they quote nothing moves a terminal. */
void log_error(const char *text);

#endif
