# Tests of the kernels' machine code, see check_assembly.py; those after the first show that it finds what it looks for.
set(assembly_skipped "")
find_package(Python3 COMPONENTS Interpreter)
if(NOT "avx512" IN_LIST SOVS_ISAS)
  set(assembly_skipped "this build has no AVX-512 kernels")
elseif(SOVS_SANITIZE OR NOT CMAKE_BUILD_TYPE STREQUAL "Release")
  set(assembly_skipped "expected a Release build without sanitizers")
elseif(NOT CMAKE_OBJDUMP OR NOT Python3_FOUND)
  set(assembly_skipped "expected objdump and Python, which read the code")
endif()

if(assembly_skipped)
  add_test(NAME assembly COMMAND ${CMAKE_COMMAND} -E echo "skipped: ${assembly_skipped}")
  set_tests_properties(assembly PROPERTIES SKIP_REGULAR_EXPRESSION "skipped: ")
  return()
endif()

function(sovs_check_assembly name object isa)
  add_test(NAME ${name} COMMAND Python3::Interpreter ${CMAKE_CURRENT_SOURCE_DIR}/tests/cpp/check_assembly.py
           ${CMAKE_OBJDUMP} $<TARGET_OBJECTS:sovs_kernels_${object}> ${isa})
endfunction()

sovs_check_assembly(assembly_avx512 avx512 avx512)
sovs_check_assembly(assembly_avx2 avx2 avx2)
sovs_check_assembly(assembly_finds_narrow_code avx2 avx512)
set_tests_properties(assembly_finds_narrow_code PROPERTIES PASS_REGULAR_EXPRESSION
                     "rows1<16>: expected an inner loop of 16 zmm FMAs, got 0")
sovs_check_assembly(assembly_finds_spilled_sums avx2x16 avx2)
set_tests_properties(assembly_finds_spilled_sums PROPERTIES PASS_REGULAR_EXPRESSION
                     "rows1<14>: [0-9]+ moves between vectors and the stack")
