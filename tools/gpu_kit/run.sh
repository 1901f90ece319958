#!/bin/sh
# SPDX-License-Identifier: MIT
#
# run.sh - everything that needs a GPU, on a machine that has one and perhaps nothing else:
#
#   ./run.sh [--only STEP]... [OUT [SECONDS]]     OUT: ./gpu-results; SECONDS: 600
#   ./run.sh --list                               the steps
#
# Steps come in the order of their value, each under a limit of its own and under what is left of
# SECONDS. Every test is a process, so that one that takes the GPU's context down costs itself alone.
# Results are written as they come: OUT/results.jsonl has a line for each test and each program,
# OUT/results.txt the same to read; tables, logs and figures lie beside them. A run that is cut off
# leaves what it had. What cannot be done here is one line with the reason, and the others go on.
#
# Exit status: 0 all that was done is right; 1 something is not; 2 usage; 4 there is no device to run
# on (then the op tests run on the CPU); 5 OUT cannot be written.

set -u
kit=$(cd "$(dirname "$0")" && pwd) || exit 2
self=$kit/run.sh

# name, seconds at most, what it is; those without seconds run only when asked for by --only
steps='environment 15 what the machine is: card, driver, libraries
ops 75 every op against the float64 reference, both kinds of device
kernels 75 rates of the kernels, beside the card'"'"'s copy and product rates
golden 90 models and method against stored results of other implementations
runs 60 two small models end to end, compared with the results of the CPU
loads 130 attribution, decoding, encoding, prefill on random weights of two real shapes
torch 80 the same work in PyTorch bf16 on the same card, interleaved
profile 45 what ncu says of each kernel
memcheck 60 the ops under compute-sanitizer memcheck
racecheck 0 the ops under compute-sanitizer racecheck
emulator 0 the ops on the CPU, by the emulator of the tests'

usage() {
	echo "usage: $self [--only STEP]... [OUT [SECONDS]] | --list" >&2
	exit 2
}

now() {
	date +%s
}

# ---- writing results ------------------------------------------------------------------------

# A JSON string of one line of at most 300 characters.
quoted() {
	printf '"%s"' "$(printf '%s' "$1" | tr -d '\r' | tr '\n\t' '  ' |
		sed 's/[^[:print:]]/?/g; s/\\/\\\\/g; s/"/\\"/g' | cut -c1-300)"
}

# record STEP NAME STATUS SECONDS WHY: STATUS is ok, fail, skip, crash, late or none (not done).
record() {
	printf '{"step": "%s", "test": %s, "status": "%s", "seconds": %s, "why": %s}\n' \
		"$1" "$(quoted "$2")" "$3" "$4" "$(quoted "$5")" >>"$out/results.jsonl"
	printf '%-6s %s: %s%s\n' "$3" "$1" "$2" "${5:+ ($5)}" | tee -a "$out/results.txt"
}

# judge STEP NAME STATUS_OF_PROCESS SECONDS LOG LIMIT WANTED: what had less time than it should have is
# not late.
judge() {
	last=$(tail -n 1 "$5" 2>/dev/null)
	case $3 in
	0) record "$1" "$2" ok "$4" "" ;;
	77) record "$1" "$2" skip "$4" "$last" ;;
	124 | 137)
		if [ "$6" -lt "$7" ]; then
			record "$1" "$2" none "$4" "no more than $6 seconds were left"
		else
			record "$1" "$2" late "$4" "not done in $6 seconds"
		fi
		;;
	1[3-9]? | 2??) record "$1" "$2" crash "$4" "signal $(($3 - 128))${last:+: $last}" ;;
	*) record "$1" "$2" fail "$4" "status $3${last:+: $last}" ;;
	esac
}

# ---- running --------------------------------------------------------------------------------

# Seconds left for this step, at most $1.
left() {
	rest=$((step_end - $(now)))
	[ "$rest" -lt "$1" ] && echo "$rest" || echo "$1"
}

# program STEP NAME LIMIT COMMAND...: its output goes to OUT/logs/NAME.txt
program() {
	step=$1 name=$2 wanted=$3 limit=$(left "$3")
	shift 3
	if [ "$limit" -le 0 ]; then
		record "$step" "$name" none 0 "no time left"
		return 1
	fi
	log=$out/logs/$(printf '%s' "$name" | tr -c 'A-Za-z0-9.\n' _).txt
	began=$(now)
	timeout -k 5 "$limit" "$@" >"$log" 2>&1 </dev/null &
	child=$! # waited for, so that a signal is heard at once
	wait "$child"
	status=$?
	child=
	judge "$step" "$name" "$status" $(($(now) - began)) "$log" "$limit" "$wanted"
	return "$status"
}

