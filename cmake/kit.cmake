# Programs of the kit (SAENGINE_KIT; tools/gpu_kit): nothing but glibc 2.31 is asked of the machine
# they run on. Included last, as it goes over every program there is.

enable_language(ASM)
add_library(old_glibc OBJECT ${CMAKE_SOURCE_DIR}/tools/gpu_kit/old_glibc.S
  ${CMAKE_SOURCE_DIR}/tools/gpu_kit/old_glibc.c)
add_library(old_start OBJECT ${CMAKE_SOURCE_DIR}/tools/gpu_kit/old_start.c) # programs' alone
foreach(part old_glibc old_start)
  target_compile_options(${part} PRIVATE -O2 -Wall -Wextra)
endforeach()

# What those libraries hold in 2.31 has moved into libc since, and --as-needed would drop them.
set(old_libraries -Wl,--push-state,--no-as-needed -l:libpthread.so.0 -l:libdl.so.2 -l:librt.so.1
  -Wl,--pop-state)

function(link_old_glibc folder)
  get_property(targets DIRECTORY ${folder} PROPERTY BUILDSYSTEM_TARGETS)
  foreach(target ${targets})
    get_target_property(type ${target} TYPE)
    if(type STREQUAL "EXECUTABLE")
      target_link_libraries(${target} PRIVATE old_glibc old_start ${old_libraries})
    elseif(type STREQUAL "SHARED_LIBRARY")
      target_link_libraries(${target} PRIVATE old_glibc ${old_libraries})
      target_link_options(${target} PRIVATE -Wl,-Bsymbolic) # its own CUDA runtime is its own
    else()
      continue()
    endif()
    target_link_options(${target} PRIVATE -static-libgcc -static-libstdc++)
  endforeach()
  get_property(below DIRECTORY ${folder} PROPERTY SUBDIRECTORIES)
  foreach(one ${below})
    link_old_glibc(${one})
  endforeach()
endfunction()
link_old_glibc(${CMAKE_SOURCE_DIR})
