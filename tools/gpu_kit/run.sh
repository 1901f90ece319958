#!/bin/sh
# SPDX-License-Identifier: MIT
#
# run.sh - everything that needs a GPU, on a machine that has one and perhaps nothing else:
#
#   ./run.sh [--only STEP]... [OUT [SECONDS]]     OUT: ./gpu-results; SECONDS: 600
#   ./run.sh --list                               the steps
#
# Steps come in the order of their value, each under a limit of its own and under what is left of
# SECONDS. Every test is a process: one that takes the GPU's context down costs itself alone.
# Results are written as they come: OUT/results.jsonl has a line for each test and each program,
# OUT/results.txt the same to read; tables, logs and figures lie beside them, all figures together in
# OUT/record.json. A run that is cut off leaves what it had. What cannot be done here is one line with the reason, and the others go on.
# In an OUT that holds an earlier run, the steps that begin again replace what it has of them, which
# goes to OUT/earlier; the table and the exit status are those of all that OUT holds.
#
# Exit status: 0 all that was done is right; 1 something is not; 2 usage; 3 right as far as it went,
# but it was cut off or the time ended; 4 there is no device to run on (then the op tests run on the
# CPU); 5 OUT cannot be written. Tests: tests/test_gpu_kit.sh.

set -u
unset CDPATH
export LC_ALL=C # bytes are characters: results are ASCII
self=$(readlink -f "$0")
kit=$(dirname "$self")
command="run.sh $*"

# name, seconds at most, what it is; those without seconds run only when asked for by --only
steps='environment 15 what the machine is: card, driver, libraries
ops 75 every op against the float64 reference, both kinds of device
kernels 75 rates of the kernels, beside the card'"'"'s copy and product rates
golden 90 models and method against stored results of other implementations
runs 60 two small models end to end, compared with the results of the CPU
loads 130 attribution, decoding, encoding, prefill, saving on random weights of two real shapes
torch 240 the same work in PyTorch bf16 on the same card, interleaved
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

# One line of ASCII of at most 300 characters.
plain() {
	printf '%s' "$1" | tr '\n\r\t' '   ' | tr -c ' -~' '?' | cut -c1-300
}

# The same as a JSON string.
quoted() {
	printf '"%s"' "$(plain "$1" | sed 's/[\\"]/\\&/g')"
}

# say STEP NAME STATUS WHY: a line to read. The file has it even where nobody reads any more.
say() {
	line=$(printf '%-6s %s: %s%s' "$3" "$1" "$2" "${4:+ ($4)}")
	printf '%s\n' "$line" >>"$out/results.txt"
	printf '%s\n' "$line"
}

# record STEP NAME STATUS SECONDS WHY: STATUS is ok, fail, skip, crash, late or none (not done).
record() {
	printf '{"step": "%s", "test": %s, "status": "%s", "seconds": %s, "why": %s}\n' \
		"$1" "$(quoted "$2")" "$3" "$4" "$(quoted "$5")" >>"$out/results.jsonl"
	say "$1" "$(plain "$2")" "$3" "$(plain "$5")"
}

# Nothing is wrong then; the exit status tells it by these words.
no_time='no time left'

# judge STEP NAME STATUS_OF_PROCESS SECONDS LOG LIMIT WANTED: what had less time than it should have
# is not late. timeout kills five seconds after the limit: what was killed before was so by others.
judge() {
	last=$(tail -n 1 "$5" 2>/dev/null)
	killed=$3
	[ "$killed" -ne 137 ] || [ "$4" -lt $(($6 + 5)) ] || killed=124
	case $killed in
	0) record "$1" "$2" ok "$4" "" ;;
	77) record "$1" "$2" skip "$4" "$last" ;;
	124)
		if [ "$6" -lt "$7" ]; then
			record "$1" "$2" none "$4" "$no_time after $6 seconds"
		else
			record "$1" "$2" late "$4" "not done in $6 seconds"
		fi
		;;
	129 | 1[3-8]? | 19[0-2])
		record "$1" "$2" crash "$4" "signal $(($3 - 128))${last:+: $last}"
		;;
	*) record "$1" "$2" fail "$4" "status $3${last:+: $last}" ;;
	esac
}