# One test of a program, as a process of its own (--test): STEP PROGRAM NAME LIMIT STEP_END
one_test() {
	step=$1 program=$2 test=$3 wanted=$4 step_end=$5
	limit=$(left "$4")
	if [ "$limit" -le 0 ]; then
		record "$step" "$test" none 0 "no time left"
		return
	fi
	place=$out/logs/tests/$$
	timeout -k 5 "$limit" "$kit/bin/$program" --json "$place.json" --exact "$test" \
		>"$place.txt" 2>&1 </dev/null
	status=$?
	if [ "$status" -le 1 ] && [ -s "$place.json" ]; then # it says itself how it ended
		sed "s/^{/{\"step\": \"$step\", /" "$place.json" >>"$out/results.jsonl"
		sed 's/.*"test": "\(.*\)", "status": "\([a-z]*\)".*"why": "\(.*\)"}$/\2 '"$step"': \1 (\3)/; s/ ()$//' \
			"$place.json" | sed 's/^ok /ok     /; s/^fail /fail   /; s/^skip /skip   /' |
			tee -a "$out/results.txt"
		[ "$status" -eq 0 ] || { echo "---- $test"; cat "$place.txt"; } >>"$out/failures.txt"
	else
		judge "$step" "$test" "$status" 0 "$place.txt" "$limit" "$wanted"
		{ echo "---- $test"; cat "$place.txt"; } >>"$out/failures.txt"
	fi
	rm -f "$place.json" "$place.txt"
}

# each_test STEP LIMIT AT_ONCE PART PROGRAM...: the tests whose names hold PART
each_test() {
	step=$1 limit=$2 at_once=$3 part=$4
	shift 4
	for program in "$@"; do
		"$kit/bin/$program" --list | grep -F "$part" | xargs -d '\n' -P "$at_once" -I '{}' \
			"$self" --test "$out" "$step" "$program" '{}' "$limit" "$step_end"
	done
}

has() {
	command -v "$1" >/dev/null 2>&1
}

# ---- what the machine has ---------------------------------------------------------------------

# Puts the folder of cuBLASLt into LD_LIBRARY_PATH, unless the loader finds it without.
find_cublaslt() {
	library=$("$kit/bin/device" --library)
	for folder in $(printf '%s' "${LD_LIBRARY_PATH:-}" | tr ':' ' ') ${CUDA_HOME:+"$CUDA_HOME/lib64"} \
		/usr/local/cuda/lib64 /usr/local/cuda-*/lib64 /usr/local/cuda*/targets/x86_64-linux/lib \
		/opt/cuda/lib64 /usr/lib/x86_64-linux-gnu /usr/lib64; do
		[ -e "$folder/$library" ] && break
		folder=
	done
	if [ -z "$folder" ] && has python3; then
		folder=$(python3 - "$library" 2>/dev/null <<'PYTHON'
import os, sys
import nvidia
for root in nvidia.__path__:
    for folder, _, files in os.walk(root):
        if sys.argv[1] in files:
            print(folder)
            sys.exit()
PYTHON
)
	fi
	cublaslt=${folder:+$folder/$library}
	[ -z "$folder" ] || export LD_LIBRARY_PATH="$folder${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
}

# Whether there is a device; if not, $why says why.
find_device() {
	find_cublaslt
	device=$("$kit/bin/device" 2>"$out/logs/device.txt") && return 0
	why=$(tail -n 1 "$out/logs/device.txt")
	why=${why:-bin/device did not start}
	return 1
}

version_of() { # of a Python package
	python3 -c "import $1; print($1.__version__)" 2>/dev/null || echo none
}

step_environment() {
	{
		printf '{"commit": %s, "date": "%s", "system": %s, "glibc": %s,\n' "$(quoted "$(cat "$kit/COMMIT")")" \
			"$(date -u +%FT%TZ)" "$(quoted "$(uname -srm)")" "$(quoted "$(getconf GNU_LIBC_VERSION 2>/dev/null)")"
		printf ' "processor": %s, "cores": %s,\n' \
			"$(quoted "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)")" "$(nproc)"
		printf ' "device": %s, "why_not": %s, "cublaslt": %s,\n' "${device:-null}" "$(quoted "$why")" \
			"$(quoted "$cublaslt")"
		printf ' "driver": %s, "torch": %s, "ncu": %s, "compute_sanitizer": %s}\n' \
			"$(quoted "$(has nvidia-smi && nvidia-smi --query-gpu=driver_version,name,clocks.max.sm,clocks.max.mem,power.limit --format=csv,noheader 2>&1 | head -n 1)")" \
			"$(quoted "$(has python3 && version_of torch)")" "$(quoted "$(command -v ncu)")" \
			"$(quoted "$(command -v compute-sanitizer)")"
	} >"$out/environment.json"
	cat "$out/environment.json"
	! has nvidia-smi || nvidia-smi -q >"$out/nvidia-smi.txt" 2>&1
	if [ -n "$device" ]; then
		record environment "a device that the engine opens" ok 0 ""
	else
		record environment "a device that the engine opens" none 0 "$why"
	fi
}

