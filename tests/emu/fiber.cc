/* SPDX-License-Identifier: MIT
 *
 * fiber.cc - Contract: fiber.h. On x86-64 a switch is a dozen instructions; elsewhere the C
 * library's contexts do the same, slower. Stacks end at a guard page and begin at staggered
 * addresses, because equal offsets of a thousand stacks would share a few cache sets.
 */
#include "tests/emu/fiber.h"

#include <cstdio>
#include <cstdlib>

#include <sys/mman.h>
#ifndef __x86_64__
#include <ucontext.h>
#endif
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/common_interface_defs.h>
#endif

enum { PAGE = 4096, STAGGER = 256 };

#ifdef __x86_64__
/* Saves the callee-saved registers on the old stack, its pointer in *from, and continues on the
 * stack `to`, which was left the same way. */
extern "C" void emu_switch(void **from, void *to);
asm(R"(
	.text
	.globl emu_switch
	.type emu_switch, @function
emu_switch:
	pushq %rbx
	pushq %rbp
	pushq %r12
	pushq %r13
	pushq %r14
	pushq %r15
	movq %rsp, (%rdi)
	movq %rsi, %rsp
	popq %r15
	popq %r14
	popq %r13
	popq %r12
	popq %rbp
	popq %rbx
	ret
	.size emu_switch, .-emu_switch
	.section .note.GNU-stack,"",@progbits
	.text
)");
#endif

namespace emu
{

static void *harness_pointer;
#ifdef __SANITIZE_ADDRESS__
static void *harness_sanitizer;
static const void *harness_stack;
static size_t harness_stack_bytes;
static bool from_harness; /* the switch that is under way */
#endif

#ifdef __x86_64__

static void begin_stack(thread *t, char *top, void (*entry)())
{
	void **slot = (void **)top;

	*--slot = nullptr; /* where entry would return to; leaves the stack as after a call */
	*--slot = (void *)entry;
	for (int i = 0; i < 6; i++)
		*--slot = nullptr;
	t->stack_pointer = slot;
}

static void switch_stacks(void **from, void *to)
{
	emu_switch(from, to);
}

#else

static void begin_stack(thread *t, char *top, void (*entry)())
{
	ucontext_t *context = new ucontext_t;

	getcontext(context);
	context->uc_stack.ss_sp = t->stack;
	context->uc_stack.ss_size = (size_t)(top - t->stack);
	context->uc_link = nullptr;
	makecontext(context, entry, 0);
	t->stack_pointer = context;
}

static void switch_stacks(void **from, void *to)
{
	if (!*from)
		*from = new ucontext_t;
	swapcontext((ucontext_t *)*from, (ucontext_t *)to);
}

#endif

void fiber_create(thread *t, void (*entry)())
{
	char *memory = (char *)mmap(nullptr, PAGE + STACK_BYTES, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (memory == MAP_FAILED || mprotect(memory, PAGE, PROT_NONE) != 0) {
		perror("emu: the stack of a fiber");
		abort();
	}
	t->stack = memory + PAGE;
	begin_stack(t, t->stack + STACK_BYTES - 64 - t->id % 16 * STAGGER, entry);
}

#ifdef __SANITIZE_ADDRESS__
static void arrive(void *sanitizer)
{
	const void *stack;
	size_t bytes;

	__sanitizer_finish_switch_fiber(sanitizer, &stack, &bytes);
	if (from_harness) {
		harness_stack = stack;
		harness_stack_bytes = bytes;
	}
}
#endif

void fiber_switch(thread *from, thread *to)
{
#ifdef __SANITIZE_ADDRESS__
	void **sanitizer = from ? &from->sanitizer : &harness_sanitizer;

	from_harness = !from;
	__sanitizer_start_switch_fiber(sanitizer, to ? to->stack : harness_stack,
		to ? (size_t)STACK_BYTES : harness_stack_bytes);
#endif
	switch_stacks(from ? &from->stack_pointer : &harness_pointer,
		to ? to->stack_pointer : harness_pointer);
#ifdef __SANITIZE_ADDRESS__
	arrive(*sanitizer);
#endif
}

void fiber_entered()
{
#ifdef __SANITIZE_ADDRESS__
	arrive(nullptr);
#endif
}

} // namespace emu