# What an earlier run left of a step goes to OUT/earlier.
set_aside() {
	mkdir -p "$out/earlier"
	if grep -q "^{\"step\": \"$1\"" "$out/results.jsonl"; then
		sort_out "^{\"step\": \"$1\"" results.jsonl
		sort_out "^[a-z]* *$1: " results.txt
	fi
	for file in "$out/$1" "$out/$1".*; do
		[ -e "$file" ] || continue
		rm -rf "$out/earlier/${file##*/}"
		mv "$file" "$out/earlier/"
	done
	rmdir "$out/earlier" 2>/dev/null
}

# sort_out PATTERN FILE: its lines of the pattern go to the file of that name in OUT/earlier. The
# file is replaced in one move: it has the other lines whenever this is cut off.
sort_out() {
	grep "$1" "$out/$2" >>"$out/earlier/$2"
	grep -v "$1" "$out/$2" >"$out/logs/others"
	mv "$out/logs/others" "$out/$2"
}

# ---- running --------------------------------------------------------------------------------

# Seconds left for this step, at most $1.
left() {
	rest=$((step_end - $(now)))
	[ "$rest" -lt "$1" ] && echo "$rest" || echo "$1"
}

# run LIMIT LOG COMMAND...: sets status, and seconds in spent. It is waited for, so that a signal is
# heard at once; timeout hands the signal on to all that the command has started.
run() {
	limit=$1 log=$2
	shift 2
	began=$(now)
	timeout -k 5 "$limit" "$@" >"$log" 2>&1 </dev/null &
	child=$!
	wait "$child"
	status=$?
	child=
	spent=$(($(now) - began))
}

# program STEP NAME LIMIT COMMAND...: its output goes to OUT/logs/NAME.txt, and from there to
# OUT/STEP.txt.
program() {
	step=$1 test=$2 wanted=$3 limit=$(left "$3")
	shift 3
	if [ "$limit" -le 0 ]; then
		record "$step" "$test" none 0 "$no_time"
		return 1
	fi
	run "$limit" "$out/logs/$(printf '%s' "$test" | tr -c 'A-Za-z0-9.' _).txt" "$@"
	judge "$step" "$test" "$status" "$spent" "$log" "$limit" "$wanted"
	cat "$log" >>"$out/$step.txt"
	return "$status"
}

# bench STEP NAME LIMIT COMMAND...: a program that begins nothing new when its --seconds are over,
# four fifths of what there is; of under 20 it would make nothing.
bench() {
	step=$1 test=$2 limit=$(left "$3")
	shift 3
	if [ "$limit" -lt 20 ]; then
		record "$step" "$test" none 0 "$no_time"
	else
		program "$step" "$test" "$limit" "$@" --seconds $((limit * 4 / 5)) --json "$out/$step.jsonl"
	fi
}

# One test of a program, as a process of its own (--test): STEP PROGRAM NAME LIMIT STEP_END. In the
# foreground: timeout of the whole step is to reach it.
one_test() {
	step=$1 program=$2 test=$3 wanted=$4 step_end=$5
	limit=$(left "$4")
	if [ "$limit" -le 0 ]; then
		record "$step" "$test" none 0 "$no_time"
		return
	fi
	place=$out/logs/tests/$$
	began=$(now)
	timeout --foreground -k 5 "$limit" "$kit/bin/$program" --json "$place.json" --exact "$test" \
		>"$place.txt" 2>&1 </dev/null
	status=$?
	case $status in 0 | 1 | 77) line=$(tail -n 1 "$place.json" 2>/dev/null) ;; *) line= ;; esac
	if [ -n "$line" ]; then # it says itself how it ended
		printf '{"step": "%s", %s\n' "$step" "${line#?}" >>"$out/results.jsonl"
		how=$(printf '%s\n' "$line" | sed 's/.*", "status": "\([a-z]*\)".*/\1/')
		last=$(printf '%s\n' "$line" | sed 's/.*, "why": "\(.*\)"}$/\1/; s/\\\(["\\]\)/\1/g')
		say "$step" "$(plain "$test")" "$how" "$last"
	else
		judge "$step" "$test" "$status" $(($(now) - began)) "$place.txt" "$limit" "$wanted"
	fi
	case $status in
	0 | 77) ;;
	*) { echo "---- $test"; cat "$place.txt"; } >>"$out/$step.failures.txt" ;;
	esac
	rm -f "$place.json" "$place.txt"
}

