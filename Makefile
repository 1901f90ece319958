# A thin front to CMake; the presets are in CMakePresets.json.
#
#   make run     install what is missing, build, run the small main job, write its report
#   make test    install what is missing, build, run all tests
#   make quick   after a change, under a minute: what is built is brought up to date, then the unit
#                tests, the cases of every op on this machine's fastest CPU level, and one small run
#                of the engine against the numbers of a literal implementation
#   make test-cuda   where nvcc is: compile for CUDA, run the tests that need it or say why not
#   make test-kit    where nvcc is: build the GPU kit and start it
#   make         build only
#   make format  clang-format all C, C++ and CUDA; make format-check: fails where that changes a file
#   make bench   time the engine against the literal PyTorch implementation (needs PyTorch), and what
#                keeping results costs
#   make gpu-kit     where nvcc is: all that a machine with a GPU is asked to run, for one that has
#                    nothing but a driver
#   make gpu-check   the same, built and run here (needs a GPU)
#
# Debian packages are installed with apt when one is missing and apt is there (as root, or with
# sudo); elsewhere install what CMake names.

JOBS := $(shell nproc)

BUILD_PACKAGES := gcc g++ make cmake pkg-config git libhdf5-dev libconfig-dev libdnnl-dev \
	libjansson-dev libpcre2-dev libutf8proc-dev zlib1g-dev libssl-dev
KIT_PACKAGES := libaec-dev binutils
REPORT_PACKAGES := python3 python3-h5py python3-numpy python3-matplotlib
TEST_PACKAGES := hdf5-tools openmpi-bin slurmctld slurmd slurm-client munge python3-xarray \
	python3-h5netcdf python3-jinja2 r-bioc-rhdf5
FUZZ_PACKAGES := clang libclang-rt-14-dev libomp-dev
FUZZ_RUNS := 100000
COVERAGE := 90
FORMAT_PACKAGES := clang-format-14 git
FORMATTED := '*.[ch]' '*.cc' '*.cu' '*.cuh'

# The Python that the Debian packages are for; another one may come first in PATH.
PYTHON = $(if $(shell command -v dpkg-query),/usr/bin/python3,python3)

# The toolkit is often beside the PATH.
NVCC := $(or $(shell command -v nvcc),$(wildcard /usr/local/cuda/bin/nvcc))

.PHONY: all engine run test quick test-asan test-strict test-cuda test-kit soak faults coverage fuzz fuzz-coverage parity bench gpu-kit gpu-check format format-check deps deps-report deps-test deps-format clean

all: engine

engine: build/cpu/CMakeCache.txt
	cmake --build --preset cpu --target engine -j $(JOBS)

build/cpu/CMakeCache.txt: | deps
	cmake --preset cpu

# Installs the packages of a list that are not there; does nothing where there is no dpkg.
define install
	@missing=""; \
	command -v dpkg-query >/dev/null || exit 0; \
	for p in $(1); do \
		dpkg-query -W -f '$${Status}' $$p 2>/dev/null | grep -q "ok installed" || missing="$$missing $$p"; \
	done; \
	[ -z "$$missing" ] && exit 0; \
	echo "installing:$$missing"; \
	sudo=""; [ "$$(id -u)" = 0 ] || sudo=sudo; \
	$$sudo apt-get update -qq && \
	DEBIAN_FRONTEND=noninteractive $$sudo apt-get install -y -qq --no-install-recommends $$missing >/dev/null
endef

deps:
	$(call install,$(BUILD_PACKAGES))

deps-report:
	$(call install,$(REPORT_PACKAGES))

deps-test:
	$(call install,$(TEST_PACKAGES) $(REPORT_PACKAGES))

# Where there is no apt the program may have another name; another version lays out differently.
CLANG_FORMAT = $(or $(shell command -v clang-format-14),$(shell command -v clang-format),false)

define of_version_14
	@found=$$($(CLANG_FORMAT) --version | sed -n 's/.*version \([0-9]*\).*/\1/p'); \
	[ "$$found" = 14 ] || { \
		echo "$@: expected clang-format 14, found $${found:-none}" >&2; exit 1; }
endef

deps-format:
	$(call install,$(FORMAT_PACKAGES))

format: deps-format
	$(of_version_14)
	files=$$(git ls-files $(FORMATTED)) && $(CLANG_FORMAT) -i $$files

format-check: deps-format
	$(of_version_14)
	files=$$(git ls-files $(FORMATTED)) && $(CLANG_FORMAT) --dry-run -Werror $$files

run: engine deps-report
	./engine configs/tiny_gemma2_ap.cfg
	PYTHONPATH=python $(PYTHON) -m saengine.report results/tiny_gemma2_ap.h5

# Two tests more than cores at a time: Slurm's waits for five minutes, and so do for one those of
# runs that are killed and of ranks.
test: deps deps-test
	cmake --preset cpu
	cmake --build --preset cpu -j $(JOBS)
	ctest --preset cpu -j $$(($(JOBS) + 2))

