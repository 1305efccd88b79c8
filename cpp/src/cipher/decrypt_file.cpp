// Layer: cipher. See decrypt_file.h. Spans and portions as in encrypt_file.cpp; the journal holds
// checksums and the hashes of finished portions (SumHashes), which are as secret as the numbers.
#include "cipher/decrypt_file.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "base/parallel.h"
#include "cipher/block_decryptor.h"
#include "cipher/element.h"
#include "cipher/hash_records.h"
#include "isa/dispatch.h"
#include "scheme/journal.h"
#include "scheme/portions.h"
#include "scheme/wire.h"
#include "veilsum/errors.h"

namespace veilsum::cipher {
namespace {

using isa::ElementType;
using scheme::blocks_in_step;
using scheme::Round;
using scheme::ScratchPool;
using scheme::Spans;
using scheme::spans_in_portion;

/// IEEE 754 binary16 of a finite double, ties to even, in one rounding.
std::uint16_t to_half(double value) {
  const unsigned sign = std::signbit(value) ? 0x8000u : 0u;
  const double magnitude = std::fabs(value);
  if (magnitude < 0x1p-14) {  // subnormal: units of 2^-24; 1024 of them are the least normal number
    return static_cast<std::uint16_t>(sign |
                                      static_cast<unsigned>(std::nearbyint(magnitude * 0x1p24)));
  }
  // Rounds at the tenth bit of the fraction; a carry moves on into the exponent, as it should.
  std::uint64_t bits = std::bit_cast<std::uint64_t>(magnitude);
  bits += (std::uint64_t{1} << 41) - 1 + (bits >> 42 & 1);
  const std::uint64_t top = (bits >> 42) - (std::uint64_t{1023 - 15} << 10);
  return static_cast<std::uint16_t>(sign | (top < 0x7c00u ? static_cast<unsigned>(top) : 0x7c00u));
}

std::uint16_t to_bfloat16(float value) {
  std::uint32_t bits = std::bit_cast<std::uint32_t>(value);
  bits += 0x7fffu + (bits >> 16 & 1u);  // finite values cannot wrap
  return static_cast<std::uint16_t>(bits >> 16);
}

template <typename From, typename To, typename F>
void convert_each(const void* from, std::uint64_t count, void* out, F f) {
  const auto* source = static_cast<const From*>(from);
  auto* target = static_cast<To*>(out);
  for (std::uint64_t i = 0; i < count; ++i) target[i] = f(source[i]);
}

template <typename From>
void convert_from(const void* from, std::uint64_t count, ElementType to, void* out) {
  switch (to) {
    case ElementType::kFloat64:
      convert_each<From, double>(from, count, out, [](From x) { return static_cast<double>(x); });
      break;
    case ElementType::kFloat32:
      convert_each<From, float>(from, count, out, [](From x) { return static_cast<float>(x); });
      break;
    case ElementType::kFloat16:
      convert_each<From, std::uint16_t>(from, count, out,
                                        [](From x) { return to_half(static_cast<double>(x)); });
      break;
    case ElementType::kBfloat16:
      convert_each<From, std::uint16_t>(from, count, out,
                                        [](From x) { return to_bfloat16(static_cast<float>(x)); });
      break;
  }
}

void check_targets(const Round& round, std::size_t prefix_bytes,
                   std::span<const FileTarget> targets, std::uint64_t file_bytes) {
  if (targets.size() != round.segments().size()) {
    throw ParameterError(std::to_string(targets.size()) + " targets for the " +
                         std::to_string(round.segments().size()) + " tensors of the round");
  }
  for (std::size_t i = 0; i < targets.size(); ++i) {
    const FileTarget& target = targets[i];
    if (target.count != round.segments()[i].count || target.offset < prefix_bytes ||
        target.offset > file_bytes ||
        target.count > (file_bytes - target.offset) / element_bytes(target.type)) {
      throw ParameterError("the place of tensor " + std::to_string(i) +
                           " in the file does not fit the round's layout");
    }
  }
}

std::vector<scheme::JournalFact> facts_of(const scheme::SumKey& key,
                                          const std::optional<Digest>& digest,
                                          const scheme::AggregateFile& total, ByteView prefix,
                                          std::span<const FileTarget> targets,
                                          const DecryptOptions& options) {
  ByteWriter kind;
  kind.text("decrypt");
  ByteWriter sum;
  sum.raw(total.manifest().digest());
  total.file().identity().write(sum);
  ByteWriter shape;
  shape.raw(prefix);
  for (const FileTarget& target : targets) {
    shape.u64(target.offset);
    shape.u64(target.count);
    shape.u8(static_cast<std::uint8_t>(target.type));
  }
  shape.u8(static_cast<std::uint8_t>(options.type));
  shape.u8(options.average ? 1 : 0);
  if (options.tag != nullptr) shape.raw(options.tag->key.fingerprint());
  if (const scheme::BlocksCheck* check = key.blocks_check()) shape.raw(check->fingerprint());
  if (digest) shape.raw(*digest);
  return {{"it is the journal of another kind of run", kind.take()},
          {"the encrypted sum is another file, or it was changed since the run began", sum.take()},
          {"dtype, layout, average, tag key or sum key are other ones", shape.take()}};
}

class FileDecryption {
 public:
  FileDecryption(const scheme::SumKey& key, const scheme::AggregateFile& total,
                 const std::string& path, ByteView prefix, std::span<const FileTarget> targets,
                 std::uint64_t file_bytes, const DecryptOptions& options, bool resume)
      : digest_(key.blocks_digest()),
        bound_(digest_ ? std::optional(key.for_two_readings()) : std::nullopt),
        key_(bound_ ? *bound_ : key),
        total_(total),
        round_(total.round()),
        targets_(targets),
        options_(options),
        spans_(round_),
        decryptor_(key_, total.manifest(), options),
        hashes_(key_, options) {
    check_targets(round_, prefix.size(), targets, file_bytes);
    output_ = std::make_unique<scheme::ResumableOutput>(
        path, file_bytes, resume, facts_of(key_, digest_, total, prefix, targets, options));
    output_->read_history([&](ByteView record) {
      ByteReader in(record, "a record");
      const std::uint64_t first = in.u64();
      Done done{{}, SumHashes(key_, options)};
      const std::uint32_t count = in.u32();
      ByteReader sums(in.raw(std::uint64_t{count} * 8), "a record");  // they are there, then room
      done.spans.reserve(count);
      for (std::uint32_t i = 0; i < count; ++i) {
        const std::uint32_t of_input = sums.u32();
        done.spans.push_back({of_input, sums.u32()});
      }
      for (ring::TagSum* hash : {done.hashes.digits(), done.hashes.blocks()}) {
        if (hash != nullptr) hash->add(read_hash(in, hash->field()));
      }
      in.finish();
      done_.insert_or_assign(first, std::move(done));
    });
    output_->file().write_at(0, prefix);
  }

