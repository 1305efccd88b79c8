// Layer: scheme. See round.h.
#include "scheme/round.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "base/entropy.h"
#include "base/shown.h"
#include "ring/expander.h"
#include "ring/sha256.h"
#include "scheme/wire.h"
#include "veilsum/errors.h"

namespace veilsum::scheme {
namespace {

constexpr std::uint64_t kMaxPayloadBytes = std::uint64_t{1} << 62;

std::array<std::uint8_t, 32> random_seed() {
  std::array<std::uint8_t, 32> seed{};
  os_entropy(seed);
  return seed;
}

std::vector<std::uint64_t> check_segments(const std::vector<Segment>& segments) {
  std::vector<std::uint64_t> starts{0};
  starts.reserve(segments.size() + 1);
  for (std::size_t i = 0; i < segments.size(); ++i) {
    const Segment& segment = segments[i];
    if (!std::isfinite(segment.limit) || !(segment.limit > 0)) {
      throw ParameterError("limit of segment " + std::to_string(i) +
                           " must be finite and positive");
    }
    // The scale (limit / L) and its inverse must be normal numbers in double.
    if (segment.limit < 1e-290 || segment.limit > 1e290) {
      throw ParameterError("limit of segment " + std::to_string(i) +
                           " is outside 1e-290 ... 1e290");
    }
    if (segment.count > kMaxValues || starts.back() + segment.count > kMaxValues) {
      throw ParameterError("a round holds at most 2^40 values; segment " + std::to_string(i) +
                           " goes beyond");
    }
    starts.push_back(starts.back() + segment.count);
  }
  if (starts.back() == 0) throw ParameterError("a round of 0 values has nothing to sum");
  return starts;
}

}  // namespace

Round::Round(const Plan& plan, const PublicKey& public_key, RoundFields fields)
    : Round(plan, public_key, std::move(fields), random_seed()) {}

Round::Round(const Plan& plan, const PublicKey& public_key, RoundFields fields,
             const std::array<std::uint8_t, 32>& seed)
    : Round(std::make_shared<const Plan>(plan), public_key, std::move(fields), seed) {}

Round::Round(std::shared_ptr<const Cipher> cipher, const PublicKey& public_key, RoundFields fields)
    : Round(std::move(cipher), public_key, std::move(fields), random_seed()) {}

Round::Round(std::shared_ptr<const Cipher> shared, const PublicKey& public_key, RoundFields fields,
             const std::array<std::uint8_t, 32>& seed) {
  if (shared == nullptr) throw ParameterError("a round needs a plan");
  const Cipher& cipher = *shared;
  if (public_key.engine() != cipher.engine()) {
    throw RoundError("the public key is of engine '" + engine_name(public_key.engine()) +
                     "', the plan of engine '" + engine_name(cipher.engine()) +
                     "'; a round has one engine, which its plan chooses");
  }
  std::vector<std::uint64_t> starts = check_segments(fields.segments);
  if (fields.min_clients < kMinClientsFloor || fields.min_clients > cipher.clients()) {
    throw ParameterError("min_clients = " + shown(fields.min_clients) + " is outside 2 ... " +
                         std::to_string(cipher.clients()) +
                         " (the plan's clients): a sum of one upload is that upload");
  }
  if (!fields.roster.empty()) {
    if (fields.roster.size() > cipher.clients()) {
      throw ParameterError("the roster names " + std::to_string(fields.roster.size()) +
                           " clients, the plan holds " + std::to_string(cipher.clients()));
    }
    if (fields.roster.size() < fields.min_clients) {
      throw ParameterError("the roster names " + std::to_string(fields.roster.size()) +
                           (fields.roster.size() == 1 ? " client" : " clients") +
                           ", fewer than min_clients = " + std::to_string(fields.min_clients));
    }
    for (std::size_t i = 0; i < fields.roster.size(); ++i) {
      if (const char* reason = weakness(fields.roster[i])) {
        throw ParameterError("the key of client " + std::to_string(i) + " of the roster " + reason +
                             "; ask the client for the public key of its identity");
      }
    }
    if (std::set<VerificationKey>(fields.roster.begin(), fields.roster.end()).size() !=
        fields.roster.size()) {
      throw ParameterError("the roster names one verification key twice");
    }
  }
  if (fields.layout.size() > 0x7fffffffu) throw ParameterError("the layout is above 2 GiB");
  if (fields.upload_keys == 0) fields.upload_keys = cipher.default_upload_keys(starts.back());
  cipher.check_upload_keys(starts.back(), fields.upload_keys);
  // Offsets of blocks are 64-bit numbers, whatever block an engine thinks of.
  if (cipher.block_count(starts.back()) + fields.upload_keys >
      kMaxPayloadBytes / cipher.full_block_bytes()) {
    throw ParameterError("the blocks of " + std::to_string(starts.back()) +
                         " values are above 2^62 bytes; a block has " +
                         std::to_string(cipher.full_block_bytes()) + " and holds " +
                         std::to_string(cipher.block_capacity()) + " values");
  }
  if (fields.trust_aggregator && cipher.engine() == Engine::kNative) {
    throw ParameterError(
        "trust_aggregator is for engines whose key holder has to sum the uploads itself; the "
        "native one opens sealed keys, and needs no trust");
  }

  ByteWriter out(256 + fields.layout.size() + 16 * fields.segments.size());
  cipher.write_fields(out);
  out.raw(seed);
  out.u8(fields.trust_aggregator ? 1 : 0);
  out.u32(static_cast<std::uint32_t>(fields.min_clients));
  out.u32(static_cast<std::uint32_t>(fields.upload_keys));
  out.u32(static_cast<std::uint32_t>(fields.segments.size()));
  for (const Segment& segment : fields.segments) {
    out.u64(segment.count);
    out.f64(segment.limit);
  }
  out.u32(static_cast<std::uint32_t>(fields.layout.size()));
  out.text(fields.layout);
  out.u32(static_cast<std::uint32_t>(fields.roster.size()));
  for (const VerificationKey& key : fields.roster) out.raw(key);
  public_key.write_fields(out);

  const Digest id = ring::labelled_hash("veilsum/2/round", {out.bytes()});
  const ring::Expander matrix("veilsum/2/matrix", {}, seed, ring::KeySize::kAes128);
  const auto* native = dynamic_cast<const Plan*>(shared.get());
  contents_ = std::make_shared<const Contents>(Contents{std::move(shared), native, public_key,
                                                        std::move(fields), seed, std::move(starts),
                                                        out.take(), id, matrix.key()});
}

const Plan& Round::plan() const {
  if (contents_->native == nullptr) {
    throw RoundError("round " + short_hex(id()) + " is of engine '" +
                     engine_name(cipher().engine()) + "'; this is for the native engine's rounds");
  }
  return *contents_->native;
}

std::uint64_t Round::block_values(std::uint64_t block) const noexcept {
  const std::uint64_t capacity = cipher().block_capacity();
  return block < value_blocks() ? std::min(capacity, size() - block * capacity) : 0;
}

std::size_t Round::block_bytes(std::uint64_t block) const noexcept {
  return block < value_blocks() ? cipher().block_bytes(block_values(block))
                                : cipher().full_block_bytes();
}

std::uint32_t Round::block_coefficients(std::uint64_t block) const {
  return block < value_blocks() ? plan().block_coefficients(block_values(block)) : plan().degree();
}

std::uint64_t Round::block_offset(std::uint64_t block) const noexcept {
  const std::uint64_t full = cipher().full_block_bytes();
  const std::uint64_t before = value_blocks();
  if (block < before) return block * full;
  return cipher().payload_bytes(size()) + (block - before) * full;
}

std::size_t Round::segment_of(std::uint64_t at) const noexcept {
  const std::vector<std::uint64_t>& from = starts();
  return static_cast<std::size_t>(std::upper_bound(from.begin(), from.end(), at) - from.begin()) -
         1;
}

Bytes Round::to_bytes() const { return seal(ObjectKind::kRound, {contents_->wire_fields}); }

Round Round::from_bytes(ByteView bytes, const CipherReader* others) {
  const ByteView payload = open_envelope(bytes, ObjectKind::kRound);
  ByteReader in(payload, "round");
  std::shared_ptr<const Cipher> cipher;
  if (payload.empty() || payload[0] == static_cast<std::uint8_t>(Engine::kNative)) {
    cipher = std::make_shared<const Plan>(Plan::read_fields(in));
  } else if (others != nullptr) {
    const ByteView plan = in.raw(Cipher::kFieldBytes);
    try {
      cipher = others->read(plan);
    } catch (const ParameterError& error) {
      in.fail(error.what());
    } catch (const HeadroomError& error) {
      in.fail(error.what());
    }
    // The round's id is made of the plan's fields: a reader that gave another plan would rename it.
    ByteWriter found(Cipher::kFieldBytes);
    if (cipher != nullptr) cipher->write_fields(found);
    if (!std::equal(plan.begin(), plan.end(), found.bytes().begin(), found.bytes().end())) {
      in.fail("its plan was read as another one");
    }
  } else {
    in.fail("its engine, " + engine_name(static_cast<Engine>(payload[0])) + ", is not available");
  }
  const auto seed = in.array<32>();
  RoundFields fields;
  const std::uint8_t trust = in.u8();
  if (trust > 1) in.fail("flag " + std::to_string(trust) + " is neither 0 nor 1");
  fields.trust_aggregator = trust != 0;
  fields.min_clients = in.u32();
  fields.upload_keys = in.u32();
  if (fields.upload_keys == 0 && cipher->engine() == Engine::kNative) {
    in.fail("a round has at least one upload key");
  }
  const std::uint32_t segments = in.u32();
  // Checked against the bytes at hand before anything is reserved for it.
  if (std::uint64_t{segments} * 16 > in.remaining()) in.fail("more segments than bytes");
  fields.segments.resize(segments);
  for (Segment& segment : fields.segments) {
    segment.count = in.u64();
    segment.limit = in.f64();
  }
  const ByteView layout = in.raw(in.u32());
  fields.layout.assign(reinterpret_cast<const char*>(layout.data()), layout.size());
  const std::uint32_t roster = in.u32();
  if (std::uint64_t{roster} * 32 > in.remaining()) in.fail("more roster entries than bytes");
  fields.roster.resize(roster);
  for (VerificationKey& key : fields.roster) key = in.array<32>();
  const PublicKey public_key = PublicKey::read_fields(in);
  in.finish();
  try {
    return Round(std::move(cipher), public_key, std::move(fields), seed);
  } catch (const ParameterError& error) {
    in.fail(error.what());
  } catch (const HeadroomError& error) {
    in.fail(error.what());
  } catch (const RoundError& error) {
    in.fail(error.what());
  }
}

}  // namespace veilsum::scheme