# The tests of a program whose names hold PART, as one process that can be ended with all of them
# (--tests): STEP LIMIT AT_ONCE PART STEP_END PROGRAM
tests_of() {
	step_end=$5
	if ! timeout --foreground -k 5 20 "$kit/bin/$6" --list >"$out/logs/$6.list" 2>"$out/logs/$6.txt" ||
		! grep -F -e "$4" "$out/logs/$6.list" >"$out/logs/$6.chosen"; then
		record "$1" "the tests of $6" fail 0 "no list of them: $(tail -n 1 "$out/logs/$6.txt")"
		return
	fi
	exec xargs -d '\n' -P "$3" -I '{}' sh "$self" --test "$out" "$1" "$6" '{}' "$2" "$5" \
		<"$out/logs/$6.chosen"
}

# each_test STEP LIMIT AT_ONCE PART PROGRAM...
each_test() {
	step=$1 most=$2 at_once=$3 part=$4
	shift 4
	! exclusive || at_once=1
	for program in "$@"; do
		limit=$(left "$seconds")
		[ "$limit" -gt 0 ] || { record "$step" "the tests of $program" none 0 "$no_time"; continue; }
		# some seconds more: a test that is late ends by its own limit and has its line
		timeout -k 5 $((limit + 10)) sh "$self" --tests "$out" "$step" "$most" "$at_once" "$part" \
			"$step_end" "$program" </dev/null &
		child=$!
		wait "$child"
		status=$?
		child=
		[ "$status" -eq 0 ] || record "$step" "the tests of $program" fail 0 "ended with status $status"
	done
}

has() {
	command -v "$1" >/dev/null 2>&1
}

# ---- what the machine has ---------------------------------------------------------------------

# The first of the folders, one a line, that holds the library; a file of the name may be none.
first_with() {
	while IFS= read -r folder; do
		[ "$(head -c 4 "$folder/$1" 2>/dev/null | tail -c 3)" != ELF ] || { echo "$folder"; break; }
	done
}

# Puts the folder of cuBLASLt into LD_LIBRARY_PATH, where it is not the loader's own business.
find_cublaslt() {
	library=$(timeout 20 "$kit/bin/device" --library 2>/dev/null) || return
	folder=$({
		printf '%s\n' "${LD_LIBRARY_PATH:-}" | tr ':' '\n'
		printf '%s\n' ${CUDA_HOME:+"$CUDA_HOME/lib64"} ${CONDA_PREFIX:+"$CONDA_PREFIX/lib"} \
			/usr/local/cuda/lib64 /usr/local/cuda-*/lib64 /usr/local/cuda*/targets/x86_64-linux/lib \
			/opt/cuda/lib64 /usr/lib/x86_64-linux-gnu /usr/lib64
	} | first_with "$library")
	[ -n "$folder" ] ||
		folder=$(timeout -k 1 10 python3 - <<'PYTHON' 2>/dev/null | first_with "$library"
import os
import nvidia
for root in nvidia.__path__:
    for folder, _, _ in os.walk(root):
        print(folder)
PYTHON
)
	[ -n "$folder" ] || return
	cublaslt=$folder/$library
	export LD_LIBRARY_PATH="$folder${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
}

