#!/bin/sh
# SPDX-License-Identifier: MIT
#
# gpu_check.sh - everything that needs a GPU, in one go: `make gpu-check`, or
#
#   tools/gpu_check.sh [N]        on the N-th CUDA device (0)
#
# 1. builds with the preset cuda; 2. every op, the golden models and the method against their
# references, on the GPU; 3. both shipped models end to end on the CPU and on the GPU, with float32
# products and with rounded ones, compared, and on two GPUs, where there are, two ranks that read the
# weights each and that send them by NCCL; 4. the ops under compute-sanitizer; 5. rates of the
# kernels, and of whole runs beside PyTorch where PyTorch sees the GPU. Everything is tried; what
# failed or could not be done is said at the end, and the exit status is the number of failures.
# Writes results/bench/gpu-CARD-DATE.json and .txt.

set -u
cd "$(dirname "$0")/.." || exit 1
number=${1:-0}
out=build/gpu-check
jobs=$(nproc)
failures=0
missing=""
summary=""

step() { # title, command...
	title=$1
	shift
	echo "---- $title"
	if "$@"; then
		summary="$summary
ok    $title"
	else
		failures=$((failures + 1))
		summary="$summary
FAIL  $title"
	fi
}

lacks() { # what, why
	missing="$missing
not done: $1 ($2)"
}

finish() {
	echo
	echo "$summary$missing"
	exit "$failures"
}

mkdir -p "$out" results/bench
command -v nvidia-smi >/dev/null || { echo "gpu_check: no nvidia-smi, so no NVIDIA driver"; exit 1; }
card=$(nvidia-smi -i "$number" --query-gpu=name --format=csv,noheader | tr ' /' '--')
[ -n "$card" ] || { echo "gpu_check: no CUDA device $number"; exit 1; }

# 1. build
step "configure" cmake --preset cuda
step "build" cmake --build --preset cuda -j "$jobs"
[ "$failures" -eq 0 ] || finish
engine=$(pwd)/build/cuda/engine

# The tests open device 0 of those they see.
export CUDA_VISIBLE_DEVICES="$number"

# 2. against the references
for test in ops model method; do
	step "test_$test on the GPU" build/cuda/test_${test}_cuda
done

# 3. whole runs
compare() { # model, device, name, flags
	"$engine" "configs/tiny_$1_ap.cfg" --device "$2" --set "output=$out/$1-$3.h5" >"$out/$1-$3.txt" &&
		build/cuda/compare_results "$out/$1-cpu.h5" "$out/$1-$3.h5" $4
}
for model in gemma2 llama; do
	step "$model on the CPU" "$engine" "configs/tiny_${model}_ap.cfg" \
		--set "output=$out/$model-cpu.h5"
	step "$model on the GPU, float32 products" compare $model cuda:0:f32 exact ""
	step "$model on the GPU" compare $model cuda:0 fast --rounded
done

# Two ranks on the first two GPUs of the machine: the same file, however the weights come.
two_ranks() { # how
	file="$out/gemma2-two-$1"
	log="$file.txt"
	pids=""
	for rank in 0 1; do
		env -u CUDA_VISIBLE_DEVICES RANK=$rank WORLD_SIZE=2 LOCAL_RANK=$rank LOCAL_WORLD_SIZE=2 \
			TORCHELASTIC_RUN_ID="gpu-check-$$-$1" "$engine" configs/tiny_gemma2_ap.cfg \
			--device cuda --set "ranks.weights=$1" --set "output=$file.h5" \
			>"$log.$rank" 2>&1 &
		pids="$pids $!"
	done
	status=0
	for pid in $pids; do
		wait "$pid" || status=1
	done
	cat "$log.0" "$log.1" >"$log"
	[ "$status" -eq 0 ] || tail -n 5 "$log"
	return "$status"
}
same_bits() {
	two_ranks broadcast && grep "^weights: read by rank 0" "$out/gemma2-two-broadcast.txt" &&
		build/cuda/compare_results "$out/gemma2-two-each.h5" \
			"$out/gemma2-two-broadcast.h5" --same
}
if [ "$(nvidia-smi --list-gpus | wc -l)" -lt 2 ]; then
	lacks "weights from one GPU to another" "one GPU only"
else
	step "two ranks that read the weights each" two_ranks each
	step "two ranks, weights by NCCL" same_bits
fi

# 4. compute-sanitizer
if command -v compute-sanitizer >/dev/null; then
	for tool in memcheck racecheck synccheck; do
		step "ops under compute-sanitizer $tool" compute-sanitizer --tool $tool --error-exitcode 9 \
			build/cuda/test_ops_cuda every_op
	done
else
	lacks "compute-sanitizer" "not installed"
fi

# 5. rates
record=results/bench/gpu-$card-$(date +%F)
kernels() {
	build/cuda/bench_cuda --json "$out/kernels.json" >"$out/kernels.txt"
	status=$?
	cat "$out/kernels.txt"
	return $status
}
step "rates of the kernels" kernels
runs() {
	python3 tools/bench.py --loads tiny --device cuda:0 --engine "$engine" --json "$out/runs.json" \
		>"$out/runs.txt" && cat "$out/runs.txt"
}
rm -f "$out/runs.json" "$out/runs.txt"
if python3 -c 'import torch, transformers, h5py; assert torch.cuda.is_available()' 2>/dev/null; then
	step "whole runs beside PyTorch" runs
else
	lacks "whole runs beside PyTorch" "python3 has no PyTorch that sees the GPU, or no transformers or h5py"
fi
if [ -f "$out/kernels.json" ]; then
	{
		printf '{"card": "%s", "driver": "%s", "date": "%s", "commit": "%s",\n' "$card" \
			"$(nvidia-smi -i "$number" --query-gpu=driver_version --format=csv,noheader)" \
			"$(date +%F)" "$(git describe --always --dirty 2>/dev/null)"
		printf '"kernels": ['
		sed '$!s/$/,/' "$out/kernels.json"
		printf ']'
		if [ -f "$out/runs.json" ]; then
			printf ', "runs": '
			cat "$out/runs.json"
		fi
		printf '}\n'
	} >"$record.json"
	cat "$out/kernels.txt" "$out/runs.txt" >"$record.txt" 2>/dev/null
	echo "$record.json and .txt written"
fi
finish
