/* SPDX-License-Identifier: MIT
 *
 * race.h - the race detector's side of the harness. In builds without it (EMU_RACE undefined)
 * these do nothing.
 */
#ifndef SAENGINE_EMU_RACE_H
#define SAENGINE_EMU_RACE_H

#include <cstddef>
#include <cstdint>

namespace emu
{

/* How far things are: what orders two accesses. */
struct progress {
	uint32_t launch; /* counts from 1 */
	uint32_t block;  /* in its grid */
	uint32_t epoch;  /* block barriers passed, from 1 */
};
extern progress now;

/* How many times all live lanes of a warp have met in a warp operation, in this block. */
extern uint32_t warp_meetings[32];

#ifdef EMU_RACE
void race_add(const void *memory, size_t bytes, bool shared, const char *name);
void race_remove(const void *memory);
/* The host, or a copy, wrote there. */
void race_written(const void *memory, size_t bytes);
#else
static inline void race_add(const void *, size_t, bool, const char *)
{
}
static inline void race_remove(const void *)
{
}
static inline void race_written(const void *, size_t)
{
}
#endif

} // namespace emu

#endif
