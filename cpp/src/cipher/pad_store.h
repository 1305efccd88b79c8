// Layer: cipher. Pads made ahead: background threads prepare uploads of one round while the process
// is busy with something else (training), so that encrypting is little more than reading the
// values. Takes part in nothing but preparing; encrypt.h uses it up.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "cipher/prepared.h"

namespace veilsum::cipher {

struct PadOptions {
  /// Bytes of pads that may be ready at a time. An upload takes all_pad_bytes(round), 48 bits a
  /// residue; what does not fit is left to the encryption.
  std::uint64_t budget_bytes = 0;
  std::uint64_t uploads = 1;  ///< prepare at most so many
  int threads = 1;            ///< in the background, at the lowest priority
};

/// Prepared uploads of one round. Each is handed out once; those that are left are wiped with the
/// store. Safe to use from several threads; encrypting never waits for a background thread, except
/// for one that is just copying a block.
///
/// A store belongs to the process that made it. A forked child holds the same pads as its parent,
/// and two messages under one pad give away their difference: in the child, take() is refused.
class PadStore {
 public:
  using SeedSource = std::function<UploadSeeds()>;

  /// Starts to prepare at once.
  /// @param seeds for tests only; a seed that comes twice breaks the secrecy of both uploads
  /// @throws ParameterError when the budget holds no block, or a count is outside its range
  /// @throws std::bad_alloc
  PadStore(const scheme::Round& round, const PadOptions& options,
           SeedSource seeds = UploadSeeds::fresh);
  PadStore(const PadStore&) = delete;
  PadStore& operator=(const PadStore&) = delete;
  ~PadStore();

  const scheme::Round& round() const noexcept;
  const PadOptions& options() const noexcept;

  /// Bytes of the pads that are ready; 0 in a forked child.
  std::uint64_t ready_bytes() const noexcept;
  /// Bytes that will be ready once everything is prepared, less what was taken.
  std::uint64_t planned_bytes() const noexcept;
  /// Processor seconds that the background threads have spent.
  double background_seconds() const noexcept;

  /// Waits until everything planned is ready, at most `timeout_s` seconds.
  /// @returns false when time ran out or preparing has ended early
  bool wait(double timeout_s);
  /// True when no more will be prepared than is: closed, out of memory, or in a forked child.
  bool stopped() const noexcept;

  /// The next upload, prepared as far as the threads have come; a fresh one, with nothing prepared,
  /// when none is left.
  /// @throws RoundError in a forked child
  /// @throws ParameterError when the store is closed
  PreparedUpload take();

  /// Ends the background threads, after the block that each works on, and wipes what is left.
  void close() noexcept;
  bool closed() const noexcept;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace veilsum::cipher