# ---- the steps ------------------------------------------------------------------------------

step_ops() {
	each_test ops 30 6 "" test_ops_cuda
}

step_kernels() {
	program kernels "rates of the kernels" 75 "$kit/bin/bench_cuda" --device cuda:0 \
		--seconds "$(left 65)" --json "$out/kernels.jsonl"
	cp "$log" "$out/kernels.txt" 2>/dev/null
}

step_golden() {
	each_test golden 60 4 "" test_model_cuda test_method_cuda
}

# MODEL DEVICE NAME FLAG
run_and_compare() {
	program runs "$1 on $2" 40 "$kit/bin/engine" "configs/tiny_$1_ap.cfg" --device "$2" \
		--set "output=$out/runs/$3.h5" || return
	program runs "$1 on $2 agrees with the CPU" 20 "$kit/bin/compare_results" "reference/$1.h5" \
		"$out/runs/$3.h5" ${4:+"$4"} --json "$out/runs/$3.jsonl"
	cat "$log" >>"$out/runs.txt"
}

# Two ranks on two GPUs, which read the weights each: the same file as one.
two_ranks() {
	pids=
	for rank in 0 1; do
		RANK=$rank WORLD_SIZE=2 LOCAL_RANK=$rank LOCAL_WORLD_SIZE=2 TORCHELASTIC_RUN_ID=kit-$$ \
			"$kit/bin/engine" configs/tiny_gemma2_ap.cfg --device cuda \
			--set ranks.weights=each --set "output=$1" &
		pids="$pids $!"
	done
	status=0
	for pid in $pids; do
		wait "$pid" || status=1
	done
	return "$status"
}

step_runs() {
	mkdir -p "$out/runs"
	cd "$kit" || return
	for model in gemma2 llama; do
		run_and_compare $model cuda:0:f32 $model-f32 ""
		run_and_compare $model cuda:0 $model --rounded
	done
	if [ "$(nvidia-smi --list-gpus 2>/dev/null | wc -l)" -lt 2 ]; then
		record runs "two ranks on two GPUs" none 0 "one GPU only"
	else
		program runs "two ranks on two GPUs" 40 "$self" --two-ranks "$out/runs/two.h5" &&
			program runs "two ranks write what one writes" 20 "$kit/bin/compare_results" --same \
				"$out/runs/gemma2.h5" "$out/runs/two.h5"
	fi
}

step_loads() {
	for shape in gemma2-2b llama3-8b; do
		limit=$(left 130)
		[ $shape = llama3-8b ] || limit=$((limit * 3 / 5))
		program loads "$shape" "$limit" "$kit/bin/bench_loads" --device cuda:0 --shape $shape \
			--loads b,d,c,a --rounds 3 --seconds $((limit - 5)) --json "$out/loads.jsonl"
		cat "$log" >>"$out/loads.txt" 2>/dev/null
	done
}

step_torch() {
	has python3 || { record torch "beside PyTorch" none 0 "no python3"; return; }
	for shape in gemma2-2b llama3-8b; do
		limit=$(left 80)
		[ $shape = llama3-8b ] || limit=$((limit * 3 / 5))
		program torch "$shape beside PyTorch" "$limit" python3 "$kit/beside_torch.py" \
			--bench "$kit/bin/bench_loads" --device cuda:0 --shape $shape \
			--seconds $((limit - 5)) --json "$out/torch.jsonl"
		cat "$log" >>"$out/torch.txt" 2>/dev/null
	done
}

# Group by group, as ncu writes its table at its end.
step_profile() {
	has ncu || { record profile "ncu" none 0 "no ncu on the PATH"; return; }
	for what in sae_encode "attention, prefill" "attention, decoding" norm gated clamp argmax attribute rope; do
		program profile "ncu: $what" 20 ncu --set basic --clock-control none --csv \
			--log-file "$out/logs/ncu.csv" "$kit/bin/bench_cuda" --device cuda:0 --once --only "$what"
		cat "$out/logs/ncu.csv" >>"$out/profile.csv" 2>/dev/null
	done
}

