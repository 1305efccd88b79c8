# Compilers that are accepted, and `veilsum_options`: the flags that every translation unit gets.
include(CheckCXXCompilerFlag)
include(CheckCXXSymbolExists)
include(CheckLinkerFlag)

if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  set(minimum 12)
elseif(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
  set(minimum 15)
else()
  message(FATAL_ERROR "Veilsum needs GCC >= 12 or Clang >= 15; CMake found "
                      "${CMAKE_CXX_COMPILER_ID}. Choose one with CXX=... or -DCMAKE_CXX_COMPILER=...")
endif()
if(CMAKE_CXX_COMPILER_VERSION VERSION_LESS minimum)
  message(FATAL_ERROR "Veilsum needs GCC >= 12 or Clang >= 15; CMake found ${CMAKE_CXX_COMPILER_ID} "
                      "${CMAKE_CXX_COMPILER_VERSION} (${CMAKE_CXX_COMPILER}). "
                      "Choose another with CXX=... or -DCMAKE_CXX_COMPILER=...")
endif()

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
# No link-time optimisation: it could inline a kernel's code, built for AVX-512, into baseline code.
set(CMAKE_INTERPROCEDURAL_OPTIMIZATION OFF)

# The testing build shares one core between two extension modules, so its symbols are visible; the
# release build has one module, and exports nothing but its init function.
if(VEILSUM_TESTING)
  set(CMAKE_CXX_VISIBILITY_PRESET default)
else()
  set(CMAKE_CXX_VISIBILITY_PRESET hidden)
  set(CMAKE_VISIBILITY_INLINES_HIDDEN ON)
endif()

add_library(veilsum_options INTERFACE)

# Floating point: an update's bytes are the same on every ISA and compiler, so a product and a sum
# are never contracted into one rounding. errno is never read; dropping it changes no value.
target_compile_options(veilsum_options INTERFACE -ffp-contract=off -fno-math-errno)

target_compile_options(veilsum_options INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wno-sign-conversion -Wnon-virtual-dtor
  -Woverloaded-virtual -Wcast-qual -Wundef
  $<$<BOOL:${VEILSUM_WERROR}>:-Werror>)

target_compile_definitions(veilsum_options INTERFACE
  $<$<BOOL:${VEILSUM_TESTING}>:VEILSUM_TESTING=1>)
if(VEILSUM_TESTING)
  check_cxx_compiler_flag(-fno-semantic-interposition VEILSUM_HAS_NO_INTERPOSITION)
  if(VEILSUM_HAS_NO_INTERPOSITION)
    target_compile_options(veilsum_options INTERFACE -fno-semantic-interposition)
  endif()
endif()

if(VEILSUM_SANITIZE)
  target_compile_options(veilsum_options INTERFACE
    -fsanitize=${VEILSUM_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  target_link_options(veilsum_options INTERFACE -fsanitize=${VEILSUM_SANITIZE})
else()
  # Hardening that the hot loops do not feel.
  target_compile_options(veilsum_options INTERFACE
    -fstack-protector-strong
    $<$<NOT:$<CONFIG:Debug>>:-U_FORTIFY_SOURCE> $<$<NOT:$<CONFIG:Debug>>:-D_FORTIFY_SOURCE=2>)
  foreach(flag "-Wl,-z,relro" "-Wl,-z,now" "-Wl,-z,noexecstack")
    string(MAKE_C_IDENTIFIER "VEILSUM_HAS${flag}" known)
    check_linker_flag(CXX "${flag}" ${known})
    if(${known})
      target_link_options(veilsum_options INTERFACE "${flag}")
    endif()
  endforeach()
endif()

check_cxx_symbol_exists(__x86_64__ "cstddef" VEILSUM_X86_64)
