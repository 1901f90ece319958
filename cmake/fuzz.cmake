# Fuzz targets: tests/fuzz/fuzz_NAME.c with a seed corpus in tests/fuzz/corpus/NAME.
#
# Always: an ordinary program per target that replays its corpus (ctest -R fuzz_corpus).
# With SAENGINE_FUZZ, which needs clang: fuzz_NAME for libFuzzer as well (target `fuzz`, make fuzz).
add_custom_target(fuzz)

function(add_fuzz_target name) # and what it links
  add_executable(replay_${name} tests/fuzz/fuzz_${name}.c tests/fuzz/replay.c)
  target_link_libraries(replay_${name} PRIVATE ${ARGN})
  add_test(NAME fuzz_corpus_${name}
    COMMAND replay_${name} ${CMAKE_SOURCE_DIR}/tests/fuzz/corpus/${name})
  set_tests_properties(fuzz_corpus_${name} PROPERTIES LABELS fuzz)
  if(SAENGINE_FUZZ)
    add_executable(fuzz_${name} EXCLUDE_FROM_ALL tests/fuzz/fuzz_${name}.c)
    target_link_libraries(fuzz_${name} PRIVATE ${ARGN})
    target_link_options(fuzz_${name} PRIVATE -fsanitize=fuzzer)
    add_dependencies(fuzz fuzz_${name})
  endif()
endfunction()

# A model's config.json alone, likewise without the kernels.
add_library(arch STATIC EXCLUDE_FROM_ALL host/model/arch.c host/model/arch_keys.c host/model/rope.c)
target_link_libraries(arch PUBLIC formats)

# An adapter's, likewise.
add_library(adapter_config STATIC EXCLUDE_FROM_ALL host/model/adapter_targets.c
  host/model/module_pattern.c)
target_include_directories(adapter_config PRIVATE ${PCRE2_INCLUDE})
target_link_libraries(adapter_config PUBLIC formats PRIVATE ${PCRE2_LIBRARY})

# The JSON files beside SAEs, likewise.
add_library(sae_config STATIC EXCLUDE_FROM_ALL host/model/sae_config.c
  host/model/sae_file.c host/model/sae_site.c host/model/site.c)
target_link_libraries(sae_config PUBLIC formats)

add_fuzz_target(adapter adapter_config)
add_fuzz_target(arch arch)
add_fuzz_target(config experiments)
add_fuzz_target(csv text)
add_fuzz_target(encode text)
add_fuzz_target(jinja text)
add_fuzz_target(json formats)
add_fuzz_target(judge_template text)
add_fuzz_target(npz formats ZLIB::ZLIB)
add_fuzz_target(prompts text)
add_fuzz_target(python_list text)
add_fuzz_target(results store)
add_fuzz_target(sae_config sae_config)
add_fuzz_target(safetensors formats)
add_fuzz_target(shard_index formats)
add_fuzz_target(tokenizer text)
add_fuzz_target(tokenizer_side text)
