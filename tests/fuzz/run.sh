#!/bin/sh
# run.sh - every fuzz target for so many inputs; what `make fuzz` runs after building.
#
#   tests/fuzz/run.sh RUNS [TARGET ...]
#
# New inputs that reach new code are kept in build/fuzz/corpus/TARGET and tried first the next time.
# An input that breaks a target is left in build/fuzz/crashes and ends the script with status 1,
# after the other targets have run.
set -u
cd "$(dirname "$0")/../.." || exit 1
runs=$1
shift
names=$*
[ -n "$names" ] || names=$(ls tests/fuzz/corpus)

# Small inputs allocate little: freed memory soon comes round again, and it may stay in the cache.
# Where memory came from is said when a broken input is run by itself.
export ASAN_OPTIONS="${ASAN_OPTIONS-quarantine_size_mb=1:thread_local_quarantine_size_kb=16:malloc_context_size=0}"

mkdir -p build/fuzz/crashes
broken=
for name in $names; do
	mkdir -p "build/fuzz/corpus/$name"
	# libconfig's own leak (fuzz_config.c) would have every second input searched for leaks.
	leaks=1
	[ "$name" = config ] && leaks=0
	# Room for every seed, but for five of csv's; what most make of a long input is what they make of
	# its parts.
	case $name in
	encode) most=64 ;;
	csv | jinja | json | judge_template | prompts | python_list | results | shard_index) most=256 ;;
	adapter | arch | config | sae_config | npz | tokenizer_side) most=512 ;;
	tokenizer) most=768 ;;
	*) most=1536 ;;
	esac
	n=$runs
	[ "$name" = results ] && n=$((runs / 10)) # each of which starts a process
	words=
	[ -f "tests/fuzz/$name.dict" ] && words=-dict=tests/fuzz/$name.dict
	log=build/fuzz/$name.log
	# Rare features are tried most, and slow inputs have many: their time is weighed against them.
	if "build/fuzz/fuzz_$name" -runs="$n" -max_len="$most" -timeout=10 -rss_limit_mb=2048 \
		-detect_leaks=$leaks -entropic_scale_per_exec_time=1 -print_final_stats=1 \
		${words:+"$words"} "-artifact_prefix=build/fuzz/crashes/$name-" \
		"build/fuzz/corpus/$name" "tests/fuzz/corpus/$name" >"$log" 2>&1; then
		printf '%-14s %s\n' "$name" "$(grep -o 'DONE.*' "$log" | tail -1)"
	else
		broken="$broken $name"
		printf '%-14s BROKEN, see %s\n' "$name" "$log"
		grep -E 'ERROR|not so|runtime error|SUMMARY|Test unit written' "$log"
	fi
done
[ -z "$broken" ]
