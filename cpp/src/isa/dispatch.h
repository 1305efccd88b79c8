// Layer: isa. Picks one kernel table for the process, the highest level that this build contains
// and this machine can run, or the one that VEILSUM_ISA=scalar|avx2|avx512 forces. Results never
// depend on the choice.
#pragma once

#include <string_view>
#include <vector>

#include "isa/kernels.h"

namespace veilsum::isa {

/// The active table. Chosen on the first call and then fixed; safe from any thread.
/// @throws ParameterError when VEILSUM_ISA is set, not empty, and names no level
/// @throws BackendUnavailableError when it names a level that this build or machine lacks
const KernelTable& kernels();

/// About how long the active level takes to make or to open one residue of a block, for choosing a
/// number of threads; adding a source to a sum takes about an eighth.
double nanoseconds_per_residue();

/// The levels that this build contains and this machine can run, ascending; never empty.
std::vector<const KernelTable*> levels_present();

/// The table of one level by name.
/// @throws ParameterError for an unknown name
/// @throws BackendUnavailableError for a level that this build or machine lacks
const KernelTable& table_for_level(std::string_view name);

/// Makes `name` the active level from now on, process-wide. For tests: work in other threads may go
/// on with the table it has already taken.
/// @throws as table_for_level
void set_active_level_for_tests(std::string_view name);

}  // namespace veilsum::isa
