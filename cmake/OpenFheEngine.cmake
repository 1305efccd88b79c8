# The optional OpenFHE engine: cpp/src/openfhe, the only folder that includes OpenFHE, as a library
# that only the extension veilsum._openfhe links (cmake/PythonModules.cmake); the core never does.
if(NOT VEILSUM_OPENFHE MATCHES "^(AUTO|ON|OFF)$")
  message(FATAL_ERROR "VEILSUM_OPENFHE is '${VEILSUM_OPENFHE}'; it must be AUTO, ON or OFF")
endif()

set(VEILSUM_OPENFHE_VERSION "")
if(VEILSUM_OPENFHE STREQUAL "OFF")
  message(STATUS "OpenFHE engine: off")
  return()
endif()

# In a function: the package's file sets variables by dozens, compiler flags among them, and none of
# them may reach our targets. Imported targets are global only on request, so they are made so here.
function(veilsum_find_openfhe)
  set(CMAKE_FIND_PACKAGE_TARGETS_GLOBAL ON)
  set(given "${OpenFHE_DIR}")  # find_package overwrites it
  if(NOT given)
    set(given "$ENV{OpenFHE_DIR}")
  endif()
  find_package(OpenFHE 1.3 CONFIG QUIET)
  if(NOT OpenFHE_FOUND)
    set(seen "")
    foreach(config version IN ZIP_LISTS OpenFHE_CONSIDERED_CONFIGS OpenFHE_CONSIDERED_VERSIONS)
      string(APPEND seen " ${config} is version ${version}.")
    endforeach()
    if(given)
      string(APPEND seen " OpenFHE_DIR is ${given}.")
      set(VEILSUM_OPENFHE_GIVEN TRUE PARENT_SCOPE)
    endif()
    set(VEILSUM_OPENFHE_SEEN "${seen}" PARENT_SCOPE)
    return()
  endif()
  set(libraries "")
  foreach(name OPENFHEcore OPENFHEpke)
    if(NOT TARGET ${name})
      message(WARNING "OpenFHE at ${OpenFHE_DIR} has no shared library ${name}")
      return()
    endif()
    get_target_property(imported ${name} IMPORTED)
    if(imported)
      set_target_properties(${name} PROPERTIES IMPORTED_GLOBAL TRUE)
    endif()
    list(APPEND libraries ${name})
  endforeach()
  set(VEILSUM_OPENFHE_VERSION "${OpenFHE_VERSION}" PARENT_SCOPE)
  set(VEILSUM_OPENFHE_INCLUDE "${OpenFHE_INCLUDE}" PARENT_SCOPE)
  set(VEILSUM_OPENFHE_LIBDIR "${OpenFHE_LIBDIR}" PARENT_SCOPE)
  set(VEILSUM_OPENFHE_LIBRARIES "${libraries}" PARENT_SCOPE)
endfunction()
veilsum_find_openfhe()

if(NOT VEILSUM_OPENFHE_VERSION)
  set(hint "OpenFHE >= 1.3 was not found.${VEILSUM_OPENFHE_SEEN} Install it from its sources and point CMake at it: "
           "-DOpenFHE_DIR=PREFIX/lib/OpenFHE or -DCMAKE_PREFIX_PATH=PREFIX (through pip: "
           "CMAKE_ARGS=-DCMAKE_PREFIX_PATH=PREFIX pip install .)")
  string(CONCAT hint ${hint})
  if(VEILSUM_OPENFHE STREQUAL "ON")
    message(FATAL_ERROR "VEILSUM_OPENFHE=ON, but ${hint}")
  elseif(VEILSUM_OPENFHE_GIVEN)  # whoever names a folder wants the engine
    message(FATAL_ERROR "${hint}, or build without it: -DVEILSUM_OPENFHE=OFF")
  endif()
  message(STATUS "OpenFHE engine: not built. ${hint}")
  return()
endif()

message(STATUS "OpenFHE engine: OpenFHE ${VEILSUM_OPENFHE_VERSION} in ${VEILSUM_OPENFHE_LIBDIR}")
file(GLOB openfhe_sources CONFIGURE_DEPENDS "${VEILSUM_SOURCE_ROOT}/openfhe/*.cpp")
add_library(veilsum_openfhe STATIC ${openfhe_sources})
target_include_directories(veilsum_openfhe PUBLIC
  "${PROJECT_SOURCE_DIR}/cpp/include" "${VEILSUM_SOURCE_ROOT}")
target_include_directories(veilsum_openfhe SYSTEM PRIVATE
  ${VEILSUM_OPENFHE_INCLUDE} ${VEILSUM_OPENFHE_INCLUDE}/third-party/include
  ${VEILSUM_OPENFHE_INCLUDE}/core ${VEILSUM_OPENFHE_INCLUDE}/pke ${VEILSUM_OPENFHE_INCLUDE}/binfhe)
target_link_libraries(veilsum_openfhe
  PRIVATE veilsum_options ${VEILSUM_OPENFHE_LIBRARIES} PUBLIC veilsum_base)
# DT_RPATH, not DT_RUNPATH: OpenFHE's libraries need each other and do not say where they lie.
target_link_options(veilsum_openfhe INTERFACE "-Wl,--disable-new-dtags")
# cereal finds polymorphic types by name across the library's border: typeinfo must be visible.
set_target_properties(veilsum_openfhe PROPERTIES
  CXX_VISIBILITY_PRESET default VISIBILITY_INLINES_HIDDEN OFF)
target_compile_definitions(veilsum_openfhe PRIVATE
  VEILSUM_OPENFHE_VERSION="${VEILSUM_OPENFHE_VERSION}")
