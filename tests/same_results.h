/* SPDX-License-Identifier: MIT
 *
 * same_results.h - two result files hold the same bits.
 */
#ifndef SAENGINE_SAME_RESULTS_H
#define SAENGINE_SAME_RESULTS_H

/* Compares the datasets under `group` of two result files: names, shapes, types and every bit of
 * every value; attributes and /provenance are not compared. Reports each difference as a failed
 * check and returns how many datasets were compared. */
int same_results(const char *path_a, const char *path_b, const char *group);

#endif
