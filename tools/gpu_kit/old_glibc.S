/* SPDX-License-Identifier: MIT
 *
 * old_glibc.S - lets programs built with a newer glibc start on 2.31. x86-64.
 *
 * glibc 2.32 to 2.34 moved the functions of libpthread, libdl and librt into libc under new versions
 * of their symbols, with the same meaning. Each of them is defined here, for this program alone, as a
 * jump to the old version. Those that need more than a jump are in old_glibc.c. That no other new
 * symbol is left is checked when the kit is made (make.sh).
 */

.macro old name version=GLIBC_2.2.5
	.symver before_\name, \name@\version
	.globl \name
	.hidden \name
	.type \name, @function
\name:
	jmp *before_\name@GOTPCREL(%rip)
	.size \name, .-\name
.endm

	.text
	old pthread_sigmask
	old pthread_condattr_setclock, GLIBC_2.3.3
	old pthread_condattr_setpshared
	old pthread_create
	old pthread_detach
	old pthread_getspecific
	old pthread_join
	old pthread_key_create
	old pthread_key_delete
	old pthread_kill
	old pthread_mutex_trylock
	old pthread_mutexattr_destroy
	old pthread_mutexattr_init
	old pthread_mutexattr_setpshared
	old pthread_mutexattr_settype
	old pthread_once
	old pthread_rwlock_destroy
	old pthread_rwlock_init
	old pthread_rwlock_rdlock
	old pthread_rwlock_timedrdlock
	old pthread_rwlock_timedwrlock
	old pthread_rwlock_tryrdlock
	old pthread_rwlock_trywrlock
	old pthread_rwlock_unlock
	old pthread_rwlock_wrlock
	old pthread_rwlockattr_destroy
	old pthread_rwlockattr_init
	old pthread_rwlockattr_setpshared
	old pthread_setspecific
	old pthread_spin_destroy
	old pthread_spin_init
	old pthread_spin_lock
	old pthread_spin_trylock
	old pthread_spin_unlock
	old pthread_attr_getstacksize
	old pthread_attr_setstacksize
	old pthread_attr_setaffinity_np, GLIBC_2.3.4
	old pthread_setaffinity_np, GLIBC_2.3.4
	old pthread_getaffinity_np, GLIBC_2.3.4
	old __pthread_key_create
	old sem_destroy
	old sem_init
	old sem_post
	old sem_timedwait
	old sem_trywait
	old sem_wait
	old shm_open
	old shm_unlink
	old dladdr
	old dlclose
	old dlerror
	old dlmopen, GLIBC_2.3.4
	old dlopen
	old dlsym
	old dlvsym

	.section .note.GNU-stack,"",@progbits
