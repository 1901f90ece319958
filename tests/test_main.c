/* SPDX-License-Identifier: MIT
 *
 * test_main.c - the main of every test binary. Contract: test.h.
 */
#include "tests/test.h"

int main(int argc, char **argv)
{
	return test_run_all(argc, argv, NULL);
}
