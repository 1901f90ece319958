#!/bin/sh
# SPDX-License-Identifier: MIT
#
# test_ptxas_table.sh - cmake/keep_ptxas.sh under a compiler that says what a test wants, and
# ptxas_table.sh on the reports that it kept. Needs no CUDA.
set -u
root=$(cd "$(dirname "$0")/.." && pwd)
scratch=$(mktemp -d) || exit 1
trap 'rm -rf "$scratch"' EXIT
failures=0

# Prints $SAYS on standard error, writes its object, exits with $STATUS.
cat >"$scratch/nvcc" <<'EOF'
#!/bin/sh
printf '%s' "$SAYS" >&2
echo "to stdout"
[ "$STATUS" -ne 0 ] || : >k.cu.o
exit "$STATUS"
EOF
chmod +x "$scratch/nvcc"

kernel() { # mangled name, architecture, bytes stored, bytes loaded
	cat <<EOF
ptxas info    : Compiling entry function '$1' for '$2'
ptxas info    : Function properties for $1
    8 bytes stack frame, $3 bytes spill stores, $4 bytes spill loads
ptxas info    : Used 40 registers, used 1 barriers, 8 bytes stack, 1536 bytes smem, 384 bytes cmem[0]
ptxas info    : Compile time = 24.084 ms
EOF
}
A=_Z12gated_kernelbPKfS0_Pfm              # gated_kernel(bool, float const*, ...)
B=_Z10dkv_kernelILi256ELb1EEviPf          # void dkv_kernel<256, true>(int, float*)
GMEM="ptxas info    : 0 bytes gmem"

compile() { # what the compiler says, its status
	rm -f "$scratch"/k.cu.o*
	(cd "$scratch" && SAYS=$1 STATUS=$2 "$root/cmake/keep_ptxas.sh" env ./nvcc -c k.cu -o k.cu.o \
		>out 2>err)
}
table() {
	"$root/tests/ptxas_table.sh" "$scratch/copies.c.o" "$scratch/k.cu.o" >"$scratch/out" 2>&1
}
expect() { # name, expected status, status, file, expected text
	if [ "$2" -eq "$3" ] && grep -qF -- "$5" "$4"; then
		echo "ok   $1"
	else
		echo "FAIL $1: expected status $2 and \"$5\", found $3 and:"
		cat "$4"
		failures=$((failures + 1))
	fi
}

compile "$GMEM
k.cu(3): warning #177-D: declared but never referenced
ptxas warning : too many things
$(kernel $A sm_90 0 0)
" 0
status=$?
expect "the launcher passes on what is no report" 0 $status "$scratch/err" "warning #177-D"
expect "warnings of ptxas are no report" 0 $status "$scratch/err" "ptxas warning : too many"
expect "standard output passes through" 0 $status "$scratch/out" "to stdout"
[ "$(wc -l <"$scratch/err")" -eq 2 ] && status=0 || status=1
expect "the report does not pass through" 0 $status "$scratch/err" "warning"
expect "the report is kept beside the object" 0 $? "$scratch/k.cu.o.ptxas" "Used 40 registers"
[ ! -e "$scratch/k.cu.o.stderr" ]
expect "nothing else is kept" 0 $? "$scratch/err" "warning"

compile "k.cu(3): error: no" 3
expect "the status of the compiler is the launcher's" 3 $? "$scratch/err" "error: no"

compile "$GMEM
$(kernel $A sm_90 32 32)
$(kernel $B sm_80 4 8)
" 0
table
status=$?
expect "a kernel may spill 64 bytes" 0 $status "$scratch/out" \
	"gated_kernel                                 sm_90          40      64      8    1536"
expect "names are short, and keep what a template is for" 0 $status "$scratch/out" \
	"dkv_kernel<256, true>                        sm_80          40      12      8    1536"
expect "kernels are counted" 0 $status "$scratch/out" "2 kernels"

compile "$(kernel $A sm_80 0 0)
$(kernel $A sm_90 36 36)
$(kernel $B sm_90 0 0)
" 0
table
expect "a kernel that spills 72 bytes on one architecture is found" 1 $? "$scratch/out" \
	"sm_90          40      72      8    1536   spills more than 64 bytes"

compile "$(kernel $A sm_90 0 0)
ptxas info    : Function properties for _Z6calledf
    96 bytes stack frame, 72 bytes spill stores, 72 bytes spill loads
" 0
table
expect "what a called function spills is its kernel's" 1 $? "$scratch/out" "144    104"

compile "$(kernel $A sm_90 0 0 | grep -v Used)
" 0
table
expect "a report without registers is an error" 1 $? "$scratch/out" \
	"expected registers and spills of gated_kernel, found a report without"

compile "$GMEM
" 0
table
expect "reports without kernels are an error" 1 $? "$scratch/out" "found none"

rm -f "$scratch/k.cu.o.ptxas"
table
expect "an object without a report is an error" 1 $? "$scratch/out" \
	"k.cu.o.ptxas beside its object, found none"

exit $((failures > 0))