quick: build/cpu/CMakeCache.txt
	@cmake --preset cpu >/dev/null
	cmake --build --preset cpu --target quick -j $(JOBS)
	@build/cpu/test_ops --device cpu >build/cpu/quick_ops.log || { cat build/cpu/quick_ops.log; exit 1; }
	@echo "ops: $$(tail -n 1 build/cpu/quick_ops.log)"
	ctest --preset cpu -L "unit|quick" -j $(JOBS)

test-asan: deps deps-test
	cmake --preset cpu-asan
	cmake --build --preset cpu-asan -j $(JOBS)
	ctest --preset cpu-asan -j $$(($(JOBS) + 1))

test-strict: deps deps-test
	cmake --preset cpu-strict
	cmake --build --preset cpu-strict -j $(JOBS)
	ctest --preset cpu-strict -j $(JOBS)

# How many lines of each file of host/ the unit tests, those of faults and a few runs come by, and
# which they do not; fails where they are fewer than COVERAGE of a hundred in all.
coverage: deps deps-test
	$(call install,gcovr)
	cmake --preset cpu-coverage
	cmake --build --preset cpu-coverage -j $(JOBS)
	find build/cpu-coverage -name '*.gcda' -delete
	ctest --preset cpu-coverage -j $$(($(JOBS) + 1)) -L 'unit|golden|fuzz|quick' -E '^(gpu_kit|fetch_data)$$'
	ctest --preset cpu-coverage -j $$(($(JOBS) + 1)) -R '^test_(run|judge|resume|faults|ranks)$$'
	gcovr --root . --filter host/ --fail-under-line $(COVERAGE) build/cpu-coverage

# Everything of CUDA is compiled, warnings as errors; its tests skip, with the reason, where there
# is no device.
ifeq ($(NVCC),)
test-cuda test-kit:
	@echo "$@: no nvcc, so the CUDA sources are not compiled"
else
test-cuda: deps
	CUDACXX=$(NVCC) cmake --preset cuda-ci
	cmake --build --preset cuda-ci -j $(JOBS)
	ctest --preset cuda-ci

# The kit is built, and starts: without a device it says so and ends with 4.
test-kit: gpu-kit
	rm -rf build/kit-starts
	build/saengine-gpu-kit/run.sh --only environment build/kit-starts 60 || [ $$? = 4 ]
endif

# With whatever Python has PyTorch: `pip install -r tools/requirements.txt`.
bench: engine
	python3 tools/bench.py --record
	cmake --build --preset cpu --target bench_writer -j $(JOBS)
	python3 tools/bench_store.py --record

# build/saengine-gpu-kit and its .tar.gz; what it does there: tools/gpu_kit/run.sh.
gpu-kit: deps
	$(call install,$(KIT_PACKAGES))
	@[ -n "$(NVCC)" ] || { echo "gpu-kit: no nvcc on the PATH or in /usr/local/cuda/bin"; exit 1; }
	CUDACXX=$(NVCC) tools/gpu_kit/make.sh

gpu-check: gpu-kit
	build/saengine-gpu-kit/run.sh build/gpu-results

# Inputs made up by libFuzzer for every parser; tests/fuzz/README.md.
fuzz: deps
	$(call install,$(FUZZ_PACKAGES))
	cmake --preset fuzz
	cmake --build --preset fuzz -j $(JOBS)
	tests/fuzz/run.sh $(FUZZ_RUNS)

# How many lines of each file of host/ the seeds and what fuzzing has kept come by.
FUZZ_TARGETS := $(notdir $(wildcard tests/fuzz/corpus/*))
fuzz-coverage: deps
	$(call install,gcovr)
	cmake --preset cpu-coverage
	cmake --build --preset cpu-coverage -j $(JOBS) --target $(addprefix replay_,$(FUZZ_TARGETS))
	find build/cpu-coverage -name '*.gcda' -delete
	for t in $(FUZZ_TARGETS); do \
		build/cpu-coverage/replay_$$t tests/fuzz/corpus/$$t $$(ls -d build/fuzz/corpus/$$t 2>/dev/null) || exit; \
	done
	gcovr --root . --filter host/ build/cpu-coverage

# Against other implementations, live: needs pip's tokenizers, torch and transformers.
parity: engine
	python3 tests/parity_tokenizers.py
	python3 tests/parity_models.py

# An hour of runs that are disturbed in every way, each resumed and compared, with a table of all at
# the end; tests/test_resume.c and tests/test_ranks.c are what CI does of it.
soak: engine
	cmake --build --preset cpu -j $(JOBS) --target soak
	build/cpu/soak

# Every call of a small run fails in turn, as many at a time as there are cores, with a table of all
# at the end. CI tries 32.
faults: engine
	cmake --build --preset cpu -j $(JOBS) --target test_faults_all
	build/cpu/test_faults_all

clean:
	rm -rf build engine
