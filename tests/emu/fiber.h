/* SPDX-License-Identifier: MIT
 *
 * fiber.h - switching between the harness and the fibers that CUDA threads run on.
 */
#ifndef SAENGINE_EMU_FIBER_H
#define SAENGINE_EMU_FIBER_H

#include "tests/emu/emu.h"

namespace emu
{

enum { STACK_BYTES = 256 << 10 };

/* Gives t a stack on which `entry` begins at the first switch to it. `entry` never returns. */
void fiber_create(thread *t, void (*entry)());

/* From one to the other, wherever that was; NULL is the harness. */
void fiber_switch(thread *from, thread *to);

/* The first thing in `entry`. */
void fiber_entered();

} // namespace emu

#endif
