// Layer: scheme. See round.h.
#include "scheme/round.h"

#include <algorithm>
#include <cmath>

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

/// Who opens and who reads: rules 2 and 3.
void check_readers(const Cipher& cipher, const Committee* committee, const RoundFields& fields) {
  const bool shared = committee != nullptr || fields.group;
  if (shared && cipher.engine() != Engine::kNative) {
    throw RoundError("engine '" + engine_name(cipher.engine()) +
                     "' has no committees with a threshold and no sum tags; use the native engine "
                     "(Plan(engine=\"native\"))");
  }
  if (committee != nullptr && fields.roster.empty()) {
    throw RoundError(
        "a committee opens rounds with a roster only: without one, an aggregator could invent all "
        "clients but one (Round(..., roster=...))");
  }
  if (fields.group && fields.roster.empty()) {
    throw RoundError("a group is the clients of a roster (Round(..., roster=..., group=...))");
  }
  if (committee != nullptr && fields.group.has_value() == fields.reader.has_value()) {
    throw RoundError(
        "a committee's answers are sealed to one reader: the clients (Round(..., "
        "group=group.commitment)) or a server (Round(..., reader=identity.public))");
  }
  if (fields.group) {
    const ByteView key = fields.group->reading_key;
    const char* weak = weakness_of_encapsulation_key(key.first(kEncapsulationKeyBytes));
    if (weak == nullptr) weak = weakness_of_exchange_key(key.subspan(kEncapsulationKeyBytes));
    if (weak != nullptr) throw ParameterError("the group's reading key " + std::string(weak));
  }
  if (committee == nullptr && fields.reader) {
    throw RoundError(
        "reader= is for rounds of a committee; one key holder hands the sum key to whom it likes");
  }
  if (shared && cipher.weight_bits() != 0) {
    throw RoundError(
        "rounds that a committee opens, or whose clients read, sum with equal weights only: with "
        "others the sum key shows every upload's key. Plan without weight_bits, and let clients "
        "apply their weights (encrypt(..., weight=...))");
  }
  if (!fields.step) return;
  const std::string& purpose = fields.step->purpose;
  const bool printable =
      std::all_of(purpose.begin(), purpose.end(), [](char c) { return c > ' ' && c <= '~'; });
  if (purpose.empty() || purpose.size() > TrainingStep::kMostPurposeBytes || !printable) {
    throw ParameterError("a step's purpose has 1 ... " +
                         std::to_string(TrainingStep::kMostPurposeBytes) +
                         " characters of printable ASCII without spaces");
  }
}

/// What a round says of its authority and its readers.
void write_readers(ByteWriter& out, const Authority& authority, const RoundFields& fields) {
  const auto* committee = std::get_if<Committee>(&authority);
  out.u8(committee == nullptr ? 1 : 2);
  if (committee == nullptr) {
    std::get<PublicKey>(authority).write_fields(out);
  } else {
    out.u32(committee->threshold());
    // Clients that are the members are not listed twice.
    const bool clients = committee->members() == fields.roster;
    out.u32(clients ? 0 : committee->size());
    if (!clients) {
      for (const PublicIdentity& member : committee->members()) out.raw(member.fields());
    }
  }
  out.u8(fields.group ? 1 : fields.reader ? 2 : 0);
  if (fields.group) {
    out.raw(fields.group->tag_key);
    out.raw(fields.group->reading_key);
  } else if (fields.reader) {
    out.raw(fields.reader->fields());
  }
  out.u8(fields.step ? 1 : 0);
  if (fields.step) {
    out.raw(fields.step->training);
    out.u64(fields.step->step);
    out.u8(static_cast<std::uint8_t>(fields.step->purpose.size()));
    out.text(fields.step->purpose);
    out.raw(fields.step->history);
  }
}

std::vector<PublicIdentity> read_identities(ByteReader& in, std::uint32_t count,
                                            const std::string& each, const std::string& all) {
  if (std::uint64_t{count} * PublicIdentity::kLeastBytes > in.remaining()) {
    in.fail("more identities than bytes");
  }
  std::vector<PublicIdentity> out;
  out.reserve(count);
  for (std::uint32_t i = 0; i < count; ++i) {
    try {
      out.push_back(PublicIdentity::read_fields(in));
    } catch (const ParameterError& error) {
      in.fail(each + " " + std::to_string(i) + " of the " + all + ": " + error.what());
    }
  }
  return out;
}

