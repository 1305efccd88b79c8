# The extension modules of package veilsum: _core and, in testing builds, _core_testing.
set(PYBIND11_FINDPYTHON ON)
find_package(Python 3.10 REQUIRED COMPONENTS Interpreter Development.Module)
if(NOT pybind11_DIR)  # outside pip: ask the interpreter's own pybind11
  execute_process(COMMAND "${Python_EXECUTABLE}" -m pybind11 --cmakedir
                  OUTPUT_VARIABLE pybind11_hint OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
endif()
find_package(pybind11 3.1 CONFIG REQUIRED HINTS "${pybind11_hint}")

set(VEILSUM_CORE veilsum_aggregate veilsum_cipher)

if(VEILSUM_TESTING)
  # Both modules must share one core: a test that switches the active ISA level through
  # _core_testing means it for _core. So here, and only here, the layers form a shared library, in
  # a folder of its own because Python takes every .so in a package for a module.
  file(CONFIGURE OUTPUT "${PROJECT_BINARY_DIR}/empty.cpp" CONTENT "// Intentionally empty.\n")
  add_library(veilsum_testing_core SHARED "${PROJECT_BINARY_DIR}/empty.cpp")
  veilsum_link_whole(veilsum_testing_core ${VEILSUM_LAYERS})
  target_link_libraries(veilsum_testing_core PRIVATE veilsum_options ${VEILSUM_CORE})
  install(TARGETS veilsum_testing_core LIBRARY DESTINATION veilsum/_lib)
endif()

# veilsum_add_module(NAME FOLDER)
function(veilsum_add_module name folder)
  file(GLOB sources CONFIGURE_DEPENDS "${folder}/*.cpp")
  if(NOT sources)
    message(WARNING "${folder} has no sources: veilsum.${name} is not built")
    return()
  endif()
  # NO_EXTRAS: no link-time optimisation; stripping is the installer's choice.
  pybind11_add_module(${name} MODULE NO_EXTRAS ${sources})
  target_compile_definitions(${name} PRIVATE VEILSUM_VERSION="${VEILSUM_VERSION}")
  target_link_libraries(${name} PRIVATE veilsum_options)
  if(TARGET veilsum_testing_core)
    target_link_libraries(${name} PRIVATE veilsum_testing_core veilsum_threads)
    if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
      # pybind11's types are hidden by attribute; in this build, classes that hold them are not.
      target_compile_options(${name} PRIVATE -Wno-attributes)
    endif()
    foreach(target ${VEILSUM_CORE})  # the headers and macros, not the objects
      target_include_directories(${name} PRIVATE
        $<TARGET_PROPERTY:${target},INTERFACE_INCLUDE_DIRECTORIES>)
      target_compile_definitions(${name} PRIVATE
        $<TARGET_PROPERTY:${target},INTERFACE_COMPILE_DEFINITIONS>)
    endforeach()
    if(APPLE)
      set_target_properties(${name} PROPERTIES INSTALL_RPATH "@loader_path/_lib")
    else()
      set_target_properties(${name} PROPERTIES INSTALL_RPATH "$ORIGIN/_lib")
    endif()
  else()
    target_link_libraries(${name} PRIVATE ${VEILSUM_CORE})
  endif()
  install(TARGETS ${name} LIBRARY DESTINATION veilsum)
endfunction()

veilsum_add_module(_core "${VEILSUM_SOURCE_ROOT}/bindings")
if(VEILSUM_TESTING)
  veilsum_add_module(_core_testing "${VEILSUM_SOURCE_ROOT}/bindings/testing")
endif()

# The OpenFHE engine, a module apart: `import veilsum` neither loads nor needs OpenFHE. Its shared
# libraries are looked for where they were found.
if(TARGET veilsum_openfhe)
  pybind11_add_module(_openfhe MODULE NO_EXTRAS
    "${VEILSUM_SOURCE_ROOT}/bindings/openfhe/module.cpp"
    "${VEILSUM_SOURCE_ROOT}/bindings/guards.cpp")
  target_link_libraries(_openfhe PRIVATE veilsum_options veilsum_openfhe ${VEILSUM_OPENFHE_LIBRARIES})
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    target_compile_options(_openfhe PRIVATE -Wno-attributes)
  endif()
  set_target_properties(_openfhe PROPERTIES
    BUILD_RPATH "${VEILSUM_OPENFHE_LIBDIR}" INSTALL_RPATH "${VEILSUM_OPENFHE_LIBDIR}")
  install(TARGETS _openfhe LIBRARY DESTINATION veilsum)
endif()