  void run() {
    try {
      decrypt();
    } catch (const TamperedSumError&) {
      output_->discard();
      total_.check_damage();  // damage is told before anything else
      throw;
    } catch (const VeilsumError&) {
      output_->discard();
      throw;
    }
  }

 private:
  struct Checksums {
    std::uint32_t in = 0;
    std::uint32_t out = 0;
  };
  /// What an earlier run wrote of a portion.
  struct Done {
    std::vector<Checksums> spans;
    SumHashes hashes;
  };
  struct Scratch {
    Scratch(const BlockDecryptor& decryptor, OutputFile& output, std::size_t in_bytes,
            std::size_t values)
        : blocks(decryptor),
          packed(in_bytes),
          flat(values * 8),
          narrow(values * 8),
          writes(output) {}
    BlockDecryptor::Scratch blocks;
    AlignedBuffer<std::uint8_t> packed;
    SecretBuffer<std::uint8_t> flat;
    SecretBuffer<std::uint8_t> narrow;
    GatheredWrites writes;
  };

  void decrypt() {
    std::optional<ring::TagSum> seen;
    if (digest_) seen = check_digest();
    check_keys();
    const std::uint64_t portion = spans_in_portion(options_.threads);
    std::uint32_t crc = 0;
    std::uint64_t count = 0;
    for (std::uint64_t first = 0; first < spans_.count(); first += count) {
      count = std::min(portion, spans_.count() - first);
      if (!take_over(first, count)) make(first, count);
      for (std::uint64_t i = 0; i < count; ++i) {
        crc = scheme::crc32c_combine(crc, results_[static_cast<std::size_t>(i)].in,
                                     spans_.bytes(first + i));
      }
      const std::uint64_t end = spans_.end_value(first + count - 1);
      for_each_target(
          spans_.first_value(first), end,
          [&](const FileTarget& target, std::uint64_t offset, std::uint64_t, std::uint64_t values) {
            output_->file().flush_range(offset, values * element_bytes(target.type));
          });
      if (options_.progress) options_.progress(end, round_.size());
    }
    const bool holds = seen ? hashes_.blocks()->equals(*seen) : hashes_.hold(key_, options_);
    if (!good_.load() || !holds) refuse_sum();
    total_.check_checksum(crc);
    output_->commit();
  }