# Sets card to what bin/device says of it. Whether the engine can open it; if not, $why says why.
find_device() {
	why="expected /proc, without which no driver starts, found none"
	[ -e /proc/self/exe ] || return 1
	why=
	find_cublaslt
	run 60 "$out/logs/device.txt" "$kit/bin/device"
	card=$(grep '^{' "$out/logs/device.txt")
	case $status in
	0) return 0 ;;
	124 | 137) why="the driver did not answer in $spent seconds" ;;
	*) why=$(grep -v '^{' "$out/logs/device.txt" | tail -n 1) ;;
	esac
	why=${why:-bin/device ended with status $status}
	return 1
}

# Whether the card is set to take one process at a time.
exclusive() {
	case $card in *'"exclusive": true'*) ;; *) return 1 ;; esac
}

version_of() { # of a Python package
	timeout -k 1 20 python3 -c "import $1; print($1.__version__)" 2>/dev/null || echo none
}

step_environment() {
	query=driver_version,name,clocks.max.sm,clocks.max.mem,power.limit
	driver=$(has nvidia-smi &&
		timeout -k 1 10 nvidia-smi --query-gpu=$query --format=csv,noheader 2>&1 | head -n 1)
	model=$(sed -n '/^model name/{s/[^:]*: //p;q}' /proc/cpuinfo 2>/dev/null)
	{
		printf '{"commit": %s, "date": "%s",\n' "$(quoted "$(cat "$kit/COMMIT")")" "$(date -u +%FT%TZ)"
		printf ' "system": %s, "glibc": %s, "processor": %s, "cores": %s,\n' \
			"$(quoted "$(uname -srm)")" "$(quoted "$(getconf GNU_LIBC_VERSION 2>/dev/null)")" \
			"$(quoted "$model")" "$(nproc)"
		printf ' "device": %s, "why_not": %s, "cublaslt": %s,\n' "${card:-null}" \
			"$(quoted "$why")" "$(quoted "$cublaslt")"
		printf ' "driver": %s, "torch": %s, "ncu": %s, "compute_sanitizer": %s}\n' \
			"$(quoted "$driver")" "$(quoted "$(version_of torch)")" \
			"$(quoted "$(command -v ncu)")" "$(quoted "$(command -v compute-sanitizer)")"
	} >"$out/environment.json"
	cat "$out/environment.json"
	! has nvidia-smi || timeout -k 1 10 nvidia-smi -q >"$out/nvidia-smi.txt" 2>&1
	if [ "$device" = yes ]; then
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
	bench kernels "rates of the kernels" 75 "$kit/bin/bench_cuda" --device cuda:0
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

# Small batches and large ones, all bits the same.
invariant_runs() {
	for tokens in 64 4096; do
		program runs "batch.invariant, batches of $tokens tokens" 40 "$kit/bin/engine" \
			configs/tiny_gemma2_ap.cfg --device cuda:0 --set batch.invariant=true \
			--set batch.tokens=$tokens --set generate.prompts=$((tokens / 32)) \
			--set 'experiment=["direction","attribution","jailbreak"]' \
			--set "output=$out/runs/invariant-$tokens.h5" || return
	done
	program runs "batch.invariant: batches change no bit" 20 "$kit/bin/compare_results" --same \
		"$out/runs/invariant-64.h5" "$out/runs/invariant-4096.h5"
}

step_runs() {
	mkdir -p "$out/runs"
	cd "$kit" || return
	for model in gemma2 llama; do
		run_and_compare $model cuda:0:f32 $model-f32 ""
		run_and_compare $model cuda:0 $model --rounded
	done
	invariant_runs
	if [ "$(printf '%s\n' "$card" | sed 's/.*"devices": \([0-9]*\).*/\1/')" -lt 2 ]; then
		record runs "two ranks on two GPUs" none 0 "one GPU only"
	else
		program runs "two ranks on two GPUs" 40 "$self" --two-ranks "$out/runs/two.h5" &&
			program runs "two ranks write what one writes" 20 "$kit/bin/compare_results" --same \
				"$out/runs/gemma2.h5" "$out/runs/two.h5"
	fi
}

# The first shape leaves something to the second. Attribution and saving are about Gemma; decoding
# comes last, as most of it is measured again beside PyTorch.
step_loads() {
	bench loads gemma2-2b 95 "$kit/bin/bench_loads" --device cuda:0 --shape gemma2-2b \
		--loads a,c,d,e,b --rounds 2
	bench loads llama3-8b 110 "$kit/bin/bench_loads" --device cuda:0 --shape llama3-8b \
		--loads d,b --rounds 2
}

step_torch() {
	has python3 || { record torch "beside PyTorch" none 0 "no python3"; return; }
	if exclusive; then
		record torch "beside PyTorch" none 0 "the card takes one process at a time"
		return
	fi
	bench torch "gemma2-2b beside PyTorch" 140 python3 "$kit/beside_torch.py" \
		--bench "$kit/bin/bench_loads" --device cuda:0 --shape gemma2-2b --compile
	bench torch "llama3-8b beside PyTorch" 240 python3 "$kit/beside_torch.py" \
		--bench "$kit/bin/bench_loads" --device cuda:0 --shape llama3-8b --compile \
		--steps prefill decode
}

# Group by group, as ncu writes its table at its end: so many launches of each, as every one is
# repeated several times.
step_profile() {
	has ncu || { record profile "ncu" none 0 "no ncu on the PATH"; return; }
	csv=$out/logs/ncu.csv
	while read -r launches what <&4; do
		limit=$(left 20)
		[ "$limit" -gt 0 ] || { record profile "ncu: $what" none 0 "$no_time"; continue; }
		rm -f "$csv"
		run "$limit" "$out/logs/ncu.txt" ncu --set basic --clock-control none --csv \
			--launch-count "$launches" --log-file "$csv" \
			"$kit/bin/bench_cuda" --device cuda:0 --once --only "$what"
		if grep -qs ERR_NVGPUCTRPERM "$csv" "$log"; then
			record profile ncu none 0 "the driver lets nobody but root read the counters"
			return
		fi
		judge profile "ncu: $what" "$status" "$spent" "$log" "$limit" 20
		cat "$log" >>"$out/profile.txt"
		cat "$csv" >>"$out/profile.csv" 2>/dev/null
	done 4<<-GROUPS
		24 gemma2-2b, 64 rows
		24 attention
		12 sae_encode, gemma2-2b, 8192 rows, 65536 features, bfloat16
		24 gemma2-2b, 8192 rows
		56 csr_attribute, gemma2-2b, 8192 rows, 65536 features, bfloat16
	GROUPS
}

# TOOL: one process, as the tool takes seconds to start, for as many ops as the time is enough for.
# The tests end with exit status 9 where the tool has found something.
sanitized() {
	has compute-sanitizer || { record "$1" "compute-sanitizer" none 0 "not on the PATH"; return; }
	limit=$(left "$seconds")
	[ "$limit" -gt 0 ] || { record "$1" "compute-sanitizer" none 0 "$no_time"; return; }
	run "$limit" "$out/logs/$1.txt" compute-sanitizer --tool "$1" --error-exitcode 9 \
		"$kit/bin/test_ops_cuda" --json "$out/$1.jsonl" "op agrees"
	found=$(grep -E '^=========.*(Invalid|Error|Race|hazard|leak)' "$log" | grep -cv SUMMARY)
	ops=$(grep -c '"status"' "$out/$1.jsonl" 2>/dev/null)
	if [ "$status" -eq 124 ] && [ "$found" -eq 0 ] && [ "${ops:-0}" -gt 0 ]; then
		record "$1" "$ops ops under $1" ok "$spent" "the time was not enough for all"
	else
		judge "$1" "${ops:-0} ops under $1" "$status" "$spent" "$log" "$limit" 40
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
		grep -E '^(fail|crash|late|none) ' "$out/results.txt" | grep -vF "($no_time"
		true # nothing to list
	} >"$out/table.txt" && cat "$out/table.txt"
}

