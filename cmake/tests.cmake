# Every test that `make test` runs; included by CMakeLists.txt.

enable_testing()
add_library(test_support STATIC tests/test.c tests/device_fixture.c)
target_link_libraries(test_support PUBLIC kernels_ref)
add_library(test_main OBJECT tests/test_main.c) # an object: its main must not be left out
target_link_libraries(test_main PRIVATE flags)
if(cuda) # skips all tests where there is no device
  add_library(test_main_cuda OBJECT tests/test_main_cuda.c)
  target_link_libraries(test_main_cuda PRIVATE flags CUDA::cudart_static)
endif()

# Two result files: bit for bit (a static library: compare_results takes no test.c along), and within
# limits.
add_library(same_results STATIC tests/result_differences.c tests/same_results.c)
target_include_directories(same_results PUBLIC ${HDF5_INCLUDE_DIRS})
target_link_libraries(same_results PUBLIC flags ${HDF5_LIBRARIES})
add_executable(compare_results tests/compare_results.c tests/result_lines.c tests/result_pairs.c
  tests/result_scores.c tests/result_values.c)
target_link_libraries(compare_results PRIVATE base same_results)

add_custom_target(quick) # what `make quick` runs
function(add_engine_test name label)
  string(REGEX REPLACE "_(cuda|emu|race)$" "" source ${name}) # the same test of another backend
  set(main test_main)
  if(name MATCHES "_cuda$")
    set(main test_main_cuda)
  endif()
  add_executable(${name} ${CMAKE_SOURCE_DIR}/tests/${source}.c)
  target_link_libraries(${name} PRIVATE ${main} test_support ${ARGN})
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES LABELS ${label} SKIP_RETURN_CODE 77)
  if(label STREQUAL "unit")
    add_dependencies(quick ${name})
  endif()
endfunction()

# Tests that run ./engine as users do.
function(add_program_test name label)
  add_engine_test(${name} ${label} ${ARGN})
  target_sources(${name} PRIVATE tests/run_engine.c)
  target_compile_definitions(${name} PRIVATE SAENGINE_BINARY="$<TARGET_FILE:engine>")
  add_dependencies(${name} engine)
endfunction()

foreach(sample runner_sample runner_sample_lacking) # for test_runner
  add_executable(${sample} tests/runner_sample.c)
  target_link_libraries(${sample} PRIVATE test_support)
endforeach()
target_compile_definitions(runner_sample_lacking PRIVATE LACKS="no device")
add_engine_test(test_runner unit)
add_dependencies(test_runner runner_sample runner_sample_lacking)
target_compile_definitions(test_runner PRIVATE RUNNER_SAMPLE="$<TARGET_FILE:runner_sample>"
  RUNNER_SAMPLE_LACKING="$<TARGET_FILE:runner_sample_lacking>")
add_engine_test(test_base unit)
add_engine_test(test_ops backend)
add_dependencies(quick test_ops)
if(cuda) # compiled by make test-cuda, run on a GPU by the kit, tools/gpu_kit
  add_engine_test(test_ops_cuda cuda)
  foreach(test model method)
    add_engine_test(test_${test}_cuda cuda ${test})
    target_sources(test_${test}_cuda PRIVATE tests/golden_model.c)
  endforeach()
  target_sources(test_ops_cuda PRIVATE tests/test_invariant_ops.c)
  foreach(test ops model method)
    target_compile_definitions(test_${test}_cuda PRIVATE TEST_CUDA)
  endforeach()
  add_test(NAME ptxas_table COMMAND_EXPAND_LISTS
    COMMAND ${CMAKE_SOURCE_DIR}/tests/ptxas_table.sh $<TARGET_OBJECTS:kernels_cuda>)
  set_tests_properties(ptxas_table PROPERTIES LABELS cuda)
  add_executable(bench_cuda tests/bench_cuda.c)
  target_link_libraries(bench_cuda PRIVATE loads)
