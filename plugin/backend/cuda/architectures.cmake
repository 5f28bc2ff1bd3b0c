# Compute capabilities that the CUDA modules have code for. Turing, Ampere, Hopper, Blackwell in data centres and in graphics cards: code of
# x.0 runs on each x.y as well.
set(dukd_cuda_wanted 75 80 90 100 120)

# dukd_cuda_architectures(OUT NVCC): into OUT, what of these the toolkit knows (100 and 120 since 12.8); nothing where it cannot be asked.
function(dukd_cuda_architectures out nvcc)
  execute_process(COMMAND ${nvcc} --list-gpu-arch OUTPUT_VARIABLE known ERROR_QUIET)
  set(list)
  foreach(arch ${dukd_cuda_wanted})
    if("\n${known}\n" MATCHES "[ \t\r\n]compute_${arch}[ \t\r\n]")
      list(APPEND list ${arch})
    endif()
  endforeach()
  set(${out} ${list} PARENT_SCOPE)
endfunction()

# dukd_cuda_gencode(OUT ARCH...): nvcc's flags. PTX, which drivers compile for GPUs that none of the code is for: of the newest, for what
# comes after it, and of 100, for 110, which is between.
function(dukd_cuda_gencode out)
  set(flags)
  set(newest 0)
  foreach(arch ${ARGN})
    list(APPEND flags -gencode arch=compute_${arch},code=sm_${arch})
    string(REGEX REPLACE "[a-z]$" "" number ${arch})
    if(arch STREQUAL number AND number GREATER newest)
      set(newest ${arch})
    endif()
  endforeach()
  foreach(arch ${ARGN})
    if(arch EQUAL newest OR arch EQUAL 100)
      list(APPEND flags -gencode arch=compute_${arch},code=compute_${arch})
    endif()
  endforeach()
  set(${out} ${flags} PARENT_SCOPE)
endfunction()
