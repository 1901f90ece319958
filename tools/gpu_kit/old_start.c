/* SPDX-License-Identifier: MIT
 *
 * old_start.c - the start of programs built with a newer glibc, on 2.31. Since 2.34 libc runs the
 * program's constructors; before, the program told it to.
 */
typedef int main_function(int argc, char **argv, char **environment);
typedef void one_function(int argc, char **argv, char **environment);

extern one_function *__init_array_start[], *__init_array_end[];
void _init(void);

int start_before(main_function *, int argc, char **argv, one_function *init, void (*fini)(void),
	void (*loader_fini)(void), void *stack_end);
__asm__(".symver start_before, __libc_start_main@GLIBC_2.2.5");

/* A shared libc calls it with the program's own array unread; __preinit_array is the loader's. */
static void construct(int argc, char **argv, char **environment)
{
	_init();
	for (one_function **f = __init_array_start; f < __init_array_end; f++)
		(*f)(argc, argv, environment);
}

/* What the start file calls. Destructors are the loader's fini in either world. */
__attribute__((visibility("hidden"))) int __libc_start_main(main_function *program, int argc,
	char **argv, one_function *init, void (*fini)(void), void (*loader_fini)(void),
	void *stack_end)
{
	(void)init, (void)fini;
	return start_before(program, argc, argv, construct, 0, loader_fini, stack_end);
}
