// Layer: cipher. See pad_store.h.
//
// A background thread claims a block under the lock, makes its pad in memory of its own, and copies
// it to its upload only while that upload has not been taken. So whoever takes an upload waits at
// most for copies that have begun, not for threads of low priority that work on a block and may not
// get the processor for long.
#include "cipher/pad_store.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <mutex>
#include <string>
#include <utility>

#include "base/background.h"
#include "base/process.h"
#include "base/shown.h"
#include "veilsum/errors.h"

namespace veilsum::cipher {
namespace {

constexpr int kMostThreads = 4096;
constexpr std::uint64_t kMostUploads = 1 << 16;
constexpr double kMostSeconds = 1e9;

/// An upload that is being prepared. Guarded by the store's lock, but for the bytes of a block
/// between its claim and `ready`, which belong to the thread that copies.
struct Slot {
  Slot(const scheme::Round& round, const UploadSeeds& its_seeds, std::uint64_t blocks_planned,
       std::shared_ptr<PadWiper> wiper)
      : seeds(its_seeds),
        pads(static_cast<std::size_t>(pad_buffer_bytes(round)), std::move(wiper)),
        ready(static_cast<std::size_t>(round.blocks()), 0),
        planned(blocks_planned) {}

  UploadSeeds seeds;
  std::shared_ptr<const UploadSecrets> secrets;  ///< null until a thread has made them
  PadBuffer pads;
  std::vector<std::uint8_t> ready;
  std::uint64_t planned;  ///< blocks to prepare: the first so many
  std::uint64_t claimed = 0;
  std::uint64_t done = 0;
  std::uint64_t ready_bytes = 0;
  std::uint64_t planned_bytes = 0;
  int copying = 0;
  bool making_secrets = false;
  bool taken = false;

  bool has_work() const { return secrets == nullptr ? !making_secrets : claimed < planned; }
};

/// What a background thread works with.
struct Bench {
  explicit Bench(const scheme::Round& round) : maker(round), pad(full_pad_bytes(round)) {}
  PadMaker maker;
  SecretBuffer<std::uint8_t> pad;
};

/// How many blocks of an upload have pads of `bytes` bytes together.
std::uint64_t blocks_within(const scheme::Round& round, std::uint64_t bytes) {
  std::uint64_t blocks = std::min(bytes / full_pad_bytes(round), round.blocks());
  // A block that is short leaves room, for itself and for one behind it.
  while (blocks < round.blocks() && first_pad_bytes(round, blocks + 1) <= bytes) ++blocks;
  return blocks;
}

void check(const scheme::Round& round, const PadOptions& options) {
  const std::size_t least = pad_bytes(round, 0);
  if (options.budget_bytes < least) {
    throw ParameterError("budget_bytes = " + shown(options.budget_bytes) +
                         " holds no block of this round, which takes " + std::to_string(least) +
                         " bytes; a whole upload takes " + std::to_string(all_pad_bytes(round)) +
                         " (the round's pad_bytes): give that, or as much of it as memory allows");
  }
  if (options.uploads < 1 || options.uploads > kMostUploads) {
    throw ParameterError("uploads = " + shown(options.uploads) + " is outside 1 ... " +
                         std::to_string(kMostUploads));
  }
  if (options.threads < 1 || options.threads > kMostThreads) {
    throw ParameterError("threads = " + shown(options.threads) + " is outside 1 ... " +
                         std::to_string(kMostThreads));
  }
}

}  // namespace

struct PadStore::State {
  State(const scheme::Round& its_round, const PadOptions& its_options, SeedSource its_seeds)
      : round(its_round), options(its_options), seeds(std::move(its_seeds)) {
    std::uint64_t left = options.budget_bytes;
    for (std::uint64_t i = 0; i < options.uploads && left != 0; ++i) {
      const std::uint64_t planned = blocks_within(round, left);
      if (planned == 0) break;
      slots.push_back(std::make_shared<Slot>(round, seeds(), planned, wiper));
      slots.back()->planned_bytes = first_pad_bytes(round, planned);
      left -= slots.back()->planned_bytes;
    }
  }