endif()
add_test(NAME ptxas_table_finds_spills COMMAND ${CMAKE_SOURCE_DIR}/tests/test_ptxas_table.sh)
set_tests_properties(ptxas_table_finds_spills PROPERTIES LABELS unit)
add_engine_test(test_invariant_ops backend)
add_engine_test(test_op_errors backend)
add_engine_test(test_gradients backend)
add_engine_test(test_pool backend)
add_engine_test(test_child unit base)
add_engine_test(test_formats unit formats)
target_link_libraries(test_formats PRIVATE ZLIB::ZLIB)
add_engine_test(test_text unit text)
add_engine_test(test_prompts unit text)
add_engine_test(test_chat_template unit text)
add_engine_test(test_chat_declared unit text)
add_engine_test(test_jinja unit text)
add_engine_test(test_tokenizer golden text)
add_engine_test(test_tokenizer_side golden text)
add_executable(tokenize tests/tokenize.c) # for tests/parity_tokenizers.py
target_link_libraries(tokenize PRIVATE text)
add_executable(jinja_render tests/jinja_render.c) # for tests/test_jinja.py
target_link_libraries(jinja_render PRIVATE text)
add_engine_test(test_arch unit model)
add_engine_test(test_finite unit model)
add_engine_test(test_weights unit model)
add_engine_test(test_adapter unit model)
foreach(test finite weights adapter)
  target_sources(test_${test} PRIVATE tests/small_model.c)
endforeach()
add_library(spoil STATIC tests/spoil.c)
target_link_libraries(spoil PRIVATE test_support formats ZLIB::ZLIB)
foreach(test finite weights adapter)
  target_link_libraries(test_${test} PRIVATE spoil)
endforeach()
add_engine_test(test_model golden model)
add_executable(parity_model tests/parity_model.c) # for tests/parity_models.py
target_link_libraries(parity_model PRIVATE model)
target_sources(test_model PRIVATE tests/golden_model.c)
add_engine_test(test_method golden method)
target_sources(test_method PRIVATE tests/golden_model.c)
add_engine_test(test_sae golden model)
add_engine_test(test_sae_finite golden model spoil)
add_engine_test(test_sae_site golden model)
foreach(test test_results test_results_door test_dataset test_verify)
  add_engine_test(${test} unit store)
  target_include_directories(${test} PRIVATE ${HDF5_INCLUDE_DIRS})
  target_link_libraries(${test} PRIVATE ${HDF5_HL_LIBRARIES} ${HDF5_LIBRARIES})
endforeach()
target_link_libraries(test_verify PRIVATE same_results)
if(NOT SAENGINE_SANITIZE) # of scripts, in which sanitizers see nothing
  add_test(NAME fetch_data COMMAND ${CMAKE_SOURCE_DIR}/tests/test_fetch_data.sh)
  add_test(NAME gpu_kit COMMAND ${CMAKE_SOURCE_DIR}/tests/test_gpu_kit.sh)
  set_tests_properties(fetch_data gpu_kit PROPERTIES LABELS unit)
endif()
add_test(NAME results_page COMMAND ${CMAKE_SOURCE_DIR}/tests/results_page.sh $<TARGET_FILE:engine>)
set_tests_properties(results_page PROPERTIES LABELS unit)
add_engine_test(test_compare_results unit same_results)
add_dependencies(test_compare_results compare_results)
target_compile_definitions(test_compare_results PRIVATE
  COMPARE_RESULTS="$<TARGET_FILE:compare_results>")
add_engine_test(test_stop_tokens unit lab)
add_engine_test(test_ties unit measure spoil)
target_sources(test_ties PRIVATE tests/small_model.c)
add_engine_test(test_writer unit work)
foreach(test test_units test_seals)
  add_engine_test(${test} unit work)
  target_sources(${test} PRIVATE tests/trial.c)
  target_include_directories(${test} PRIVATE ${HDF5_INCLUDE_DIRS})
  target_link_libraries(${test} PRIVATE same_results ${HDF5_HL_LIBRARIES} ${HDF5_LIBRARIES})
endforeach()
add_program_test(test_errors unit)
add_program_test(test_refusal_token unit store)
add_program_test(test_tied integration store formats)
add_program_test(test_checks unit)
add_program_test(test_inputs unit)
add_engine_test(test_bounds unit work)
add_engine_test(test_json_values unit model text)
add_engine_test(test_json_memory unit formats)
add_program_test(test_judge integration work)
add_program_test(test_invariant integration work)
target_link_libraries(test_invariant PRIVATE same_results)
add_program_test(test_run integration work)
target_link_libraries(test_run PRIVATE same_results)
target_sources(test_run PRIVATE tests/small_model.c)
target_link_libraries(test_run PRIVATE spoil)

# Where memory runs out: the allocating functions of tests/starved.c in place of the C library's.
function(add_starved_test name)
  add_engine_test(${name} unit ${ARGN})
  target_sources(${name} PRIVATE tests/starved.c)
  target_compile_definitions(${name} PRIVATE STARVED=200)
  foreach(function malloc calloc realloc posix_memalign strdup strndup open_memstream free)
    target_link_options(${name} PRIVATE -Wl,--wrap=${function})
  endforeach()
