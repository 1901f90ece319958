#!/bin/sh
# test_gpu_kit.sh - tools/gpu_kit/run.sh in a kit of programs that end as a test says: what is left
# in OUT, what is said, the exit status. Nothing runs on a device.
set -u
root=$(cd "$(dirname "$0")/.." && pwd)
scratch=$(mktemp -d) || exit 1
trap 'chmod -R u+w "$scratch"; rm -rf "$scratch"' EXIT
failures=0
python=$(python3 -c 'import sys; print(sys.executable)' 2>/dev/null)
kit="$scratch/a kit"
out=$scratch/out

# ---- a kit ----------------------------------------------------------------------------------

mkdir -p "$kit/bin" "$kit/configs" "$scratch/path" "$scratch/tools" "$scratch/lacking"
# In seconds what takes minutes there.
sed 's/^ops 75 /ops 20 /; s/each_test ops 30 6/each_test ops "${OP_LIMIT:-5}" 6/
	s/run 60 /run 1 /' "$root/tools/gpu_kit/run.sh" >"$kit/run.sh"
echo of-the-test >"$kit/COMMIT"

# All that run.sh asks of a machine, and what it does without.
for tool in cat cut date dirname getconf grep head mkdir mv nproc readlink rm rmdir sed sh sleep \
	tail timeout tr true uname xargs; do
	ln -s "$(command -v $tool)" "$scratch/path/$tool"
done

program() { # FILE, its text on standard input
	{ echo '#!/bin/sh'; cat; } >"$1"
	chmod +x "$1"
}

# The tests of a program are the lines of $TESTS, and what they do is in their names (tests/test.c).
program "$kit/bin/test_ops_cuda" <<'PROGRAM'
while [ $# -gt 0 ]; do
	case $1 in
	--list) [ -z "$TESTS" ] || printf '%s\n' "$TESTS"; exit ;;
	--json) json=$2; shift ;;
	--exact) name=$2; shift ;;
	esac
	shift
done
ends() { # STATUS WHY_AS_JSON EXIT
	printf '{"program": "x", "test": "%s", "status": "%s", "seconds": 0.100, "why": "%s"}\n' \
		"$(printf '%s' "${name:-op agrees}" | sed 's/[\\"]/\\&/g')" "$1" "$2" >>"$json"
	exit "$3"
}
case ${name:-} in
*fails*) echo "FAIL by test"; ends fail 'x.c:1: expected \"a\\b\", found \u0009' 1 ;;
*segfaults*) kill -SEGV $$ ;;
*is_killed*) kill -KILL $$ ;;
*hangs*) echo $$ >"$MARK"; exec sleep 60 ;;
*skips*) ends skip "not here" 77 ;;
*says_odd_things*) printf 'a "quote", a \\ back, \t a tab,\r \303\251, \377\n'; exit 9 ;;
esac
ends ok "" 0
PROGRAM
for name in test_model_cuda test_method_cuda test_ops_emu; do
	cp "$kit/bin/test_ops_cuda" "$kit/bin/$name"
done
program "$kit/bin/device" <<'PROGRAM'
[ "${1:-}" != --library ] || { echo libcublasLt.so.test; exit; }
card='{"card": "a card", "devices": 1, "exclusive": false}'
case $DEVICE in
none) echo 'device "cuda:0": no NVIDIA driver was found' >&2; exit 4 ;;
exclusive) card="${card%false*}true}" ;;
hangs) exec sleep 60 ;;
old) echo "$card"; echo 'device "cuda:0": expected compute capability 8.0' >&2; exit 4 ;;
esac
echo "$card"
PROGRAM
program "$kit/bin/bench_cuda" <<'PROGRAM'
echo "$0 $*"
[ "$DEVICE" != lost ] || { echo "the device is lost" >&2; exit 4; }
PROGRAM
for name in bench_loads engine compare_results; do
	cp "$kit/bin/bench_cuda" "$kit/bin/$name"
