// Layer: tests. The C++ tests' own small harness, so that testing needs no system package. One test
// file is one program: it includes this header, which brings main().
//
//   TEST("what holds") {
//     CHECK(x < q);
//     CHECK_EQ(sum, 7);
//     CHECK_THROWS(parse(bytes), WireFormatError);
//   }
//
// A failed CHECK is printed and counted, and the test goes on; an exception that leaves a test
// fails it; SKIP("why") ends it uncounted. Checks may be made from several threads. A program run
// with arguments runs only the tests whose names contain one of them. It ends with the line
// 'N passed, N failed' and a non-zero exit status if a test failed or none ran.
#pragma once

#include <atomic>
#include <concepts>
#include <cstddef>
#include <cstdio>
#include <exception>
#include <mutex>
#include <sstream>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace veilsum::test {

struct Case {
  const char* name;
  const char* file;
  int line;
  void (*body)();
};

struct Skipped {
  explicit Skipped(std::string why) : reason(std::move(why)) {}
  std::string reason;
};

inline std::vector<Case>& cases() {
  static std::vector<Case> all;
  return all;
}

struct Registration {
  Registration(const char* name, const char* file, int line, void (*body)()) {
    cases().push_back({name, file, line, body});
  }
};

inline std::atomic<std::size_t>& failed_checks() {
  static std::atomic<std::size_t> count{0};
  return count;
}

/// Prints the first failures of a test in full; a loop of a million failures stays readable.
inline void report_failure(const char* file, int line, const std::string& message) {
  static std::mutex mutex;
  constexpr std::size_t kShown = 20;
  const std::lock_guard<std::mutex> lock(mutex);
  const std::size_t before = failed_checks().fetch_add(1);
  if (before < kShown) {
    std::fprintf(stderr, "  %s:%d: %s\n", file, line, message.c_str());
  } else if (before == kShown) {
    std::fprintf(stderr, "  ... further failures are counted, not shown\n");
  }
}

template <typename T>
concept Streamable = requires(std::ostream& out, const T& value) { out << value; };

template <typename T>
concept Range = requires(const T& value) {
  value.begin();
  value.end();
  value.size();
};

template <typename T>
std::string show(const T& value) {
  std::ostringstream out;
  if constexpr (std::is_same_v<T, bool>) {
    out << (value ? "true" : "false");
  } else if constexpr (std::is_enum_v<T>) {
    out << static_cast<long long>(value);
  } else if constexpr (std::integral<T> && sizeof(T) == 1) {
    out << static_cast<int>(value);
  } else if constexpr (std::floating_point<T>) {
    out.precision(17);
    out << value;
  } else if constexpr (Streamable<T>) {
    out << value;
  } else if constexpr (Range<T>) {
    constexpr std::size_t kShown = 16;
    std::size_t i = 0;
    out << value.size() << " elements {";
    for (const auto& element : value) {
      if (i == kShown) {
        out << ", ...";
        break;
      }
      out << (i++ == 0 ? "" : ", ") << show(element);
    }
    out << "}";
  } else {
    out << "(" << sizeof(T) << "-byte object)";
  }
  return out.str();
}

template <typename T>
inline constexpr bool kIsInteger = std::integral<T> && !std::is_same_v<T, bool>;

/// Equality by value: integers of different signedness compare as numbers.
template <typename A, typename B>
bool equal(const A& a, const B& b) {
  if constexpr (kIsInteger<A> && kIsInteger<B>) {
    using Common = std::common_type_t<A, B>;
    if constexpr (std::is_signed_v<A> && std::is_unsigned_v<B>) {
      return a >= 0 && static_cast<Common>(a) == static_cast<Common>(b);
    } else if constexpr (std::is_unsigned_v<A> && std::is_signed_v<B>) {
      return b >= 0 && static_cast<Common>(a) == static_cast<Common>(b);
    } else {
      return a == b;
    }
  } else {
    return a == b;
  }
}

inline void check(bool holds, const char* text, const char* file, int line) {
  if (!holds) report_failure(file, line, std::string("CHECK(") + text + ") does not hold");
}

template <typename A, typename B>
void check_eq(const A& a, const B& b, const char* text, const char* file, int line) {
  if (!equal(a, b)) {
    report_failure(file, line,
                   std::string("CHECK_EQ(") + text + "): " + show(a) + " is not " + show(b));
  }
}

