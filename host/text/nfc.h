/* SPDX-License-Identifier: MIT
 *
 * nfc.h - Unicode normalization form C, with the tables of Unicode 9: those of the tokenizers
 * library, whose ids must be met.
 */
#ifndef SAENGINE_NFC_H
#define SAENGINE_NFC_H

#include "host/base/vec.h"

/* Appends the normal form of n bytes of well-formed UTF-8. Errors: ERR_INPUT for more than 1024
 * combining characters behind each other. */
int nfc_append(struct text *out, const char *s, size_t n, struct err *err);

#endif