# TOOL: one process, as the tool takes seconds to start, for as many ops as the time is enough for. The
# tests end with exit status 9 where the tool has found something.
sanitized() {
	has compute-sanitizer || { record "$1" "compute-sanitizer" none 0 "not on the PATH"; return; }
	log=$out/logs/$1.txt
	limit=$(left "$limit")
	timeout -k 5 "$limit" compute-sanitizer --tool "$1" --error-exitcode 9 "$kit/bin/test_ops_cuda" \
		--json "$out/$1.jsonl" "op agrees" >"$log" 2>&1 </dev/null &
	child=$!
	wait "$child"
	status=$?
	child=
	found=$(grep -cE '^=========.*(Invalid|Error|Race|hazard|leak)' "$log")
	done=$(grep -c '"status"' "$out/$1.jsonl" 2>/dev/null)
	if [ "$status" -eq 124 ] && [ "$found" -eq 0 ]; then
		record "$1" "${done:-0} ops under $1" ok "$limit" "the time was not enough for all"
	else
		judge "$1" "${done:-0} ops under $1" "$status" 0 "$log" "$limit" "$limit"
	fi
	grep -E '^=========|^FAIL' "$log" | head -n 200 >"$out/$1.txt"
}

step_memcheck() {
	sanitized memcheck
}

step_racecheck() {
	sanitized racecheck
}

step_emulator() {
	each_test emulator 120 "$(nproc)" "op agrees" test_ops_emu
}

# ---- the whole ------------------------------------------------------------------------------

table() {
	{
		echo
		printf '%-12s %6s %6s %6s %6s\n' step ok wrong skip "not done"
		printf '%s\n' "$steps" | while read -r name limit what; do
			grep "^{\"step\": \"$name\"" "$out/results.jsonl" >"$out/logs/one" 2>/dev/null || continue
			printf '%-12s %6d %6d %6d %6d\n' "$name" "$(grep -c '"status": "ok"' "$out/logs/one")" \
				"$(grep -cE '"status": "(fail|crash|late)"' "$out/logs/one")" \
				"$(grep -c '"status": "skip"' "$out/logs/one")" \
				"$(grep -c '"status": "none"' "$out/logs/one")"
		done
		grep -E '^(fail|crash|late|none) ' "$out/results.txt"
	} >"$out/table.txt"
	cat "$out/table.txt"
}

finish() {
	trap - EXIT INT TERM HUP
	[ -z "$child" ] || kill "$child" 2>/dev/null
	table
	wrong=$(grep -cE '"status": "(fail|crash|late)"' "$out/results.jsonl")
	[ -z "$why" ] || { echo "no device: $why"; [ "$wrong" -gt 0 ] || exit 4; }
	[ "$wrong" -eq 0 ] || exit 1
	[ "${cut:-no}" = no ] || { echo "cut off"; exit 1; }
	exit 0
}

if [ "${1:-}" = --test ]; then
	out=$2
	shift 2
	one_test "$@"
	exit 0
elif [ "${1:-}" = --two-ranks ]; then
	cd "$kit" && two_ranks "$2"
	exit
elif [ "${1:-}" = --list ]; then
	printf '%s\n' "$steps" | while read -r name limit what; do
		printf '%-12s %4s  %s\n' "$name" "$limit" "$what"
	done
	exit 0
fi
only=
while [ "${1:-}" = --only ]; do
	printf '%s\n' "$steps" | grep -q "^${2:-} " || usage
	only="$only $2 "
	shift 2
done
case ${1:-} in -*) usage ;; esac
[ $# -le 2 ] || usage
out=${1:-gpu-results}
seconds=${2:-600}
case $seconds in *[!0-9]* | "") usage ;; esac
mkdir -p "$out/logs/tests" 2>/dev/null && out=$(cd "$out" && pwd) && : >>"$out/results.jsonl" 2>/dev/null &&
	: >>"$out/results.txt" || {
	echo "run.sh: expected a folder that can be written, found ${1:-gpu-results}" >&2
	exit 5
}

end=$(($(now) + seconds))
device='' why='' cublaslt='' child=''
find_device || device=
trap 'cut=yes; finish' INT TERM HUP
trap finish EXIT
printf '%s\n' "$steps" >"$out/logs/steps"
while read -r name limit what <&3; do
	case $only in
	"") [ "$limit" -gt 0 ] || [ "$name$device" = emulator ] || continue ;;
	*" $name "*) ;;
	*) continue ;;
	esac
	[ "$limit" -gt 0 ] || limit=$seconds
	step_end=$(($(now) + limit))
	[ "$step_end" -le "$end" ] || step_end=$end
	echo "==== $name: $what (at most $((step_end - $(now))) s)"
	if [ -z "$device" ] && [ "$name" != environment ] && [ "$name" != emulator ]; then
		record "$name" "$what" none 0 "$why"
	elif [ "$step_end" -le "$(now)" ]; then
		record "$name" "$what" none 0 "no time left"
	else
		"step_$name"
	fi
done 3<"$out/logs/steps"