template <typename Expected, typename Body>
void check_throws(Body&& body, const char* text, std::string_view part, const char* file,
                  int line) {
  const std::string what = std::string("CHECK_THROWS(") + text + "): ";
  try {
    std::forward<Body>(body)();
  } catch (const Expected& error) {
    if constexpr (std::derived_from<Expected, std::exception>) {
      const std::string_view message = error.what();
      if (message.find(part) == std::string_view::npos) {
        report_failure(
            file, line,
            what + "the message '" + std::string(message) + "' lacks '" + std::string(part) + "'");
      }
    }
    return;
  } catch (const std::exception& error) {
    report_failure(file, line, what + "another exception came: " + error.what());
    return;
  } catch (...) {
    report_failure(file, line, what + "something that is no std::exception was thrown");
    return;
  }
  report_failure(file, line, what + "nothing was thrown");
}

inline int run_all(int argc, char** argv) {
  std::size_t passed = 0;
  std::size_t failed = 0;
  std::size_t skipped = 0;
  for (const Case& test : cases()) {
    bool wanted = argc < 2;
    for (int i = 1; i < argc; ++i) {
      wanted = wanted || std::string_view(test.name).find(argv[i]) != std::string_view::npos;
    }
    if (!wanted) continue;
    failed_checks() = 0;
    bool was_skipped = false;
    try {
      test.body();
    } catch (const Skipped& skip) {
      was_skipped = true;
      std::printf("skip  %s: %s\n", test.name, skip.reason.c_str());
    } catch (const std::exception& error) {
      report_failure(test.file, test.line,
                     std::string("an exception left the test: ") + error.what());
    } catch (...) {
      report_failure(test.file, test.line, "something that is no std::exception left the test");
    }
    if (failed_checks() != 0) {
      ++failed;
      std::printf("FAIL  %s (%zu failed checks)\n", test.name, failed_checks().load());
    } else if (was_skipped) {
      ++skipped;
    } else {
      ++passed;
      std::printf("ok    %s\n", test.name);
    }
    std::fflush(stdout);
  }
  std::printf("%zu passed, %zu failed", passed, failed);
  if (skipped != 0) std::printf(", %zu skipped", skipped);
  std::printf("\n");
  return failed == 0 && passed + skipped != 0 ? 0 : 1;
}

}  // namespace veilsum::test

#define VEILSUM_TEST_JOIN_(a, b) a##b
#define VEILSUM_TEST_JOIN(a, b) VEILSUM_TEST_JOIN_(a, b)

/// TEST("name") { body }
#define TEST(name)                                                                    \
  static void VEILSUM_TEST_JOIN(test_body_, __LINE__)();                              \
  static const ::veilsum::test::Registration VEILSUM_TEST_JOIN(test_case_, __LINE__)( \
      name, __FILE__, __LINE__, VEILSUM_TEST_JOIN(test_body_, __LINE__));             \
  static void VEILSUM_TEST_JOIN(test_body_, __LINE__)()

/// The condition holds.
#define CHECK(...) \
  ::veilsum::test::check(static_cast<bool>(__VA_ARGS__), #__VA_ARGS__, __FILE__, __LINE__)

/// Both are equal by ==; integers of different signedness compare as numbers. Prints both.
#define CHECK_EQ(a, b) ::veilsum::test::check_eq((a), (b), #a ", " #b, __FILE__, __LINE__)

/// The expression throws `exception_type` or a class derived from it.
#define CHECK_THROWS(expression, exception_type)                                        \
  ::veilsum::test::check_throws<exception_type>([&] { static_cast<void>(expression); }, \
                                                #expression, "", __FILE__, __LINE__)

/// The same, and what() contains `part`.
#define CHECK_THROWS_WITH(expression, exception_type, part)                             \
  ::veilsum::test::check_throws<exception_type>([&] { static_cast<void>(expression); }, \
                                                #expression, part, __FILE__, __LINE__)

/// Ends the test, counted as skipped, for a reason that is printed.
#define SKIP(reason) throw ::veilsum::test::Skipped(reason)

int main(int argc, char** argv) { return veilsum::test::run_all(argc, argv); }