  /// Reads all blocks for the digest that the key names, and returns their keyed hash: the second
  /// reading, of which the numbers are made, must have the same. Who can write to the file could
  /// else change it in between, checksum included.
  ring::TagSum check_digest() const {
    const ring::BlocksHash hash(key_.blocks_check()->key);
    const scheme::AggregateFile::Reading read = total_.read_blocks(options_.threads, hash);
    if (read.digest != digest_) refuse_sum();
    return read.hash;
  }

  /// Looks at the check blocks, so that nothing is given out under a wrong key: nothing is
  /// decrypted, even, unless the end decides for all of the sum. They are hashed with their span.
  void check_keys() {
    AlignedBuffer<std::uint8_t> packed(spans_.block_bytes());
    BlockDecryptor::Scratch scratch(decryptor_);
    for (std::uint64_t block = round_.value_blocks(); block < round_.blocks(); ++block) {
      const std::span<std::uint8_t> bytes = packed.span().first(spans_.bytes_of(block, 1));
      total_.file().read_at(total_.blocks_offset() + spans_.offset_of(block), bytes);
      if (decryptor_.decrypt(block, 1, bytes, scratch, nullptr, nullptr)) continue;
      if (!works_through_) refuse_sum();
      good_.store(false, std::memory_order_relaxed);
    }
  }

  /// Calls f(segment's target, offset in the file, first value, count) for each run of values.
  template <typename F>
  void for_each_target(std::uint64_t first, std::uint64_t end, F f) const {
    for (std::size_t segment = round_.segment_of(first);
         segment < targets_.size() && round_.starts()[segment] < end; ++segment) {
      const std::uint64_t from = std::max(first, round_.starts()[segment]);
      const std::uint64_t to = std::min(end, round_.starts()[segment + 1]);
      if (from >= to) continue;
      const FileTarget& target = targets_[segment];
      f(target, target.offset + (from - round_.starts()[segment]) * element_bytes(target.type),
        from, to - from);
    }
  }

  /// True when an earlier run wrote these spans and they are still right; `count` becomes its own.
  bool take_over(std::uint64_t first, std::uint64_t& count) {
    const auto found = done_.find(first);
    if (found == done_.end() || found->second.spans.empty() ||
        found->second.spans.size() > spans_.count() - first) {
      return false;
    }
    count = found->second.spans.size();
    results_ = found->second.spans;
    std::atomic<bool> good{true};
    parallel_for(
        static_cast<std::size_t>(count), options_.threads, [] { return Bytes(); },
        [&](std::size_t item, Bytes& buffer) {
          const std::uint64_t span = first + item;
          std::uint32_t crc = 0;
          // Step by step, as it was written: the same order of runs, the same checksum.
          for_each_step(span, [&](std::uint64_t block, std::uint64_t blocks) {
            for_each_target(
                spans_.values_before(block), spans_.values_before(block + blocks),
                [&](const FileTarget& target, std::uint64_t offset, std::uint64_t,
                    std::uint64_t values) {
                  buffer.resize(static_cast<std::size_t>(values * element_bytes(target.type)));
                  if (!output_->file().read_at(offset, buffer)) good.store(false);
                  crc = isa::kernels().crc32c(crc, buffer.data(), buffer.size());
                });
          });
          if (crc != results_[item].out) good.store(false);
        });
    if (good.load()) {
      hashes_.add(found->second.hashes);
      return true;
    }
    count = std::min(spans_in_portion(options_.threads), spans_.count() - first);
    return false;
  }

  template <typename F>
  void for_each_step(std::uint64_t span, F f) const {
    const std::uint64_t step = blocks_in_step(spans_);
    const std::uint64_t last = spans_.first_block(span) + spans_.blocks(span);
    for (std::uint64_t block = spans_.first_block(span); block < last; block += step) {
      f(block, std::min(step, last - block));
    }
  }