endfunction()
add_starved_test(test_starved experiments)
add_starved_test(test_starved_model method)
add_starved_test(test_unreadable work)

# Runs that are killed, stopped, or out of disk, and in which one call fails. soak, and
# test_faults_all with every call, are the same for long: make soak, make faults.
add_library(faults MODULE tests/faults.c)
target_compile_definitions(faults PRIVATE _GNU_SOURCE)
target_link_libraries(faults PRIVATE ${CMAKE_DL_LIBS})
add_program_test(test_resume integration work)
add_program_test(test_faults integration work)
foreach(program soak test_faults_all)
  string(REPLACE "_all" "" source ${program})
  add_executable(${program} EXCLUDE_FROM_ALL tests/${source}.c tests/run_engine.c)
  add_dependencies(${program} engine)
  target_compile_definitions(${program} PRIVATE SAENGINE_BINARY="$<TARGET_FILE:engine>")
  target_link_libraries(${program} PRIVATE test_main test_support work)
endforeach()
foreach(test test_resume soak)
  target_sources(${test} PRIVATE tests/long_run.c)
endforeach()
foreach(test test_resume soak test_faults test_faults_all)
  add_dependencies(${test} faults)
  target_link_libraries(${test} PRIVATE same_results)
  target_compile_definitions(${test} PRIVATE FAULTS_LIBRARY="$<TARGET_FILE:faults>")
endforeach()
target_compile_definitions(test_faults PRIVATE FAULTS=2)
target_compile_definitions(test_faults_all PRIVATE FAULTS=1000000)
if(NOT SAENGINE_SANITIZE) # whose address space has no use for limits
  add_program_test(test_memory integration work)
  target_link_libraries(test_memory PRIVATE same_results)
  target_compile_definitions(test_memory PRIVATE SIZES=8)
endif()

add_program_test(test_ranks integration work)
add_library(wrong_clock MODULE tests/wrong_clock.c)
target_compile_definitions(wrong_clock PRIVATE _GNU_SOURCE)
add_dependencies(test_ranks wrong_clock)
target_compile_definitions(test_ranks PRIVATE WRONG_CLOCK_LIBRARY="$<TARGET_FILE:wrong_clock>")
target_link_libraries(test_ranks PRIVATE same_results)

find_program(PYTHON3 python3 PATHS /usr/bin NO_DEFAULT_PATH) # what Debian's packages are for
find_program(PYTHON3 python3)
find_program(PYTHON3_OF_PATH python3) # the one that pip's torch is for, where there is one

# The house itself: no include goes up, no folder has a circle, no files use each other in one.
add_test(NAME floors COMMAND ${PYTHON3} ${CMAKE_SOURCE_DIR}/tests/check_floors.py)
add_test(NAME floors_find_offences COMMAND ${PYTHON3} ${CMAKE_SOURCE_DIR}/tests/test_check_floors.py)
add_test(NAME circles_find_offences COMMAND ${PYTHON3}
  ${CMAKE_SOURCE_DIR}/tests/test_check_circles.py ${CMAKE_C_COMPILER} ${CMAKE_NM})
set_tests_properties(floors floors_find_offences circles_find_offences PROPERTIES LABELS unit)

# slurm/*.sh under a real Slurm, which the test starts and stops; sanitizers see nothing new in it.
if(NOT SAENGINE_SANITIZE)
  add_test(NAME slurm COMMAND ${CMAKE_SOURCE_DIR}/tests/slurm/test_slurm.sh $<TARGET_FILE:engine>)
  set_tests_properties(slurm PROPERTIES LABELS integration SKIP_RETURN_CODE 77
    ENVIRONMENT PYTHON=${PYTHON3})
endif()

add_test(NAME jinja_beside_python COMMAND ${PYTHON3} ${CMAKE_SOURCE_DIR}/tests/test_jinja.py
  $<TARGET_FILE:jinja_render>)
set_tests_properties(jinja_beside_python PROPERTIES LABELS integration SKIP_RETURN_CODE 77)
add_test(NAME loads COMMAND ${PYTHON3} ${CMAKE_SOURCE_DIR}/tests/test_loads.py
  $<TARGET_FILE:bench_loads> cpu abcde 2)