done
program "$scratch/tools/nvidia-smi" <<'PROGRAM'
echo "580.1, a card"
PROGRAM
program "$scratch/tools/ncu" <<'PROGRAM'
[ "$DEVICE" != counters ] || { echo "==ERROR== ERR_NVGPUCTRPERM"; exit 1; }
PROGRAM
program "$scratch/tools/compute-sanitizer" <<'PROGRAM'
while [ "${1#*bin/test_ops}" = "$1" ]; do shift; done
exec "$@"
PROGRAM
program "$scratch/tools/python3" <<'PROGRAM'
cat >/dev/null
PROGRAM
chmod -R a-w "$kit"
touch "$scratch/made"

# ---- what a test asks -------------------------------------------------------------------------

DEVICE=ok TESTS='op agrees: one
op agrees: two' MARK=$scratch/mark
export DEVICE TESTS MARK

kit_run() { # in a machine that has nothing but $scratch/path and the folder $with
	env PATH="$scratch/${with:-tools}:$scratch/path" LC_ALL=C.UTF-8 sh "$kit/run.sh" "$@" \
		>"$scratch/said" 2>&1
}

# ran NAME EXPECTED_EXIT ARGUMENT...: OUT, if it is $out, is fresh
ran() {
	name=$1 expected=$2
	shift 2
	rm -rf "$out"
	kit_run "$@"
	status=$?
	is "$name" [ "$status" -eq "$expected" ]
}

is() { # NAME COMMAND...
	name=$1
	shift
	if "$@" >/dev/null 2>&1; then
		echo "ok   $name"
	else
		echo "FAIL $name: $*; exit $status, output:"
		cat "$scratch/said"
		failures=$((failures + 1))
	fi
	cat "$out/results.jsonl" >>"$scratch/all.jsonl" 2>/dev/null
}

