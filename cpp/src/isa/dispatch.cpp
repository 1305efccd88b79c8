// Layer: isa. See dispatch.h. The one piece of process-wide state is the pointer to the active
// table; two threads that race to set it store the same value.
#include "isa/dispatch.h"

#include <atomic>
#include <cstdlib>
#include <string>

#include "isa/cpu.h"
#include "veilsum/errors.h"

namespace veilsum::isa {

// The build defines VEILSUM_HAVE_<LEVEL> when it compiles that level's folder.
#ifndef VEILSUM_HAVE_AVX2
const KernelTable* avx2_table() noexcept { return nullptr; }
#endif
#ifndef VEILSUM_HAVE_AVX512
const KernelTable* avx512_table() noexcept { return nullptr; }
#endif

namespace {

constexpr const char* kLevelNames = "scalar, avx2 or avx512";
constexpr const char* kVariable = "VEILSUM_ISA";

struct Level {
  const char* name;
  const KernelTable* (*table)() noexcept;
  double nanoseconds_per_residue;  ///< measured by bench/test_kernels.py on one core at 3 GHz
};

constexpr Level kLevels[] = {
    // ascending
    {"scalar", scalar_table, 65},
    {"avx2", avx2_table, 4.5},
    {"avx512", avx512_table, 2.5},
};

std::atomic<const KernelTable*> active_table{nullptr};

/// `source` says where the name came from, for the message.
const KernelTable& find_level(std::string_view name, const std::string& source) {
  for (const Level& level : kLevels) {
    if (name != level.name) continue;
    const KernelTable* table = level.table();
    if (table == nullptr) {
      throw BackendUnavailableError(
          source + ": this build of Veilsum does not contain the level '" + level.name +
          "'; unset " + kVariable + " to use the best level present");
    }
    const std::string missing = missing_features(level.name, read_cpuid());
    if (!missing.empty()) {
      throw BackendUnavailableError(source + ": this machine cannot run the level '" + level.name +
                                    "', it lacks: " + missing + "; unset " + kVariable +
                                    " to use the best level present");
    }
    return *table;
  }
  throw ParameterError(source + ": unknown instruction set level '" + std::string(name) +
                       "'; the levels are " + kLevelNames);
}

const KernelTable& choose() {
  const char* forced = std::getenv(kVariable);
  if (forced != nullptr && *forced != '\0') return find_level(forced, kVariable);
  return *levels_present().back();
}

}  // namespace

std::vector<const KernelTable*> levels_present() {
  const CpuidLeaves leaves = read_cpuid();
  std::vector<const KernelTable*> present;
  for (const Level& level : kLevels) {
    const KernelTable* table = level.table();
    if (table != nullptr && missing_features(level.name, leaves).empty()) present.push_back(table);
  }
  return present;
}

const KernelTable& kernels() {
  const KernelTable* table = active_table.load(std::memory_order_acquire);
  if (table == nullptr) {
    const KernelTable* chosen = &choose();
    // A test may have set a level in the meantime; what is there stays.
    if (active_table.compare_exchange_strong(table, chosen)) table = chosen;
  }
  return *table;
}

double nanoseconds_per_residue() {
  const std::string_view active = kernels().level;
  for (const Level& level : kLevels) {
    if (active == level.name) return level.nanoseconds_per_residue;
  }
  return kLevels[0].nanoseconds_per_residue;
}

const KernelTable& table_for_level(std::string_view name) {
  return find_level(name, "instruction set level");
}

void set_active_level_for_tests(std::string_view name) {
  active_table.store(&find_level(name, "set_active_level_for_tests"), std::memory_order_release);
}

}  // namespace veilsum::isa