  /// A slot with something to claim, earliest first.
  std::shared_ptr<Slot> next_slot() const {
    for (const std::shared_ptr<Slot>& slot : slots) {
      if (slot->has_work()) return slot;
    }
    return nullptr;
  }
  bool secrets_under_way() const {
    return std::any_of(slots.begin(), slots.end(), [](const auto& s) { return s->making_secrets; });
  }
  bool finished() const {
    return std::all_of(slots.begin(), slots.end(),
                       [](const auto& s) { return s->done == s->planned; });
  }

  void work() noexcept;
  void prepare(Bench& bench);
  void make_secrets(Slot& slot, std::unique_lock<std::mutex>& lock);
  void make_block(Slot& slot, Bench& bench, std::unique_lock<std::mutex>& lock);

  const scheme::Round round;
  const PadOptions options;
  const ProcessMark process;
  SeedSource seeds;  ///< called under the lock
  const std::shared_ptr<PadWiper> wiper = std::make_shared<PadWiper>();

  mutable std::mutex guard;
  std::condition_variable changed;
  std::deque<std::shared_ptr<Slot>> slots;  ///< not taken yet
  bool stopping = false;
  bool closed = false;
  double seconds = 0;
  std::mutex close_guard;  ///< one close() at a time; held while the threads end
  std::unique_ptr<BackgroundThreads> threads;
};

void PadStore::State::make_secrets(Slot& slot, std::unique_lock<std::mutex>& lock) {
  slot.making_secrets = true;
  const UploadSeeds its_seeds = slot.seeds;
  lock.unlock();
  auto made = std::make_shared<const UploadSecrets>(round, its_seeds);
  lock.lock();
  slot.making_secrets = false;
  if (!slot.taken) slot.secrets = std::move(made);
}

void PadStore::State::make_block(Slot& slot, Bench& bench, std::unique_lock<std::mutex>& lock) {
  const std::uint64_t block = slot.claimed++;
  const std::shared_ptr<const UploadSecrets> secrets = slot.secrets;
  lock.unlock();
  make_pad_into(round, *secrets, block, bench.maker, bench.pad.data());
  const std::size_t bytes = pad_bytes(round, block);
  const std::size_t offset = static_cast<std::size_t>(block) * full_pad_bytes(round);
  lock.lock();
  if (slot.taken) return;
  slot.pads.touch(offset + bytes);
  ++slot.copying;
  lock.unlock();
  std::memcpy(slot.pads.data() + offset, bench.pad.data(), bytes);
  lock.lock();
  --slot.copying;
  slot.ready[block] = 1;
  slot.ready_bytes += bytes;
  ++slot.done;
}

void PadStore::State::prepare(Bench& bench) {
  std::unique_lock<std::mutex> lock(guard);
  while (!stopping) {
    const std::shared_ptr<Slot> slot = next_slot();
    if (slot == nullptr) {
      if (!secrets_under_way()) return;
      changed.wait(lock);
      continue;
    }
    const double before = thread_cpu_seconds();
    if (slot->secrets == nullptr) {
      make_secrets(*slot, lock);
    } else {
      make_block(*slot, bench, lock);
    }
    seconds += thread_cpu_seconds() - before;
    changed.notify_all();
  }
}

void PadStore::State::work() noexcept {
  try {
    Bench bench(round);
    prepare(bench);
  } catch (...) {
    // No memory: what is ready is ready, the encryption makes the rest.
    const std::lock_guard<std::mutex> lock(guard);
    stopping = true;
    changed.notify_all();
  }
}

PadStore::PadStore(const scheme::Round& round, const PadOptions& options, SeedSource seeds) {
  check(round, options);
  state_ = std::make_unique<State>(round, options, std::move(seeds));
  State* state = state_.get();
  state->threads = std::make_unique<BackgroundThreads>(options.threads, [state] { state->work(); });
  if (state->threads->count() == 0) {  // the system grants none: the encryption makes everything
    const std::lock_guard<std::mutex> lock(state->guard);
    state->stopping = true;
  }
}

PadStore::~PadStore() {
  if (!state_->process.is_here()) {
    // The threads are not in this process, and whoever held a lock when it was forked holds it for
    // ever: what the child has of the store can only be left alone.
    (void)state_.release();  // NOLINT(bugprone-unused-return-value)
    return;
  }
  close();
}

const scheme::Round& PadStore::round() const noexcept { return state_->round; }
const PadOptions& PadStore::options() const noexcept { return state_->options; }

std::uint64_t PadStore::ready_bytes() const noexcept {
  if (!state_->process.is_here()) return 0;
  const std::lock_guard<std::mutex> lock(state_->guard);
  std::uint64_t bytes = 0;
  for (const auto& slot : state_->slots) bytes += slot->ready_bytes;
  return bytes;
}

std::uint64_t PadStore::planned_bytes() const noexcept {
  if (!state_->process.is_here()) return 0;
  const std::lock_guard<std::mutex> lock(state_->guard);
  std::uint64_t bytes = 0;
  for (const auto& slot : state_->slots) bytes += slot->planned_bytes;
  return bytes;
}

double PadStore::background_seconds() const noexcept {
  if (!state_->process.is_here()) return 0;
  const std::lock_guard<std::mutex> lock(state_->guard);
  return state_->seconds;
}

bool PadStore::wait(double timeout_s) {
  if (!state_->process.is_here()) return false;
  const std::chrono::duration<double> timeout(std::clamp(timeout_s, 0.0, kMostSeconds));
  std::unique_lock<std::mutex> lock(state_->guard);
  state_->changed.wait_for(lock, timeout,
                           [this] { return state_->stopping || state_->finished(); });
  return !state_->closed && state_->finished();
}

bool PadStore::stopped() const noexcept {
  if (!state_->process.is_here()) return true;
  const std::lock_guard<std::mutex> lock(state_->guard);
  return state_->stopping;
}

PreparedUpload PadStore::take() {
  State& state = *state_;
  if (!state.process.is_here()) {
    throw RoundError(
        "this PadStore was made in the process that this one was forked from, which "
        "holds the same pads; a pad is used once: make a new PadStore here");
  }
  std::unique_lock<std::mutex> lock(state.guard);
  if (state.closed) {
    throw ParameterError("the PadStore is closed; make a new one, or encrypt without pads");
  }
  if (state.slots.empty()) {
    const UploadSeeds seeds = state.seeds();
    lock.unlock();
    return PreparedUpload(state.round, seeds);
  }
  const std::shared_ptr<Slot> slot = std::move(state.slots.front());
  state.slots.pop_front();
  slot->taken = true;
  state.changed.wait(lock, [&] { return slot->copying == 0; });
  state.changed.notify_all();  // it may have been the last one that somebody waits for
  lock.unlock();
  if (slot->secrets == nullptr) {
    slot->secrets = std::make_shared<const UploadSecrets>(state.round, slot->seeds);
  }
  return PreparedUpload(state.round, slot->secrets, std::move(slot->pads), std::move(slot->ready));
}

void PadStore::close() noexcept {
  State& state = *state_;
  if (!state.process.is_here()) return;
  const std::lock_guard<std::mutex> closing(state.close_guard);
  {
    const std::lock_guard<std::mutex> lock(state.guard);
    state.stopping = true;
    state.closed = true;
    state.changed.notify_all();
  }
  state.threads->join();
  std::deque<std::shared_ptr<Slot>> left;
  {
    const std::lock_guard<std::mutex> lock(state.guard);
    left.swap(state.slots);
  }
}

bool PadStore::closed() const noexcept {
  if (!state_->process.is_here()) return false;
  const std::lock_guard<std::mutex> lock(state_->guard);
  return state_->closed;
}

}  // namespace veilsum::cipher
