/* SPDX-License-Identifier: MIT
 *
 * arch_keys.h - which keys of a config.json are read for which family, so that one that is not can
 * be named, not passed over. Tests: tests/test_arch.c.
 */
#ifndef SAENGINE_ARCH_KEYS_H
#define SAENGINE_ARCH_KEYS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/* Whether the family's published code reads the key; of a key that the table does not have, no. */
bool arch_key_is_read(const char *key, const char *model_type);

/* "a, b": the keys with a value other than null, false or empty that the family's code does not
 * read and that are not known to leave the arithmetic alone. "" = none. */
void arch_keys_unread(const json_t *config, const char *model_type, char *out, size_t size);

#endif
