/* SPDX-License-Identifier: MIT
 *
 * result_differences.h - where two result files do not hold the same bits.
 */
#ifndef SAENGINE_RESULT_DIFFERENCES_H
#define SAENGINE_RESULT_DIFFERENCES_H

#include <hdf5.h>

/* Compares the datasets below groups a and b of two result files (or below the files): names,
 * shapes, types and every bit of every value; attributes and /provenance are not compared. Calls
 * `differs` with a sentence for each difference and returns how many datasets were compared. */
int result_differences(hid_t a, hid_t b, void (*differs)(const char *what));

#endif
