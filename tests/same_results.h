/* SPDX-License-Identifier: MIT
 *
 * same_results.h - two result files hold the same bits.
 */
#ifndef SAENGINE_SAME_RESULTS_H
#define SAENGINE_SAME_RESULTS_H

/* result_differences of the datasets under `group` of two files, each difference a failed check.
 * Returns how many datasets were compared. */
int same_results(const char *path_a, const char *path_b, const char *group);

#endif
