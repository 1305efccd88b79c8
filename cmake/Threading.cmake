# `veilsum_threads`: what the base layer's parallel_for runs on. It is the only place with OpenMP
# pragmas, and a header, so every layer above compiles it. libgomp is not instrumented and makes
# tsan report races that are none, so a tsan build uses std::thread.
# parallel_for may start a std::thread in an OpenMP build too, so threads are linked always.
add_library(veilsum_threads INTERFACE)
set(THREADS_PREFER_PTHREAD_FLAG ON)
find_package(Threads REQUIRED)
target_link_libraries(veilsum_threads INTERFACE Threads::Threads)
set(VEILSUM_THREADS none)
if(VEILSUM_USE_STD_THREADS)
  target_compile_definitions(veilsum_threads INTERFACE VEILSUM_USE_STD_THREADS=1)
  set(VEILSUM_THREADS std::thread)
else()
  find_package(OpenMP COMPONENTS CXX)
  if(OpenMP_CXX_FOUND)
    target_link_libraries(veilsum_threads INTERFACE OpenMP::OpenMP_CXX)
    set(VEILSUM_THREADS "OpenMP ${OpenMP_CXX_VERSION}")
  else()
    message(WARNING "This compiler has no OpenMP: Veilsum will run on one thread. "
                    "With Clang, install libomp's development files and configure again.")
  endif()
endif()