  void make(std::uint64_t first, std::uint64_t count) {
    results_.assign(static_cast<std::size_t>(count), {});
    const std::uint64_t step = blocks_in_step(spans_);
    SumHashes portion(key_, options_);
    std::mutex guard;
    parallel_for(
        static_cast<std::size_t>(count), options_.threads,
        [&] {
          return pool_.take([&] {
            return std::make_unique<Scratch>(
                decryptor_, output_->file(), step * spans_.block_bytes(),
                static_cast<std::size_t>(step * round_.plan().block_capacity()));
          });
        },
        [&](std::size_t item, auto& lease) {
          Checksums& result = results_[item];
          SumHashes hashes(key_, options_);
          for_each_step(first + item, [&](std::uint64_t block, std::uint64_t blocks) {
            decrypt_step(block, blocks, *lease, result, hashes);
          });
          const std::lock_guard<std::mutex> lock(guard);
          portion.add(hashes);
        });
    pool_.for_each([](Scratch& scratch) { scratch.writes.flush(); });
    hashes_.add(portion);
    // What was refused already is not told before the end, but no later run may take it over.
    if (!output_->journaled() || !good_.load()) return;
    ByteWriter record(16 + 8 * results_.size() + 2 * kHashBytes);
    record.u64(first);
    record.u32(static_cast<std::uint32_t>(count));
    for (const Checksums& crc : results_) {
      record.u32(crc.in);
      record.u32(crc.out);
    }
    record_with_hashes(*output_, std::move(record), {portion.digits(), portion.blocks()});
  }

  void decrypt_step(std::uint64_t block, std::uint64_t blocks, Scratch& scratch, Checksums& result,
                    SumHashes& hashes) {
    const auto crc32c = isa::kernels().crc32c;
    const std::span<std::uint8_t> packed =
        scratch.packed.span().first(spans_.bytes_of(block, blocks));
    total_.file().read_at(total_.blocks_offset() + spans_.offset_of(block), packed);
    result.in = crc32c(result.in, packed.data(), packed.size());
    if (!decryptor_.decrypt(block, blocks, packed, scratch.blocks, scratch.flat.data(), &hashes)) {
      if (!works_through_) refuse_sum();
      good_.store(false, std::memory_order_relaxed);  // and on, as with any other block
    }
    const std::uint64_t start = spans_.values_before(block);
    for_each_target(
        start, spans_.values_before(block + blocks),
        [&](const FileTarget& target, std::uint64_t offset, std::uint64_t value,
            std::uint64_t values) {
          const std::uint8_t* bytes =
              scratch.flat.data() + (value - start) * element_bytes(options_.type);
          if (target.type != options_.type) {
            convert_values(bytes, options_.type, values, target.type, scratch.narrow.data());
            bytes = scratch.narrow.data();
          }
          const ByteView done(bytes, static_cast<std::size_t>(values * element_bytes(target.type)));
          result.out = crc32c(result.out, done.data(), done.size());
          scratch.writes.write_at(offset, done);
        });
  }

  const std::optional<Digest> digest_;         // of the only blocks that the key is for
  const std::optional<scheme::SumKey> bound_;  // where there is one
  const scheme::SumKey& key_;
  const scheme::AggregateFile& total_;
  const Round& round_;
  std::span<const FileTarget> targets_;
  const DecryptOptions& options_;
  Spans spans_;
  BlockDecryptor decryptor_;
  std::unique_ptr<scheme::ResumableOutput> output_;
  std::map<std::uint64_t, Done> done_;
  std::vector<Checksums> results_;
  // Whether all blocks are looked at whatever was found: where the hash says what they are. Behind
  // a digest they are known to be the right ones before.
  const bool works_through_ = !digest_ && SumHashes(key_, options_).any();
  SumHashes hashes_;  // of the portions that are done; the last has the check blocks, too
  std::atomic<bool> good_{true};
  ScratchPool<Scratch> pool_;
};

}  // namespace

void convert_values(const void* from, ElementType type, std::uint64_t count, ElementType to,
                    void* out) {
  if (type == ElementType::kFloat64) {
    convert_from<double>(from, count, to, out);
  } else {
    convert_from<float>(from, count, to, out);
  }
}

void decrypt_file(const scheme::SumKey& key, const scheme::AggregateFile& total,
                  const std::string& path, ByteView prefix, std::span<const FileTarget> targets,
                  std::uint64_t file_bytes, const DecryptOptions& options, bool resume) {
  try {
    check_decryption(key, total.manifest(), options);
  } catch (const KeyMismatchError&) {
    total.check_damage();  // a damaged manifest is another one: say that it is damaged
    throw;
  }
  FileDecryption(key, total, path, prefix, targets, file_bytes, options, resume).run();
}

}  // namespace veilsum::cipher
