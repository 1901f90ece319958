/* SPDX-License-Identifier: MIT
 *
 * control.h - what tests ask of the harness (emu.h): the order in which threads and blocks run,
 * planted mistakes, and device memory that is too small or fails.
 */
#ifndef SAENGINE_EMU_CONTROL_H
#define SAENGINE_EMU_CONTROL_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum emu_order { EMU_FORWARD, EMU_REVERSE, EMU_RANDOM };

/* For all launches from now on. `seed` matters for EMU_RANDOM. */
void emu_set_order(enum emu_order order, uint64_t seed);

/* Runs only one block of every grid: problems too large to run whole. -1: all. */
void emu_set_only_block(int64_t block);

/* What cudaMemGetInfo and cudaMalloc believe is free now. */
void emu_set_memory(size_t bytes);

/* What cudaDriverGetVersion says, 13000 at first, as the runtime does; 0: there is no driver. */
void emu_set_driver(int version);

/* Memory of the test's own that kernels may use as if it were the device's: an address space of
 * which only what is touched exists. */
void emu_lend(const void *memory, size_t bytes);

/* What has been asked of the runtime so far; waits are cudaStreamSynchronize and
 * cudaEventSynchronize. */
struct emu_calls {
	uint64_t allocations, copies_to_device, bytes_to_device, copies_to_host, waits;
	uint64_t mapped; /* allocations of host memory that kernels reach too */
	uint64_t recordings, replays;
};
struct emu_calls emu_calls_made(void);

/* The n-th launch from now on is refused with cudaErrorInvalidConfiguration; 0: none is. */
void emu_set_refused_launch(uint64_t n);

/* What the library of matrix products does from now on. */
enum emu_products {
	EMU_PRODUCTS_WORK,
	EMU_PRODUCTS_FIRST_REFUSED,  /* the first of each list of algorithms, when it is run */
	EMU_PRODUCTS_BIAS_REFUSED,   /* any with a bias, when it is run */
	EMU_PRODUCTS_NO_BIAS,        /* no algorithm is found that adds a bias */
	EMU_PRODUCTS_MASK_REFUSED,   /* any that writes a mask, when it is run */
	EMU_PRODUCTS_NO_MASK,        /* no algorithm is found that writes a mask */
	EMU_PRODUCTS_MASK_OF_BYTES,  /* masks have the highest bit of a byte first */
	EMU_PRODUCTS_MASK_OF_ROWS,   /* masks have rows in each other's places */
	EMU_PRODUCTS_MASK_UNTOUCHED, /* masks are not written */
	EMU_PRODUCTS_ALL_REFUSED,    /* any, when it is run */
	EMU_PRODUCTS_NONE            /* no algorithm is found */
};
void emu_set_products(enum emu_products products);

/* What has been asked of it so far: lists of algorithms; products that ran, those of them that
 * added a bias, those of these that wrote a mask, and those that were refused. */
struct emu_product_calls {
	uint64_t asked, run, with_bias, with_mask, refused;
};
struct emu_product_calls emu_product_calls_made(void);

/* The n-th broadcast from now on fails with ncclSystemError; 0: none does. */
void emu_set_refused_broadcast(uint64_t n);

/* Places in kernels where threads wait for each other, in the order they were first met. A place
 * made blind does not wait any more: each must then make a test fail. */
size_t emu_barriers(void);
const char *emu_barrier_name(size_t i); /* "attention.cu:120" */
/* Whether a thread has come there since emu_forget_met. */
int emu_barrier_met(size_t i);
void emu_forget_met(void);
void emu_set_blind_barrier(ptrdiff_t i); /* -1: none */

struct emu_counts {
	uint64_t launches, blocks, barriers, warp_operations;
};
struct emu_counts emu_count(void);

/* Reports of the race detector; always 0 in builds without it. */
size_t emu_races(void);

/* Prints where the kernel is and what is wrong, and ends the process with EMU_FAILED. */
enum { EMU_FAILED = 70 };
void emu_fail(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

#ifdef __cplusplus
}
#endif

#endif