has() { # N lines of results.jsonl of the STEP and the STATUS
	[ "$(grep -c "^{\"step\": \"$2\", .*\"status\": \"$3\"" "$out/results.jsonl")" -eq "$1" ]
}

says() {
	grep -qF -e "$1" "$scratch/said"
}

both() {
	eval "$1" && eval "$2"
}

# ---- a whole run ----------------------------------------------------------------------------

ran all_right_is_exit_0 0 "$out"
is every_test_of_the_ops_has_a_line has 2 ops ok
is both_programs_of_golden_tests_have_theirs has 4 golden ok
is the_loads_have_their_figures_in_text grep -q 'shape llama3-8b .*--seconds' "$out/loads.txt"
is the_runs_are_compared grep -q -- '--rounded' "$out/runs.txt"
is one_card_runs_no_two_ranks has 1 runs none
is ncu_is_asked_group_by_group has 5 profile ok
is the_sanitizer_counts_its_ops grep -q '1 ops under memcheck' "$out/results.txt"
is the_emulator_and_racecheck_wait_to_be_asked_for has 0 '\(emulator\|racecheck\)' ok
is the_record_has_the_command_and_every_line both "grep -q 'run.sh $out' '$out/record.json'" \
	"[ $(grep -c '"status"' "$out/record.json") -eq $(grep -c . "$out/results.jsonl") ]"
is the_table_counts_by_step grep -q '^golden  *4  *0  *0  *0$' "$out/table.txt"

with=lacking DEVICE=counters
ran what_has_no_tools_is_right_all_the_same 0 "$out"
is every_tool_that_is_missing_has_a_line has 3 '\(torch\|profile\|memcheck\)' none
with=tools
ran counters_that_nobody_may_read_are_no_failure 0 --only profile "$out"
is they_have_one_line_for_all has 1 profile none

DEVICE=none no_driver='device "cuda:0": no NVIDIA driver was found'
ran no_device_is_exit_4 4 "$out"
is each_step_says_why_it_was_not_done has 1 memcheck none
is the_ops_run_by_the_emulator_then has 2 emulator ok
is the_reason_is_the_last_line [ "$(tail -n 1 "$scratch/said")" = "no device: $no_driver" ]
DEVICE=hangs
ran a_driver_that_does_not_answer_is_exit_4 4 --only environment "$out"
is it_is_named says "no device: the driver did not answer in"
DEVICE=exclusive
ran a_card_for_one_process_at_a_time_is_right 0 --only ops --only torch "$out"
is what_needs_two_is_not_done has 1 torch none
DEVICE=old
ran a_card_too_old_is_exit_4 4 --only environment --only ops "$out"
is it_is_described_all_the_same grep -q '"card": "a card"' "$out/environment.json"
DEVICE=lost
ran a_program_that_fails_is_exit_1 1 --only kernels --only runs "$out"
is its_last_line_is_the_reason grep -q 'fail .*(status 4: the device is lost)' "$out/results.txt"

# ---- tests that end badly ---------------------------------------------------------------------

DEVICE=ok TESTS='one that fails
one that segfaults
one that hangs
one that skips
one that is_killed
one that says_odd_things
a "quoted" {} name, a \ back, and é
one that is right'
OP_LIMIT=1
export OP_LIMIT
ran a_test_that_ends_badly_is_exit_1 1 --only ops "$out"
is one_that_fails_costs_itself has 2 ops fail
is those_that_are_killed_cost_themselves has 2 ops crash
is one_that_hangs_costs_its_limit has 1 ops late
is one_that_skips_says_why grep -q '^skip   ops: one that skips (not here)$' "$out/results.txt"
is the_others_are_right has 2 ops ok
is the_reason_is_readable grep -qF 'expected "a\b", found' "$out/results.txt"
is what_they_wrote_is_kept grep -q 'FAIL by test' "$out/ops.failures.txt"
is the_table_names_them grep -q '^crash  ops: one that segfaults (signal 11' "$out/table.txt"
TESTS='one that is right'
kit_run --only ops "$out"
status=$?
is a_step_that_is_right_the_second_time_is_exit_0 [ $status -eq 0 ]
is the_second_time_counts both "has 1 ops ok" "has 0 ops fail"
is the_first_is_kept_aside grep -q 'one that fails' "$out/earlier/results.jsonl"
TESTS=
ran a_program_without_tests_is_wrong 1 --only golden "$out"
is it_is_named grep -q 'the tests of test_model_cuda' "$out/results.txt"

# ---- time, signals ----------------------------------------------------------------------------

unset OP_LIMIT
TESTS='one that hangs'
ran the_end_of_the_time_is_exit_3 3 --only ops --only kernels --only golden "$out" 2
is a_test_cut_by_it_is_not_late both "has 1 ops none" "has 0 ops late"
is steps_after_it_are_not_wrong both "has 1 kernels none" "has 1 golden none"

soon() { # in ten seconds at most
	tries=100
	until eval "$1"; do
		[ $((tries -= 1)) -gt 0 ] || return
		sleep 0.1
	done
}

# ended SIGNAL: run.sh, once the first test is done and another hangs
ended() {
	rm -rf "$out" "$MARK"
	env --default-signal=INT PATH="$scratch/tools:$scratch/path" sh "$kit/run.sh" --only ops \
		--only golden "$out" >"$scratch/said" 2>&1 &
	run=$!
	soon '[ -s "$MARK" ] && has 1 ops ok'
	kill -s "$1" $run
	wait $run 2>/dev/null
	status=$?
}

gone() { # what a signal reached may take a moment
	soon '! kill -0 "$(cat "$MARK")" 2>/dev/null'
}

TESTS='one that is right
one that hangs'
for signal in TERM INT HUP; do
	ended $signal
	is ${signal}_is_exit_3 [ $status -eq 3 ]
	is what_was_done_before_${signal}_is_there has 1 ops ok
	is ${signal}_prints_the_table both "says step" "says cut"
	is ${signal}_ends_the_tests gone
done
ended KILL
is what_was_done_before_KILL_is_there has 1 ops ok
kill "$(cat "$MARK")"
is the_test_that_ran_on_is_judged soon "has 1 ops crash"

# ---- arguments ------------------------------------------------------------------------------

TESTS='op agrees: one'
ran the_list_names_the_steps 0 --list
is it_has_their_seconds says 'golden         90  models'
ran an_unknown_step_is_a_usage_error 2 --only oops "$out"
ran a_pattern_is_no_step 2 --only 'o.*' "$out"
ran a_step_must_be_named 2 --only
for seconds in 1m -5 0 08 1e3; do
	ran "seconds_\"${seconds}\"_are_a_usage_error" 2 "$out" "$seconds"
done
ran a_third_argument_is_a_usage_error 2 "$out" 5 6
ran an_option_of_no_meaning_is_a_usage_error 2 --fast
ran a_folder_in_a_file_is_exit_5 5 "$scratch/said/out"
is it_is_named says "found $scratch/said/out"
ran a_file_is_no_folder 5 "$kit/COMMIT"
mkdir -p "$scratch/odd/results.jsonl"
ran results_that_cannot_be_written_are_exit_5 5 "$scratch/odd"
cd "$scratch" || exit 1
ran a_relative_folder_is_one_of_here 0 --only ops "my out"
is it_has_the_results [ -s "$scratch/my out/results.txt" ]
ln -s "$kit/run.sh" "$scratch/link"
PATH=$scratch/tools:$scratch/path sh "$scratch/link" --only ops "$out" >"$scratch/said" 2>&1
status=$?
is a_link_to_it_finds_the_kit [ $status -eq 0 ]

# ---- cuBLASLt -------------------------------------------------------------------------------

library=libcublasLt.so.test
mkdir -p "$scratch/a text" "$scratch/lib a" "$scratch/home/lib64" "$scratch/site/nvidia/cu13/lib"
echo 'no library' >"$scratch/a text/$library"
for folder in "lib a" home/lib64 site/nvidia/cu13/lib; do
	printf '\177ELF' >"$scratch/$folder/$library"
done
found() {
	grep -qF "\"cublaslt\": \"$1/$library\"" "$out/environment.json"
}
export LD_LIBRARY_PATH CUDA_HOME PYTHONPATH
LD_LIBRARY_PATH="$scratch/a text:$scratch/lib a" CUDA_HOME=$scratch/home PYTHONPATH=
ran cublaslt_is_sought 0 --only environment "$out"
is it_is_found_in_LD_LIBRARY_PATH_where_a_text_is_none found "$scratch/lib a"
unset LD_LIBRARY_PATH
ran cublaslt_is_sought 0 --only environment "$out"
is it_is_found_in_CUDA_HOME found "$scratch/home/lib64"
unset CUDA_HOME
if [ -n "$python" ]; then
	echo '__version__ = "of the test"' >"$scratch/site/torch.py"
	ln -s "$python" "$scratch/lacking/python3"
	PYTHONPATH=$scratch/site
	with=lacking
	ran cublaslt_is_sought 0 --only environment "$out"
	is it_is_found_in_a_package_of_Python found "$scratch/site/nvidia/cu13/lib"
	is the_version_of_PyTorch_is_there grep -q '"torch": "of the test"' "$out/environment.json"
	unset PYTHONPATH
	is every_line_is_JSON "$python" -c 'import json, sys
for path in sys.argv[1:]:
	text = open(path).read()
	for line in text.splitlines() if path.endswith("l") else [text]:
		json.loads(line)' "$scratch/all.jsonl" "$out/environment.json" "$out/record.json"
else
	echo "skip it_is_found_in_a_package_of_Python, every_line_is_JSON: no python3"
fi
is the_kit_is_as_it_was [ -z "$(find "$kit" -newer "$scratch/made")" ]
[ $failures -eq 0 ]
