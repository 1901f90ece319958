/* SPDX-License-Identifier: MIT
 *
 * arithmetic.h - what the bits of the CPU backend hang on beside its own build: the libraries.
 */
#ifndef SAENGINE_CPU_ARITHMETIC_H
#define SAENGINE_CPU_ARITHMETIC_H

#include "kernels/ops.h"

/* Holds oneDNN to the instructions of a level: where it would take wider ones, its products are
 * other bits than those of a machine that has no wider ones. It can be told only before its first
 * product: what it goes by, and what else bits hang on, is written out (device_arithmetic). */
void cpu_hold_to_level(const char *level, char arithmetic[DEVICE_ARITHMETIC]);

#endif