# lines NAME FILE: the JSON lines of a file as a member of record.json, a line that was cut off apart.
lines() {
	printf ',\n"%s": [\n' "$1"
	grep -s '}$' "$out/$2" | sed '$!s/$/,/'
	printf ']'
}

# All figures in one file, of the form in which they are kept (results/bench).
write_record() {
	{
		printf '{"command": %s,\n"environment": ' "$(quoted "$command")"
		cat "$out/environment.json" 2>/dev/null || printf null
		lines results results.jsonl
		for name in kernels loads torch; do
			lines $name $name.jsonl
		done
		printf '}\n'
	} >"$out/record.json"
}

# On a signal, what runs is ended first: its lines come before the table.
finish() {
	trap - EXIT INT TERM HUP PIPE
	[ -z "$child" ] || { kill "$child" 2>/dev/null; wait "$child"; }
	write_record
	table || exit 5
	wrong=$(grep -cE '"status": "(fail|crash|late)"' "$out/results.jsonl")
	[ -z "$why" ] || echo "no device: $why"
	[ "$whole" = yes ] || echo "cut off"
	[ "$wrong" -eq 0 ] || exit 1
	[ -z "$why" ] || exit 4
	[ "$whole" = yes ] || exit 3
	! grep -q "\"why\": \"$no_time" "$out/results.jsonl" || exit 3
	exit 0
}

