#!/bin/sh
# SPDX-License-Identifier: MIT
#
# make.sh - builds the GPU kit (`make gpu-kit`): build/saengine-gpu-kit and the same as .tar.gz, what
# run.sh needs on a machine with a driver for the toolkit's major version of CUDA or newer, glibc 2.31
# or newer, cuBLASLt in the toolkit or in Python's packages, and nothing else. Needs nvcc and no GPU.

set -eu
cd "$(dirname "$0")/../.."
jobs=$(nproc)
kit=build/saengine-gpu-kit
most_bytes=$((44 << 20))

fail() {
	echo "make.sh: $1" >&2
	exit 1
}

cmake --preset gpu-kit
cmake --build --preset gpu-kit -j "$jobs"
cmake --preset gpu-kit-emu
cmake --build --preset gpu-kit-emu -j "$jobs"
cmake --preset cpu
cmake --build --preset cpu -j "$jobs" --target engine

rm -rf "$kit" "$kit.tar.gz"
mkdir -p "$kit/bin" "$kit/tests/golden" "$kit/models" "$kit/configs" "$kit/reference"

# What is in it: source, place in the kit, why.
contents() {
	b=build/gpu-kit
	cat <<LIST
$b/engine|bin/engine|the engine, as users run it
$b/libkernels.so|bin/libkernels.so|all CUDA code, for compute capability 8.0 and 9.0, and PTX for newer ones
$b/device|bin/device|what the card is, and whether the engine can open it
$b/test_ops_cuda|bin/test_ops_cuda|every op against the float64 reference
$b/test_model_cuda|bin/test_model_cuda|models against stored results of other implementations
$b/test_method_cuda|bin/test_method_cuda|the method against stored results of other implementations
$b/compare_results|bin/compare_results|two result files compared
$b/bench_cuda|bin/bench_cuda|rates of the kernels
$b/bench_loads|bin/bench_loads|what users wait for, on random weights
build/gpu-kit-emu/tests/emu/test_ops_emu|bin/test_ops_emu|the op tests on the CPU, for machines without a device
tools/gpu_kit/run.sh|run.sh|the steps, in the order of their value
tools/beside_torch.py|beside_torch.py|the same work in PyTorch, interleaved with bench_loads
tests/golden/adapters|tests/golden/adapters|adapters on them
tests/golden/models|tests/golden/models|what test_model_cuda and test_method_cuda compare with
models/tiny-gemma2|models/tiny-gemma2|a small trained model, for whole runs
models/tiny-gemma2-scope|models/tiny-gemma2-scope|its SAEs
models/tiny-llama|models/tiny-llama|a small trained model, for whole runs
models/tiny-llama-scope|models/tiny-llama-scope|its SAEs
models/small-world|models/small-world|their prompts
configs/tiny_gemma2_ap.cfg|configs/tiny_gemma2_ap.cfg|the whole runs' configs
configs/tiny_llama_ap.cfg|configs/tiny_llama_ap.cfg|the whole runs' configs
build/gpu-kit/reference/gemma2.h5|reference/gemma2.h5|what the CPU gives for them, in float32
build/gpu-kit/reference/llama.h5|reference/llama.h5|what the CPU gives for them, in float32
LIST
}

# The CPU's results, made here since the kit has no CPU backend.
mkdir -p build/gpu-kit/reference
for model in gemma2 llama; do
	rm -rf "build/gpu-kit/reference/$model".*
	build/cpu/engine "configs/tiny_${model}_ap.cfg" --set "output=build/gpu-kit/reference/$model.h5" \
		>"build/gpu-kit/reference/$model.txt"
done

contents | while IFS='|' read -r source place why; do
	cp -r "$source" "$kit/$place"
	case $place in bin/*) strip "$kit/$place" ;; esac
	printf '%9s  %-28s %s\n' "$(du -sh --apparent-size "$kit/$place" | cut -f1)" "$place" "$why" >>"$kit/CONTENTS"
done
git describe --always --dirty --abbrev=12 >"$kit/COMMIT"
printf '%9s  %-28s %s\n' "" COMMIT "of the sources" >>"$kit/CONTENTS"

# Nothing newer than glibc 2.31, and no library but its own and libc's.
for file in "$kit"/bin/*; do
	newest=$(objdump -T "$file" | grep -oE 'GLIBC_[0-9.]+' | sort -uV | tail -n 1)
	[ "$(printf '%s\nGLIBC_2.31\n' "$newest" | sort -V | tail -n 1)" = GLIBC_2.31 ] ||
		fail "$file: expected no symbol newer than GLIBC_2.31, found $(objdump -T "$file" |
			grep "$newest" | sed 's/.* //' | tr '\n' ' ')of $newest; tools/gpu_kit/old_glibc.S maps them back"
	for library in $(readelf -d "$file" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p'); do
		case $library in
		libkernels.so | libc.so.6 | libm.so.6 | libpthread.so.0 | libdl.so.2 | librt.so.1 | ld-linux-x86-64.so.2) ;;
		*) fail "$file: expected to need libc's libraries alone, found $library" ;;
		esac
	done
done

tar -C build --sort=name --owner=0 --group=0 -cf - saengine-gpu-kit | gzip -9 >"$kit.tar.gz"
bytes=$(stat -c %s "$kit.tar.gz")
[ "$bytes" -le "$most_bytes" ] || fail "$kit.tar.gz: expected at most $most_bytes bytes, found $bytes"
cat "$kit/CONTENTS"
echo "$kit.tar.gz: $((bytes >> 20)) MiB. There: tar xzf saengine-gpu-kit.tar.gz && saengine-gpu-kit/run.sh"
