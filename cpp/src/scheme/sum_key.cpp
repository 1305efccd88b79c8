// Layer: scheme. See sum_key.h.
#include "scheme/sum_key.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "base/file_io.h"
#include "base/shown.h"
#include "isa/dispatch.h"
#include "ring/fields.h"
#include "scheme/kept_files.h"
#include "scheme/key_shares.h"
#include "scheme/wire.h"
#include "veilsum/errors.h"

namespace veilsum::scheme {
namespace {

/// "3 uploads of total weight 4", when no sum of this round has so many; else nothing.
std::string counts_beyond(const Round& round, std::uint64_t count, std::uint64_t total_weight) {
  const std::uint64_t most = round.cipher().max_weight();
  if (count >= round.min_clients() && count <= total_weight && total_weight <= most) return {};
  return shown(count) + " uploads of total weight " + shown(total_weight);
}

/// Width of a sum key's packed coefficients, c + 8 W in [0, 16 W].
std::uint32_t key_bits(std::uint64_t total_weight) {
  return static_cast<std::uint32_t>(std::bit_width(2 * kErrorBound * total_weight));
}

}  // namespace

bool names_blocks(const Round& round, bool unit_weights) noexcept {
  if (round.cipher().engine() != Engine::kNative || round.tagged()) return false;
  return round.committee() != nullptr || !unit_weights;
}

SumKey::SumKey(const Round& round, const Digest& manifest, std::uint64_t count,
               std::uint64_t total_weight, bool exportable, KeyCoefficients keys,
               std::optional<ring::TagSum> tag, std::optional<Digest> blocks_digest)
    : round_(round),
      manifest_(manifest),
      count_(count),
      total_weight_(total_weight),
      exportable_(exportable),
      keys_(std::move(keys)),
      tag_(std::move(tag)),
      blocks_digest_(blocks_digest) {
  check_counts();
  if (tag_.has_value() != round.tagged() ||
      blocks_digest_.has_value() != names_blocks(round, count == total_weight)) {
    throw ParameterError("a sum key has a tag, or names the blocks, just as its round asks");
  }
}

SumKey::SumKey(const Round& round, const Digest& manifest, std::uint64_t count,
               std::uint64_t total_weight, SecretBuffer<std::uint8_t> body)
    : round_(round),
      manifest_(manifest),
      count_(count),
      total_weight_(total_weight),
      exportable_(true),
      body_(std::move(body)) {
  check_counts();
}

void SumKey::check_counts() const {
  const std::string beyond = counts_beyond(round_, count_, total_weight_);
  if (!beyond.empty()) {
    throw ParameterError("a sum key of " + beyond + ", which this round cannot have (" +
                         std::to_string(round_.min_clients()) + " uploads at least, a weight of " +
                         std::to_string(round_.cipher().max_weight()) + " at most)");
  }
}

SecretBuffer<std::uint8_t> SumKey::pack_coefficients() const {
  const isa::FieldTable& table = ring::field_table(key_bits(total_weight_));
  const std::uint64_t offset = kErrorBound * total_weight_;
  SecretBuffer<std::uint64_t> shifted(keys_.size());
  for (std::size_t j = 0; j < keys_.size(); ++j) {
    shifted[j] = static_cast<std::uint64_t>(keys_[j]) + offset;
  }
  SecretBuffer<std::uint8_t> packed(keys_.size() / isa::kGroup * table.bits);
  isa::kernels().pack_fields(shifted.data(), shifted.size(), table, packed.data());
  return packed;
}

KeyCoefficients SumKey::unpack_coefficients(ByteReader& in, const Round& round,
                                            std::uint64_t total_weight) {
  const isa::FieldTable& table = ring::field_table(key_bits(total_weight));
  const std::uint64_t offset = kErrorBound * total_weight;
  const std::size_t count = std::size_t{round.plan().degree()} * round.upload_keys();
  const ByteView packed = in.raw(count / isa::kGroup * table.bits);
  in.finish();  // before anything is allocated
  KeyCoefficients keys(count);
  SecretBuffer<std::uint64_t> shifted(keys.size());
  isa::kernels().unpack_fields(packed.data(), keys.size(), table, shifted.data());
  std::uint64_t beyond = 0;
  for (std::size_t j = 0; j < keys.size(); ++j) {
    beyond |= 2 * offset - shifted[j];  // its top bit is set when a coefficient is out of range
    keys[j] = static_cast<std::int64_t>(shifted[j] - offset);
  }
  if (beyond >> 63 != 0) in.fail("a coefficient is beyond the bound of this sum");
  return keys;
}

Bytes SumKey::to_bytes() const {
  if (!exportable_) {
    throw RoundError(
        "the key of a sum with weights other than 1 stays with whoever opened it: together with "
        "single uploads it can reveal them. Decrypt here, or, if the receiver holds no uploads, "
        "open with export=True");
  }
  const SecretBuffer<std::uint8_t> packed =
      keys_.empty() ? SecretBuffer<std::uint8_t>() : pack_coefficients();
  const std::span<const std::uint8_t> body = keys_.empty() ? body_.span() : packed.span();
  // Final size: no smaller copies are left.
  ByteWriter fields(32 + 32 + 4 + 8 + 32 + 8 * isa::kTagEvaluations + body.size());
  fields.raw(round_.id());
  fields.raw(manifest_);
  fields.u32(static_cast<std::uint32_t>(count_));
  fields.u64(total_weight_);
  if (blocks_digest_) fields.raw(*blocks_digest_);
  if (tag_) {
    for (const std::uint64_t value : tag_->values()) fields.u64(value);
  }
  fields.raw(body);
  Bytes payload = fields.take();
  Bytes out = seal(ObjectKind::kSumKey, {payload});
  secure_wipe(payload.data(), payload.size());
  return out;
}

void SumKey::save(const std::string& path) const {
  Bytes bytes = to_bytes();
  const ByteView parts[] = {bytes};
  try {
    write_object(path, parts, FileKind::kSecret);
  } catch (...) {
    secure_wipe(bytes.data(), bytes.size());
    throw;
  }
  secure_wipe(bytes.data(), bytes.size());
}

SumKey SumKey::from_bytes(ByteView bytes, const Round& round) {
  ByteReader in(open_envelope(bytes, ObjectKind::kSumKey), "sum key");
  const Digest round_id = in.array<32>();
  if (round_id != round.id()) {
    throw KeyMismatchError("the sum key belongs to round " + short_hex(round_id) +
                           ", not to round " + short_hex(round.id()));
  }
  const Digest manifest = in.array<32>();
  const std::uint32_t count = in.u32();
  const std::uint64_t total_weight = in.u64();
  const std::string beyond = counts_beyond(round, count, total_weight);
  if (!beyond.empty()) in.fail("says it sums " + beyond + ", which this round cannot have");
  if (round.cipher().engine() == Engine::kNative) {
    std::optional<Digest> blocks_digest;
    if (names_blocks(round, count == total_weight)) blocks_digest = in.array<32>();
    std::optional<ring::TagSum> tag;
    if (round.tagged()) {
      ring::TagSum::Values values{};
      for (std::uint64_t& value : values) value = in.u64();
      try {
        tag.emplace(tag_field(round), values);
      } catch (const ParameterError& error) {
        in.fail(error.what());
      }
    }
    return SumKey(round, manifest, count, total_weight, true,
                  unpack_coefficients(in, round, total_weight), std::move(tag), blocks_digest);
  }
  const ByteView rest = in.raw(in.remaining());
  SecretBuffer<std::uint8_t> body(rest.size());
  std::copy(rest.begin(), rest.end(), body.begin());
  return SumKey(round, manifest, count, total_weight, std::move(body));
}

SumKey SumKey::load(const std::string& path, const Round& round) {
  refuse_other_kind(path, ObjectKind::kSumKey);
  Bytes bytes = read_file(path, FileKind::kSecret);
  try {
    SumKey key = from_bytes(bytes, round);
    secure_wipe(bytes.data(), bytes.size());
    return key;
  } catch (...) {
    secure_wipe(bytes.data(), bytes.size());
    throw;
  }
}

}  // namespace veilsum::scheme