add_test(NAME beside_torch COMMAND ${PYTHON3_OF_PATH} ${CMAKE_SOURCE_DIR}/tools/beside_torch.py
  --bench $<TARGET_FILE:bench_loads> --device cpu --shape tiny --rounds 1)
set_tests_properties(loads beside_torch PROPERTIES LABELS integration SKIP_RETURN_CODE 77)

# The two shipped models end to end; what their result files must show, and how other tools see
# them. The runs are fixtures: they come first, and once.
find_program(RSCRIPT Rscript)
add_test(NAME test_convert_sae
  COMMAND ${PYTHON3_OF_PATH} ${CMAKE_SOURCE_DIR}/tests/test_convert_sae.py)
set_tests_properties(test_convert_sae PROPERTIES LABELS unit SKIP_RETURN_CODE 77)
add_test(NAME test_sweep COMMAND ${PYTHON3} ${CMAKE_SOURCE_DIR}/tests/test_sweep.py)
set_tests_properties(test_sweep PROPERTIES LABELS unit SKIP_RETURN_CODE 77)
set(RESULTS ${CMAKE_BINARY_DIR}/runs)
set(ANEW ${CMAKE_SOURCE_DIR}/tests/anew.sh)
add_executable(test_science tests/test_science.c)
target_link_libraries(test_science PRIVATE store)
foreach(model gemma2 llama)
  set(file ${RESULTS}/tiny_${model}_ap.h5)
  add_test(NAME run_tiny_${model} WORKING_DIRECTORY ${CMAKE_SOURCE_DIR}
    COMMAND ${ANEW} ${file} $<TARGET_FILE:engine> configs/tiny_${model}_ap.cfg
      --set output=${file} --set sae.check=true)
  add_test(NAME science_tiny_${model} COMMAND test_science ${file})
  add_test(NAME result_file_tiny_${model}
    COMMAND ${PYTHON3} ${CMAKE_SOURCE_DIR}/tests/test_result_file.py ${file})
  add_test(NAME result_file_summary_tiny_${model}
    COMMAND ${PYTHON3} ${CMAKE_SOURCE_DIR}/tests/test_result_file.py
      ${RESULTS}/tiny_${model}_ap.summary.h5)
  set_tests_properties(run_tiny_${model} PROPERTIES FIXTURES_SETUP tiny_${model})
  set_tests_properties(science_tiny_${model} result_file_tiny_${model}
    result_file_summary_tiny_${model} PROPERTIES FIXTURES_REQUIRED tiny_${model} SKIP_RETURN_CODE 77)
  if(NOT SAENGINE_SANITIZE) # a minute of Python, in which sanitizers see nothing
    add_test(NAME report_tiny_${model}
      COMMAND ${PYTHON3} ${CMAKE_SOURCE_DIR}/tests/test_report.py ${file})
    set_tests_properties(report_tiny_${model} PROPERTIES
      FIXTURES_REQUIRED tiny_${model} SKIP_RETURN_CODE 77)
  endif()
  if(RSCRIPT)
    add_test(NAME result_file_r_tiny_${model}
      COMMAND ${RSCRIPT} ${CMAKE_SOURCE_DIR}/tests/test_result_file.R ${file})
    set_tests_properties(result_file_r_tiny_${model} PROPERTIES
      FIXTURES_REQUIRED tiny_${model} SKIP_RETURN_CODE 77)
  endif()
endforeach()

if(NOT cuda) # the CUDA kernels on the CPU
  enable_language(CXX)
  add_subdirectory(tests/emu)
endif()

# Which files use each other: the emulation's objects stand for those of kernels/cuda.
set(house_objects)
foreach(library base kernels cpu_v2 cpu_v3 cpu_v4 cpu_generic kernels_ref kernels_emu
    kernels_emu_kernels formats text model method store config work lab measure experiments)
  if(TARGET ${library})
    list(APPEND house_objects $<TARGET_OBJECTS:${library}>)
  endif()
endforeach()
add_test(NAME circles COMMAND_EXPAND_LISTS
  COMMAND ${PYTHON3} ${CMAKE_SOURCE_DIR}/tests/check_circles.py ${CMAKE_NM} ${house_objects})
set_tests_properties(circles PROPERTIES LABELS unit)

include(cmake/fuzz.cmake)

