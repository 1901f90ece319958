#!/bin/sh
# SPDX-License-Identifier: MIT
#
# keep_ptxas.sh - a compiler launcher: runs the command that it is given, and keeps what ptxas -v
# says of each kernel beside the object, in OBJECT.ptxas. Everything else passes through, warnings of
# ptxas included. Read by tests/ptxas_table.sh.
#
#   keep_ptxas.sh [OTHER_LAUNCHER] nvcc ... -Xptxas=-v ... -o OBJECT

set -u
object="" previous=""
for argument; do
	[ "$previous" != -o ] || object=$argument
	previous=$argument
done
[ -n "$object" ] || exec "$@" # nothing is compiled
rm -f "$object.ptxas"
"$@" 2>"$object.stderr"
status=$?
# The info of a kernel is a line of its own, and one that only begins with blanks.
awk -v report="$object.ptxas" '
	/^ptxas info/ || /^ +[0-9]+ bytes stack frame/ { print >report; next }
	{ print >"/dev/stderr" }' "$object.stderr"
rm -f "$object.stderr"
exit "$status"