Authority read_readers(ByteReader& in, RoundFields& fields) {
  const std::uint8_t kind = in.u8();
  if (kind != 1 && kind != 2)
    in.fail("authorities of kind " + std::to_string(kind) + " are unknown");
  std::optional<Authority> authority;
  if (kind == 1) {
    authority = PublicKey::read_fields(in);
  } else {
    const std::uint32_t threshold = in.u32();
    const std::uint32_t count = in.u32();
    try {
      authority =
          Committee(count == 0 ? fields.roster : read_identities(in, count, "member", "committee"),
                    threshold);
    } catch (const ParameterError& error) {
      in.fail(error.what());
    }
    // One committee, one way to write it: else a round would have two ids.
    if (count != 0 && std::get<Committee>(*authority).members() == fields.roster) {
      in.fail("the committee is the roster, and is listed again");
    }
  }
  const std::uint8_t reader = in.u8();
  if (reader > 2) in.fail("readers of kind " + std::to_string(reader) + " are unknown");
  if (reader == 1) {
    GroupCommitment group;
    group.tag_key = in.array<32>();
    group.reading_key = in.array<GroupCommitment::kKemKeyBytes>();
    fields.group = group;
  } else if (reader == 2) {
    fields.reader = read_identities(in, 1, "reader", "round").front();
  }
  const std::uint8_t step = in.u8();
  if (step > 1) in.fail("flag " + std::to_string(step) + " is neither 0 nor 1");
  if (step == 1) {
    TrainingStep at;
    at.training = in.array<32>();
    at.step = in.u64();
    const ByteView purpose = in.raw(in.u8());
    at.purpose.assign(purpose.begin(), purpose.end());
    at.history = in.array<32>();
    fields.step = std::move(at);
  }
  return *std::move(authority);
}

}  // namespace

Round::Round(const Plan& plan, Authority authority, RoundFields fields)
    : Round(plan, std::move(authority), std::move(fields), random_seed()) {}

Round::Round(const Plan& plan, Authority authority, RoundFields fields,
             const std::array<std::uint8_t, 32>& seed)
    : Round(std::make_shared<const Plan>(plan), std::move(authority), std::move(fields), seed) {}

Round::Round(std::shared_ptr<const Cipher> cipher, Authority authority, RoundFields fields)
    : Round(std::move(cipher), std::move(authority), std::move(fields), random_seed()) {}

Round::Round(std::shared_ptr<const Cipher> shared, Authority authority, RoundFields fields,
             const std::array<std::uint8_t, 32>& seed) {
  if (shared == nullptr) throw ParameterError("a round needs a plan");
  const Cipher& cipher = *shared;
  const auto* key = std::get_if<PublicKey>(&authority);
  if (key != nullptr && key->engine() != cipher.engine()) {
    throw RoundError("the public key is of engine '" + engine_name(key->engine()) +
                     "', the plan of engine '" + engine_name(cipher.engine()) +
                     "'; a round has one engine, which its plan chooses");
  }
  const auto* committee = std::get_if<Committee>(&authority);
  check_readers(cipher, committee, fields);
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
    check_distinct(fields.roster);
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

  ByteWriter out(2048 + fields.layout.size() + 16 * fields.segments.size());
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
  std::array<bool, 3> signatures{};
  for (const PublicIdentity& client : fields.roster) {
    out.raw(client.fields());
    signatures[static_cast<std::size_t>(client.kind())] = true;
  }
  write_readers(out, authority, fields);

  const Digest id = ring::labelled_hash("veilsum/2/round", {out.bytes()});
  const ring::Expander matrix("veilsum/2/matrix", {}, seed, ring::KeySize::kAes128);
  const auto* native = dynamic_cast<const Plan*>(shared.get());
  contents_ = std::make_shared<const Contents>(
      Contents{std::move(shared), native, std::move(authority), std::move(fields), seed,
               std::move(starts), signatures, out.take(), id, matrix.key()});
}

const PublicKey& Round::public_key() const {
  const auto* key = std::get_if<PublicKey>(&contents_->authority);
  if (key != nullptr) return *key;
  throw RoundError("round " + short_hex(id()) + " is opened by a committee of " +
                   std::to_string(committee()->size()) +
                   " members (Member.endorse and answer), not by one key holder");
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
  fields.roster = read_identities(in, in.u32(), "client", "roster");
  Authority authority = read_readers(in, fields);
  in.finish();
  try {
    return Round(std::move(cipher), std::move(authority), std::move(fields), seed);
  } catch (const ParameterError& error) {
    in.fail(error.what());
  } catch (const HeadroomError& error) {
    in.fail(error.what());
  } catch (const RoundError& error) {
    in.fail(error.what());
  }
}

}  // namespace veilsum::scheme
