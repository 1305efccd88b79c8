// Layer: tests (isa). Feature detection (each missing feature takes its level away) and the choice
// of a level by environment variable, each in a process of its own because it happens once.
#include "isa/dispatch.h"

#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "check.h"
#include "isa/cpu.h"
#include "veilsum/errors.h"

namespace veilsum::test {
namespace {

using isa::CpuidLeaves;
using isa::KernelTable;
using isa::missing_features;

CpuidLeaves everything() { return {~0u, ~0u, ~0u, ~std::uint64_t{0}}; }

TEST("features: a machine with everything runs every level, one with nothing only scalar") {
  for (const char* level : {"scalar", "avx2", "avx512"}) {
    CHECK_EQ(missing_features(level, everything()), "");
  }
  CHECK_EQ(missing_features("scalar", CpuidLeaves{}), "");
  CHECK(!missing_features("avx2", CpuidLeaves{}).empty());
  CHECK(!missing_features("avx512", CpuidLeaves{}).empty());
}

/// Clears each bit in turn; returns the features that `level` then says it lacks.
std::set<std::string> required(const char* level) {
  std::set<std::string> names;
  for (unsigned bit = 0; bit < 32; ++bit) {
    for (int which = 0; which < 4; ++which) {
      CpuidLeaves leaves = everything();
      const std::uint32_t mask = ~(std::uint32_t{1} << bit);
      if (which == 0) leaves.leaf1_ecx &= mask;
      if (which == 1) leaves.leaf7_ebx &= mask;
      if (which == 2) leaves.leaf7_ecx &= mask;
      if (which == 3) leaves.xcr0 &= ~(std::uint64_t{1} << bit);
      const std::string missing = missing_features(level, leaves);
      if (!missing.empty()) names.insert(missing);
    }
  }
  return names;
}

TEST("features: each one that a level is compiled with is required") {
  const std::set<std::string> avx2 = {"SSE4.2",
                                      "POPCNT",
                                      "PCLMULQDQ",
                                      "AES",
                                      "OSXSAVE",
                                      "AVX",
                                      "F16C",
                                      "FMA",
                                      "AVX2",
                                      "BMI2",
                                      "ymm state saved by the system"};
  CHECK(required("avx2") == avx2);
  std::set<std::string> avx512 = avx2;
  avx512.erase("ymm state saved by the system");
  avx512.insert({"AVX512F", "AVX512DQ", "AVX512BW", "AVX512VL", "AVX512_IFMA", "AVX512_VBMI",
                 "AVX512_VBMI2", "AVX512_BITALG", "AVX512_VPOPCNTDQ", "VAES", "VPCLMULQDQ", "GFNI",
                 "SHA", "zmm state saved by the system",
                 "ymm state saved by the system, zmm state saved by the system"});
  CHECK(required("avx512") == avx512);
  CHECK(required("scalar").empty());
}

TEST("features: zmm registers that the system does not save take avx512 away, not avx2") {
  for (const unsigned bit : {5u, 6u, 7u}) {
    CpuidLeaves leaves = everything();
    leaves.xcr0 &= ~(std::uint64_t{1} << bit);
    CHECK_EQ(missing_features("avx512", leaves), "zmm state saved by the system");
    CHECK_EQ(missing_features("avx2", leaves), "");
  }
}

TEST("levels: scalar first, names unique, every function filled in") {
  const std::vector<const KernelTable*> levels = isa::levels_present();
  CHECK(!levels.empty());
  CHECK_EQ(std::string_view(levels[0]->level), "scalar");
  CHECK(levels[0] == isa::scalar_table());
  for (const KernelTable* table : levels) {
    CHECK(&isa::table_for_level(table->level) == table);
    CHECK(table->aes_encrypt_blocks && table->aes_ctr && table->crc32c);
    CHECK(table->sha256_compress && table->sha256_compress_lanes);
    CHECK(table->ntt_forward && table->ntt_inverse_lazy && table->multiply_slots);
    CHECK(table->multiply_inverse && table->expand_uniform && table->sample_cbd);
    CHECK(table->encrypt_block && table->make_pad && table->encrypt_from_pad);
    CHECK(table->decrypt_block && table->noise_in_bounds);
    CHECK(table->quantise && table->dequantise);
    CHECK(table->sum_fields && table->pack_fields && table->unpack_fields);
  }
}

TEST("levels: unknown names and levels that are not here are different errors") {
  for (const char* name : {"", "sse", "AVX2", "avx512f", "scalar "}) {
    CHECK_THROWS_WITH(isa::table_for_level(name), ParameterError, "scalar, avx2 or avx512");
    CHECK_THROWS(isa::set_active_level_for_tests(name), ParameterError);
  }
  std::set<std::string> present;
  for (const KernelTable* table : isa::levels_present()) present.insert(table->level);
  for (const char* name : {"avx2", "avx512"}) {
    if (present.count(name) == 0) {
      CHECK_THROWS_WITH(isa::table_for_level(name), BackendUnavailableError, name);
    }
  }
}

/// What kernels() does in a fresh process with VEILSUM_ISA=value (null: unset): the level's name,
/// or the error's class.
std::string in_new_process(const char* value) {
  int ends[2];
  if (pipe(ends) != 0) return "no pipe";
  const pid_t child = fork();
  if (child == 0) {
    if (value == nullptr) {
      unsetenv("VEILSUM_ISA");
    } else {
      setenv("VEILSUM_ISA", value, 1);
    }
    std::string outcome;
    try {
      outcome = isa::kernels().level;
    } catch (const ParameterError&) {
      outcome = "ParameterError";
    } catch (const BackendUnavailableError&) {
      outcome = "BackendUnavailableError";
    }
    const ssize_t written = write(ends[1], outcome.data(), outcome.size());
    _exit(written == static_cast<ssize_t>(outcome.size()) ? 0 : 1);
  }
  close(ends[1]);
  char text[64];
  const ssize_t size = read(ends[0], text, sizeof text);
  close(ends[0]);
  int status = 0;
  waitpid(child, &status, 0);
  return size < 0 ? "no answer" : std::string(text, static_cast<std::size_t>(size));
}

// Before any other use of kernels() in this program: the children inherit what it has chosen.
TEST("environment: VEILSUM_ISA forces a level, nonsense and absent levels fail") {
  const std::string best = isa::levels_present().back()->level;
  CHECK_EQ(in_new_process(nullptr), best);
  CHECK_EQ(in_new_process(""), best);
  CHECK_EQ(in_new_process("neon"), "ParameterError");
  CHECK_EQ(in_new_process("SCALAR"), "ParameterError");
  std::set<std::string> present;
  for (const KernelTable* table : isa::levels_present()) present.insert(table->level);
  for (const char* name : {"scalar", "avx2", "avx512"}) {
    CHECK_EQ(in_new_process(name), present.count(name) != 0 ? name : "BackendUnavailableError");
  }
}

TEST("tests can switch the active level, and a higher level is a faster one") {
  double slower = 1e9;
  for (const KernelTable* table : isa::levels_present()) {
    isa::set_active_level_for_tests(table->level);
    CHECK(&isa::kernels() == table);
    CHECK(isa::nanoseconds_per_residue() > 0);
    CHECK(isa::nanoseconds_per_residue() < slower);
    slower = isa::nanoseconds_per_residue();
  }
}

}  // namespace
}  // namespace veilsum::test