case ${1:-} in
--test)
	out=$2
	shift 2
	one_test "$@"
	exit 0
	;;
--tests)
	out=$2
	shift 2
	tests_of "$@"
	exit 0
	;;
--two-ranks)
	cd "$kit" && two_ranks "$2"
	exit
	;;
--list)
	printf '%s\n' "$steps" | while read -r name limit what; do
		printf '%-12s %4s  %s\n' "$name" "$limit" "$what"
	done
	exit 0
	;;
esac
only=
while [ "${1:-}" = --only ]; do
	printf '%s\n' "$steps" | cut -d ' ' -f 1 | grep -qxF -e "${2:-}" || usage
	only="$only $2 "
	shift 2
done
case ${1:-} in -*) usage ;; esac
[ $# -le 2 ] || usage
out=${1:-gpu-results}
seconds=${2:-600}
case $seconds in *[!0-9]* | 0* | "" | ???????*) usage ;; esac
mkdir -p "$out/logs/tests" 2>/dev/null && out=$(cd "$out" && pwd) &&
	true 2>/dev/null >>"$out/results.jsonl" && true 2>/dev/null >>"$out/results.txt" || {
	echo "run.sh: expected a folder that can be written, found ${1:-gpu-results}" >&2
	exit 5
}

end=$(($(now) + seconds))
card='' why='' cublaslt='' child='' whole=no
trap finish EXIT INT TERM HUP PIPE
find_device && device=yes || device=no
printf '%s\n' "$steps" >"$out/logs/steps"
while read -r name limit what <&3; do
	case $only in
	"") [ "$limit" -gt 0 ] || [ "$name $device" = "emulator no" ] || continue ;;
	*" $name "*) ;;
	*) continue ;;
	esac
	[ "$limit" -gt 0 ] || limit=$seconds
	step_end=$(($(now) + limit))
	[ "$step_end" -le "$end" ] || step_end=$end
	set_aside "$name"
	case $device$name in
	yes* | noenvironment | noemulator)
		if [ "$step_end" -le "$(now)" ]; then
			record "$name" "$what" none 0 "$no_time"
		else
			echo "==== $name: $what (at most $((step_end - $(now))) s)"
			"step_$name"
		fi
		;;
	*) record "$name" "$what" none 0 "$why" ;;
	esac
done 3<"$out/logs/steps"
whole=yes