# One run of the engine, and what is asked of its result file: by a script that knows what it must
# show, by the schema, and by the report. The run is a fixture: it comes first, and once.
function(add_run_tests name config script)
  set(file ${RESULTS}/${name}.h5)
  add_test(NAME run_${name} WORKING_DIRECTORY ${CMAKE_SOURCE_DIR}
    COMMAND ${ANEW} ${file} $<TARGET_FILE:engine> ${config} --set output=${file} ${ARGN})
  add_test(NAME science_${name} COMMAND ${PYTHON3} ${CMAKE_SOURCE_DIR}/tests/${script} ${file})
  add_test(NAME result_file_${name}
    COMMAND ${PYTHON3} ${CMAKE_SOURCE_DIR}/tests/test_result_file.py ${file})
  add_test(NAME report_${name} WORKING_DIRECTORY ${CMAKE_SOURCE_DIR}/python
    COMMAND ${PYTHON3} -m saengine.report ${file})
  set_tests_properties(run_${name} PROPERTIES FIXTURES_SETUP ${name} COST 800)
  set_tests_properties(science_${name} result_file_${name} report_${name}
    PROPERTIES FIXTURES_REQUIRED ${name} SKIP_RETURN_CODE 77)
endfunction()

# The experiments on a few prompts against literal implementations, and, where no sanitizer makes
# them slow, at the size at which they must show something.
add_run_tests(golden_paper tests/golden/paper/paper.cfg test_paper.py)
set_tests_properties(run_golden_paper science_golden_paper PROPERTIES LABELS quick)
add_run_tests(golden_open tests/golden/open/open.cfg test_open.py)
if(NOT SAENGINE_SANITIZE)
  add_run_tests(tiny_direction configs/tiny_direction.cfg test_experiments.py
    --set refusal.measure=rules)
  foreach(name categories conditional suffix jailbreaks probe sweep_kstar)
    add_run_tests(tiny_${name} configs/tiny_${name}.cfg test_experiments.py)
  endforeach()
  add_test(NAME report_without_saes
    COMMAND ${PYTHON3} ${CMAKE_SOURCE_DIR}/tests/test_report.py ${RESULTS}/tiny_direction.h5)
  set_tests_properties(report_without_saes PROPERTIES
    FIXTURES_REQUIRED tiny_direction SKIP_RETURN_CODE 77)
  foreach(name coherence exact_patching low_cosine interactions prune feature_graph sae_compare)
    add_run_tests(tiny_${name} configs/tiny_${name}.cfg test_open_questions.py)
  endforeach()
endif()

# The small judge on the replies of the first run.
set(judged ${RESULTS}/tiny_gemma2_ap.h5)
set(file ${RESULTS}/tiny_judge.h5)
add_test(NAME run_tiny_judge WORKING_DIRECTORY ${CMAKE_SOURCE_DIR}
  COMMAND ${ANEW} ${file} $<TARGET_FILE:engine> configs/tiny_judge.cfg --set from=${judged}
    --set output=${file})
add_test(NAME science_tiny_judge
  COMMAND ${PYTHON3} ${CMAKE_SOURCE_DIR}/tests/test_judge.py ${judged} ${file})
add_test(NAME result_file_tiny_judge
  COMMAND ${PYTHON3} ${CMAKE_SOURCE_DIR}/tests/test_result_file.py ${file})
set_tests_properties(run_tiny_judge PROPERTIES
  FIXTURES_REQUIRED tiny_gemma2 FIXTURES_SETUP tiny_judge)
set_tests_properties(science_tiny_judge result_file_tiny_judge PROPERTIES
  FIXTURES_REQUIRED tiny_judge SKIP_RETURN_CODE 77)

add_test(NAME released_switches COMMAND ${PYTHON3} ${CMAKE_SOURCE_DIR}/tests/test_released.py
  $<TARGET_FILE:engine> ${RESULTS})
add_test(NAME empty_sets COMMAND ${PYTHON3} ${CMAKE_SOURCE_DIR}/tests/test_empty_sets.py
  $<TARGET_FILE:engine> ${RESULTS})
set_tests_properties(released_switches empty_sets PROPERTIES SKIP_RETURN_CODE 77)

# What waits for minutes comes first, beside what computes for minutes; then what others need.
# ctest goes by COST only among the tests that others depend on, and then among the rest.
set_tests_properties(test_resume test_ranks test_run PROPERTIES COST 3000)
if(NOT SAENGINE_SANITIZE)
  set_tests_properties(slurm PROPERTIES COST 4000)
  set_tests_properties(test_runner PROPERTIES DEPENDS "slurm;test_resume;test_ranks")
endif()
set_tests_properties(run_tiny_gemma2 run_tiny_llama PROPERTIES COST 900)
