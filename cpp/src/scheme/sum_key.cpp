// Layer: scheme. See sum_key.h.
#include "scheme/sum_key.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "base/file_io.h"
#include "base/shown.h"
#include "isa/dispatch.h"
#include "ring/fields.h"
#include "ring/sha256.h"
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

/// What binds the key of a plain or weighted sum to its blocks, on the wire. A committee's is bound
/// by the digest in its certificate, so that its key does not say it.
enum class Binding : std::uint8_t { kDigest = 1, kCheck = 2 };

bool says_what_binds(const Round& round) noexcept {
  return names_blocks(round) && round.committee() == nullptr;
}

Binding read_binding(ByteReader& in, const Round& round) {
  if (!says_what_binds(round)) return Binding::kDigest;
  const std::uint8_t binding = in.u8();
  if (binding != static_cast<std::uint8_t>(Binding::kDigest) &&
      binding != static_cast<std::uint8_t>(Binding::kCheck)) {
    in.fail("is bound to its blocks in a way of number " + std::to_string(binding) +
            ", which is unknown");
  }
  return static_cast<Binding>(binding);
}

/// The two values of a hash or a tag.
ring::TagSum read_values(ByteReader& in, const ring::TagField& field) {
  ring::TagSum::Values values{};
  for (std::uint64_t& value : values) value = in.u64();
  try {
    ring::TagSum sum(field, values);
    secure_wipe(values.data(), sizeof values);
    return sum;
  } catch (const ParameterError& error) {
    in.fail(error.what());
  }
}

}  // namespace

bool names_blocks(const Round& round) noexcept {
  return round.cipher().engine() == Engine::kNative && !round.tagged();
}

SumKey::SumKey(const Round& round, const Digest& manifest, std::uint64_t count,
               std::uint64_t total_weight, bool exportable, KeyCoefficients keys,
               std::optional<ring::TagSum> tag, std::optional<Digest> blocks_digest,
               std::optional<BlocksCheck> blocks_check)
    : round_(round),
      manifest_(manifest),
      count_(count),
      total_weight_(total_weight),
      exportable_(exportable),
      keys_(std::move(keys)),
      tag_(std::move(tag)),
      blocks_digest_(blocks_digest),
      blocks_check_(std::move(blocks_check)) {
  check_counts();
  check_binding();
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

void SumKey::check_binding() const {
  const bool digest = blocks_digest_.has_value(), check = blocks_check_.has_value();
  const bool fits = names_blocks(round_) ? digest != check : !digest && !check;
  if (tag_.has_value() != round_.tagged() || !fits || (check && round_.committee() != nullptr)) {
    throw ParameterError("a sum key has a tag, or is bound to blocks, just as its round asks");
  }
}

SumKey SumKey::for_two_readings() const {
  const SecretBuffer<std::uint8_t> packed = pack_coefficients();
  Digest digest = ring::labelled_hash("veilsum/2/two-readings-key",
                                      {round_.id(), manifest_, ByteView(packed.span())});
  BlocksCheck check{Seed(digest), ring::TagSum(ring::BlocksHash::field())};
  secure_wipe(digest.data(), digest.size());
  KeyCoefficients keys(keys_.size());
  std::copy(keys_.data(), keys_.data() + keys_.size(), keys.data());
  SumKey made(round_, manifest_, count_, total_weight_, false, std::move(keys), std::nullopt,
              blocks_digest_);
  made.blocks_digest_.reset();
  made.blocks_check_ = std::move(check);
  return made;
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
  ByteWriter fields(32 + 32 + 4 + 8 + 1 + 32 + 8 * isa::kTagEvaluations + body.size());
  fields.raw(round_.id());
  fields.raw(manifest_);
  fields.u32(static_cast<std::uint32_t>(count_));
  fields.u64(total_weight_);
  if (says_what_binds(round_)) {
    fields.u8(static_cast<std::uint8_t>(blocks_check_ ? Binding::kCheck : Binding::kDigest));
  }
  if (blocks_digest_) fields.raw(*blocks_digest_);
  if (blocks_check_) fields.raw(blocks_check_->key.span());
  for (const ring::TagSum* sum : {tag(), blocks_check_ ? &blocks_check_->value : nullptr}) {
    if (sum == nullptr) continue;
    for (const std::uint64_t value : sum->values()) fields.u64(value);
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
    std::optional<BlocksCheck> blocks_check;
    if (read_binding(in, round) == Binding::kCheck) {
      Seed key;
      const ByteView raw = in.raw(key.span().size());
      std::copy(raw.begin(), raw.end(), key.data());
      blocks_check = {key, read_values(in, ring::BlocksHash::field())};
    } else if (names_blocks(round)) {
      blocks_digest = in.array<32>();
    }
    std::optional<ring::TagSum> tag;
    if (round.tagged()) tag = read_values(in, tag_field(round));
    return SumKey(round, manifest, count, total_weight, true,
                  unpack_coefficients(in, round, total_weight), std::move(tag), blocks_digest,
                  std::move(blocks_check));
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
