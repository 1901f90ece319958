#!/bin/sh
# SPDX-License-Identifier: MIT
#
# ptxas_table.sh - what ptxas says of every kernel, as a table; fails when one spills more than
# LIMIT bytes of registers, stores and loads together.
#
#   ptxas_table.sh OBJECT...     reads OBJECT.ptxas of the CUDA objects (.cu.o) among them
#
# cmake/keep_ptxas.sh keeps these reports as the objects are compiled. A kernel that has to spill
# more is named here, with its own limit and the reason; none has to. Tests: test_ptxas_table.sh.

set -u
LIMIT=64
reports=""
for object; do
	case $object in *.cu.o) ;; *) continue ;; esac
	[ -f "$object.ptxas" ] || { echo "expected $object.ptxas beside its object, found none"; exit 1; }
	reports="$reports $object.ptxas"
done
[ -n "$reports" ] || { echo "expected CUDA objects (.cu.o), found none"; exit 1; }

# shellcheck disable=SC2086 # paths of a build folder
cat $reports | c++filt | awk -v limit="$LIMIT" '
	# "void name<int, (bool)1>(float*, int)" to "name<int, (bool)1>"
	function short(name,   i, depth, c) {
		sub(/^void /, "", name)
		for (i = 1; i <= length(name); i++) {
			c = substr(name, i, 1)
			depth += (c == "<") - (c == ">")
			if (c == "(" && depth == 0 && i > 1)
				return substr(name, 1, i - 1)
		}
		return name
	}
	function number_before(text) { # as in "8 bytes smem"
		return match($0, "[0-9]+ " text) ? substr($0, RSTART, RLENGTH) + 0 : 0
	}
	function finish() {
		if (name == "")
			return
		if (registers == "" || spill == "") {
			printf "expected registers and spills of %s, found a report without\n", name
			bad++
		}
		printf "%-44s %-7s %9s %7d %6d %7d%s\n", name, architecture, registers, spill, stack,
			shared, (spill > limit ? "   spills more than " limit " bytes" : "")
		bad += (spill > limit)
		n++
		name = registers = spill = stack = shared = ""
	}
	BEGIN {
		printf "%-44s %-7s %9s %7s %6s %7s\n", "kernel", "for", "registers", "spilled", "stack",
			"shared"
	}
	/Compiling entry function/ {
		finish()
		split($0, quoted, "\047")
		name = short(quoted[2])
		architecture = quoted[4]
	}
	/bytes stack frame/ { # of the kernel, or of a function that it calls
		spill += number_before("bytes spill stores") + number_before("bytes spill loads")
		stack += number_before("bytes stack frame")
	}
	/Used [0-9]+ registers/ {
		match($0, /[0-9]+ registers/)
		registers = substr($0, RSTART, RLENGTH) + 0
		shared = number_before("bytes smem")
	}
	END {
		finish()
		printf "%d kernels\n", n
		if (n == 0)
			print "expected kernels in the reports, found none"
		exit bad > 0 || n == 0
	}'
