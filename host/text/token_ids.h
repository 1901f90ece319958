/* SPDX-License-Identifier: MIT
 *
 * token_ids.h - what text becomes: a list of token ids, which grows (host/base/vec.h).
 */
#ifndef SAENGINE_TOKEN_IDS_H
#define SAENGINE_TOKEN_IDS_H

#include <stddef.h>
#include <stdint.h>

struct token_ids {
	int32_t *data; /* owned: free it */
	size_t n, cap;
};

#endif
