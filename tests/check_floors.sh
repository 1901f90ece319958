#!/bin/sh
# SPDX-License-Identifier: MIT
#
# check_floors.sh - whether the house stands: no #include goes up the floors, and no folder has a
# circle between its modules (a module is the files of one stem). Tests: test_check_floors.sh.
#
#   check_floors.sh [ROOT]
#
# Prints an offence a line and exits with 1 when there are any. Who may include whom, by folder: each
# those below it, named or above the name in this list; of kernels' own folders nothing is said.
set -u
root=${1:-$(dirname "$0")/..}
cd "$root" || exit 2

find host kernels experiments -name '*.[ch]' -o -name '*.cu' -o -name '*.cuh' | sort |
	xargs awk '
BEGIN {
	floors = "host/base:0 kernels:1 host/formats:1 host/store:1 host/text:2 host/model:3"
	floors = floors " host/method:4 host/config:5 host/work:6 host/lab:7 host/measure:8 experiments:9"
}
' 
