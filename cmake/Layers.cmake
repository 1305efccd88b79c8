# One static library `veilsum_<layer>` for each folder cpp/src/<layer>. Public headers lie in
# cpp/include; private ones are included from the root cpp/src, as in "isa/kernels.h". A layer links
# only what is below it; tests/cpp links each layer whole without those above it, and
# tests/python/test_layers.py checks the include lines.

set(VEILSUM_SOURCE_ROOT "${PROJECT_SOURCE_DIR}/cpp/src")
set(VEILSUM_LAYERS "")
set(VEILSUM_ISA_LEVELS scalar)

# Flags of the folders under cpp/src/isa. A level's run-time check asks for exactly these features.
set(VEILSUM_FLAGS_avx2 -mavx2 -mfma -maes -mpclmul -mbmi2 -mpopcnt -msse4.2 -mf16c)
set(VEILSUM_FLAGS_avx512
  ${VEILSUM_FLAGS_avx2} -mavx512f -mavx512dq -mavx512bw -mavx512vl -mavx512ifma -mavx512vbmi
  -mavx512vbmi2 -mavx512vpopcntdq -mavx512bitalg -mvaes -mvpclmulqdq -msha -mgfni)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # GCC's own headers leave the pass-through operand of many intrinsics uninitialised on purpose.
  list(APPEND VEILSUM_FLAGS_avx512 -Wno-uninitialized -Wno-maybe-uninitialized)
endif()

# veilsum_add_layer(NAME [BELOW LAYER])
function(veilsum_add_layer name)
  cmake_parse_arguments(arg "" "BELOW" "" ${ARGN})
  set(target veilsum_${name})
  set(folder "${VEILSUM_SOURCE_ROOT}/${name}")
  file(GLOB sources CONFIGURE_DEPENDS "${folder}/*.cpp")
  set(level_objects "")
  set(level_macros "")

  if(name STREQUAL "isa")
    file(GLOB scalar_sources CONFIGURE_DEPENDS "${folder}/scalar/*.cpp")
    list(APPEND sources ${scalar_sources})
    foreach(level avx2 avx512)
      file(GLOB level_sources CONFIGURE_DEPENDS "${folder}/${level}/*.cpp")
      if(level_sources AND VEILSUM_X86_64)
        add_library(veilsum_isa_${level} OBJECT ${level_sources})
        target_include_directories(veilsum_isa_${level} PRIVATE
          "${PROJECT_SOURCE_DIR}/cpp/include" "${VEILSUM_SOURCE_ROOT}")
        target_link_libraries(veilsum_isa_${level} PRIVATE veilsum_options)
        target_compile_options(veilsum_isa_${level} PRIVATE ${VEILSUM_FLAGS_${level}})
        list(APPEND level_objects $<TARGET_OBJECTS:veilsum_isa_${level}>)
        string(TOUPPER "VEILSUM_HAVE_${level}" macro)
        list(APPEND level_macros ${macro}=1)
        list(APPEND VEILSUM_ISA_LEVELS ${level})
      endif()
    endforeach()
    set(VEILSUM_ISA_LEVELS ${VEILSUM_ISA_LEVELS} PARENT_SCOPE)
  endif()

  if(sources)
    add_library(${target} STATIC ${sources} ${level_objects})
    set(scope PUBLIC)
    target_link_libraries(${target} PRIVATE veilsum_options)
    target_compile_definitions(${target} PRIVATE ${level_macros})
  else()  # a layer of headers only
    add_library(${target} INTERFACE)
    set(scope INTERFACE)
  endif()
  target_include_directories(${target} ${scope}
    "${PROJECT_SOURCE_DIR}/cpp/include" "${VEILSUM_SOURCE_ROOT}")
  if(arg_BELOW)
    target_link_libraries(${target} ${scope} veilsum_${arg_BELOW})
  else()
    target_link_libraries(${target} ${scope} veilsum_threads)
  endif()
  set(VEILSUM_LAYERS ${VEILSUM_LAYERS} ${name} PARENT_SCOPE)
endfunction()

# veilsum_link_whole(TARGET LAYER...): links every object of the layers, needed or not.
function(veilsum_link_whole target)
  foreach(layer ${ARGN})
    get_target_property(type veilsum_${layer} TYPE)
    if(type STREQUAL "INTERFACE_LIBRARY")
      target_link_libraries(${target} PRIVATE veilsum_${layer})
    elseif(APPLE)
      target_link_libraries(${target} PRIVATE "-Wl,-force_load,$<TARGET_FILE:veilsum_${layer}>")
      add_dependencies(${target} veilsum_${layer})
    else()
      target_link_libraries(${target} PRIVATE
        "-Wl,--whole-archive" "$<TARGET_FILE:veilsum_${layer}>" "-Wl,--no-whole-archive")
      add_dependencies(${target} veilsum_${layer})
    endif()
  endforeach()
endfunction()
