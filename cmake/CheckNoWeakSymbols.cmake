# cmake -DNM=nm -DOBJECTS=a.o|b.o -P CheckNoWeakSymbols.cmake: fails when an object defines a weak
# symbol (an inline function or template that was not inlined), other than compiler helpers.
string(REPLACE "|" ";" objects "${OBJECTS}")
set(found "")
foreach(object ${objects})
  execute_process(COMMAND "${NM}" -C --defined-only "${object}"
                  OUTPUT_VARIABLE symbols RESULT_VARIABLE result)
  if(NOT result EQUAL 0)
    message(FATAL_ERROR "${NM} could not read ${object}")
  endif()
  string(REGEX MATCHALL "[0-9a-f]+ [WVu] [^\n]+" weak "${symbols}")
  foreach(symbol ${weak})
    if(NOT symbol MATCHES " (DW\\.ref\\.|__odr|\\.asan|__asan|__ubsan|__tsan|__clang_call_terminate)")
      get_filename_component(name "${object}" NAME)
      string(APPEND found "\n  ${name}: ${symbol}")
    endif()
  endforeach()
endforeach()
if(found)
  message(FATAL_ERROR "inline functions compiled for a newer processor would leak into baseline "
                      "code; give them internal linkage (anonymous namespace or static):${found}")
endif()
