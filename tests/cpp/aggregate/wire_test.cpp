// Layer: tests (aggregate). Aggregates as bytes: the layout, the way there and back, and refusal of
// everything damaged. And the promise that holds for every object: reading untrusted bytes never
// asks for more memory than a small multiple of them, beyond what the round itself needs.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "aggregate/aggregate.h"
#include "check.h"
#include "scheme/aggregate_file.h"
#include "support/allocations.h"
#include "support/committees.h"
#include "support/damage.h"
#include "support/envelopes.h"
#include "support/rounds.h"
#include "support/signatures.h"
#include "support/temporary_folder.h"
#include "veilsum/errors.h"

namespace veilsum::test {
namespace {

using aggregate::Aggregate;
using aggregate::weighted_sum;
using scheme::Plan;
using scheme::Round;
using scheme::SecretKey;
using scheme::Upload;

Aggregate sum_of(const Round& round, const std::vector<std::uint64_t>& weights,
                 const scheme::SignatureVerifier* verifier = nullptr) {
  std::vector<Upload> uploads;
  std::vector<const Upload*> pointers;
  for (std::uint32_t k = 0; k < weights.size(); ++k) {
    uploads.push_back(make_upload(round, k + 1, k));
    if (round.has_roster()) sign(round, uploads.back(), k);
  }
  for (const Upload& upload : uploads) pointers.push_back(&upload);
  return weighted_sum(round, pointers, weights, verifier, 1);
}

TEST("the bytes of an aggregate, and of its opening request") {
  const Plan plan = make_plan(10, 16, 2, 128, "n2048");
  const SecretKey key = make_key();
  scheme::RoundFields fields = fields_of({{100, 1.0}});
  fields.roster = fake_roster(4);
  const FakeVerifier verifier;
  for (const bool with_roster : {false, true}) {
    if (!with_roster) fields.roster.clear();
    if (with_roster) fields.roster = fake_roster(4);
    const Round round = make_round(plan, key, fields);
    const Aggregate total = sum_of(round, {3, 1}, &verifier);
    ByteWriter out;
    out.raw(round.id());
    out.u32(2);
    for (std::uint32_t k = 0; k < 2; ++k) {
      const scheme::UploadHead& head = total.manifest().entries()[k].head;
      out.u64(k == 0 ? 3 : 1);
      out.u8(with_roster ? 1 : 0);
      out.u64(k + 1);
      if (with_roster) {
        out.u32(k);
        out.raw(*head.signature->blocks_digest);
        out.raw(head.signature->signature.bytes());
      }
      out.raw(nonce_of(k + 1));
      out.raw(head.part.bytes());
    }
    Bytes request = out.bytes();
    request.push_back(0);  // shows no blocks, but names those of a weighted sum
    const Digest named = total.blocks_digest(1);
    request.insert(request.end(), named.begin(), named.end());
    CHECK_EQ(total.opening_request(1).to_bytes(), envelope_of(7, request));
    out.u64(round.payload_bytes());
    out.raw(total.blocks());
    CHECK_EQ(total.to_bytes(), envelope_of(6, out.bytes()));
    CHECK_EQ(total.wire_bytes(), total.to_bytes().size());
  }
}

TEST("aggregates go to bytes, to a file, and back, for every ring") {
  const TemporaryFolder folder;
  for (const Plan& plan : plans_of_every_ring()) {
    const SecretKey key = make_key();
    for (const std::uint64_t size : {std::uint64_t{3}, plan.block_capacity() + 9}) {
      const Round round = make_round(plan, key, fields_of({{size, 1.0}}, size % 2 + 1)),
                  other = make_round(plan, key, size, 2);
      const Aggregate total = sum_of(round, {1, 1, 1});
      const Bytes bytes = total.to_bytes();
      const Aggregate again = Aggregate::from_bytes(bytes, round);
      CHECK(again.to_bytes() == bytes);
      CHECK(again.manifest().digest() == total.manifest().digest());
      CHECK(again.round().id() == round.id());
      total.save(folder / "aggregate");
      CHECK_EQ(contents_of(folder / "aggregate"), std::string(bytes.begin(), bytes.end()));
      CHECK_THROWS_WITH(Aggregate::from_bytes(bytes, other), RoundError, short_hex(other.id()));
      // What was read can be opened.
      CHECK_EQ(open_afresh(key, again.opening_request(1)).count(), 3u);
    }
  }
}

TEST("an opening request is no aggregate, nor the other way round") {
  const Plan plan = make_plan(10, 16);
  const SecretKey key = make_key();
  const Round round = make_round(plan, key, 10);
  const Aggregate total = sum_of(round, {1, 1});
  CHECK_THROWS_WITH(Aggregate::from_bytes(total.opening_request(1).to_bytes(), round),
                    WireFormatError, "opening request");
  CHECK_THROWS_WITH(scheme::OpeningRequest::from_bytes(total.to_bytes(), round), WireFormatError,
                    "aggregate");
  Bytes renamed = total.to_bytes();
  renamed[6] = 7;
  repair_checksum(renamed);
  CHECK_THROWS(scheme::OpeningRequest::from_bytes(renamed, round), WireFormatError);
}

TEST("blocks may be any bytes; the same sealed key twice, and version 1, are refused") {
  const Plan plan = make_plan(10, 16, 4, 128, "n4096");
  const SecretKey key = make_key();
  const Round round = make_round(plan, key, 30);
  const Aggregate total = sum_of(round, {1, 1});
  const Bytes good = total.to_bytes();
  const std::size_t blocks_at = good.size() - 4 - total.blocks().size();
  for (const std::uint8_t fill : {std::uint8_t{0}, std::uint8_t{0xff}}) {
    Bytes other = good;
    std::fill(other.begin() + static_cast<std::ptrdiff_t>(blocks_at), other.end() - 4, fill);
    repair_checksum(other);
    CHECK(Aggregate::from_bytes(other, round).to_bytes() == other);
  }
  const std::size_t first_at = 16 + 32 + 4 + 8,
                    entry = 8 + scheme::head_bytes(round, scheme::SignatureKind::kNone);
  Bytes twice = good;
  std::memcpy(twice.data() + first_at + entry + 1 + 8 + 16, twice.data() + first_at + 1 + 8 + 16,
              scheme::kSealedKeyBytes);
  repair_checksum(twice);
  CHECK_THROWS_WITH(Aggregate::from_bytes(twice, round), RoundError, "twice");
  for (const char* part : {"version 1 ", "version 2"}) {
    CHECK_THROWS_WITH(Aggregate::from_bytes(with_version(good, kFormerVersion), round),
                      WireFormatError, part);
  }
}

TEST("bytes of an aggregate changed, and truncations") {
  const Plan plan = make_plan(10, 16, 2, 128, "n2048");
  const SecretKey key = make_key();
  scheme::RoundFields fields = fields_of({{13, 1.0}});
  fields.roster = fake_roster(3);
  const Round round = make_round(plan, key, fields);
  const FakeVerifier verifier;
  const Aggregate total = sum_of(round, {2, 1}, &verifier);
  const auto read = [&](const Bytes& bytes) {
    return Aggregate::from_bytes(bytes, round).to_bytes();
  };
  const DamageReport flips = flip_every_byte(total.to_bytes(), read, 180, 19);
  CHECK(flips.accepted > 500 && flips.refused > 500);
  cut_everywhere(total.to_bytes(), read, 97);
}

/// Bytes asked of the heap while body() runs; it may throw a VeilsumError.
template <typename Body>
std::size_t allocated_by(Body body) {
  const std::size_t before = allocated_bytes.load();
  try {
    body();
  } catch (const VeilsumError&) {
  }
  return allocated_bytes.load() - before;
}

/// Lengths that claim much more than is there, at every place of the first bytes of an object.
template <typename Read>
void check_allocations(const Bytes& good, std::size_t fixed, Read read) {
  const std::size_t whole = allocated_by([&] { read(good); });
  CHECK(whole > 0);  // the meter runs
  const auto within = [&](const Bytes& bytes, std::size_t spent) {
    if (spent > fixed + 8 * bytes.size()) {
      CHECK_EQ(spent, fixed + 8 * bytes.size());
    }
  };
  within(good, whole);
  const std::size_t fields = std::min<std::size_t>(good.size() - 20, 300);
  for (std::size_t at = 16; at < 16 + fields; ++at) {
    for (const std::uint32_t claim : {0xffffffffu, 0x7fffffffu, 0x01000000u, 0x00ffffffu}) {
      Bytes damaged = good;
      std::memcpy(damaged.data() + at, &claim, std::min<std::size_t>(4, good.size() - 4 - at));
      repair_checksum(damaged);
      within(damaged, allocated_by([&] { read(damaged); }));
      // The same claim with next to nothing behind it.
      Bytes cut(damaged.begin(), damaged.begin() + static_cast<std::ptrdiff_t>(at) + 4);
      cut.resize(cut.size() + 4);
      repair_length(cut);
      within(cut, allocated_by([&] { read(cut); }));
    }
  }
}

TEST("reading asks for no more memory than the bytes, and the round, justify") {
  if (!kCountsAllocations) SKIP("ThreadSanitizer's hooks do not see aligned allocations");
  const Plan plan = make_plan(10, 16, 2, 128, "n2048");
  const SecretKey key = make_key();
  scheme::RoundFields fields = fields_of({{13, 1.0}, {5, 2.0}});
  fields.layout = "layout";
  fields.roster = fake_roster(3);
  const Round round = make_round(plan, key, fields);
  const FakeVerifier verifier;
  const Aggregate total = sum_of(round, {2, 1}, &verifier);
  const Upload upload = make_signed_upload(round, 1, 0);
  const scheme::SumKey sum = open_afresh(key, total.opening_request(1), &verifier);
  // A reader may use a row of numbers for scratch (one for each thread), and messages; the tables
  // of any ring that a plan can name are made at most once and are of a fixed size.
  const std::size_t scratch = 256 * 1024;
  check_allocations(upload.to_bytes(), scratch,
                    [&](const Bytes& bytes) { Upload::from_bytes(bytes, round); });
  check_allocations(total.to_bytes(), scratch,
                    [&](const Bytes& bytes) { Aggregate::from_bytes(bytes, round); });
  check_allocations(total.opening_request(1).to_bytes(), scratch,
                    [&](const Bytes& bytes) { scheme::OpeningRequest::from_bytes(bytes, round); });
  check_allocations(sum.to_bytes(), scratch,
                    [&](const Bytes& bytes) { scheme::SumKey::from_bytes(bytes, round); });
  const std::size_t plan_tables = 16 * 1024 * 1024, key_scratch = 16 * 1024;
  check_allocations(key.public_key().to_bytes(), key_scratch,
                    [&](const Bytes& bytes) { scheme::PublicKey::from_bytes(bytes); });
  check_allocations(key.to_bytes(), key_scratch,
                    [&](const Bytes& bytes) { scheme::SecretKey::from_bytes(bytes); });
  check_allocations(round.to_bytes(), plan_tables,
                    [&](const Bytes& bytes) { Round::from_bytes(bytes); });
}

TEST("a round of 2^40 values is described without being allocated") {
  const Plan plan = make_plan(10, 16);
  const SecretKey key = make_key();
  const std::uint64_t size = std::uint64_t{1} << 40;
  CHECK_EQ(plan.block_capacity(), 4096u);
  const std::size_t spent = allocated_by([&] {
    const Round round = make_round(plan, key, size);
    const Round again = Round::from_bytes(round.to_bytes());
    CHECK_EQ(again.size(), size);
    CHECK_EQ(again.payload_bytes(), (size / 4096 + again.upload_keys()) * plan.full_block_bytes());
    CHECK_EQ(again.segment_of(size - 1), 0u);
    // An upload that claims to be one of this round, in a few bytes.
    Bytes payload(round.id().begin(), round.id().end());
    payload.resize(32 + scheme::head_bytes(round, scheme::SignatureKind::kNone) + 8 + 50);
    const std::uint64_t length = round.payload_bytes();
    std::memcpy(payload.data() + 32 + scheme::head_bytes(round, scheme::SignatureKind::kNone),
                &length, 8);
    CHECK_THROWS_WITH(Upload::from_bytes(envelope_of(5, payload), round), WireFormatError,
                      "truncated");
  });
  CHECK(spent < 4 * 1024 * 1024);
}

TEST("a committee's aggregates: with the sealed shares to forward, and without, as readers load") {
  for (const bool tagged : {false, true}) {
    const CommitteeShape shape{3, 2, tagged, true};
    const Round round = make_committee_round(shape), other = make_committee_round(shape, 2);
    const FakeVerifier verifier;
    std::vector<Upload> uploads;
    std::vector<const Upload*> pointers;
    for (const std::uint32_t client : {2u, 0u, 1u}) {
      uploads.push_back(make_signed_upload(round, client + 1, client));
    }
    for (const Upload& upload : uploads) pointers.push_back(&upload);
    const Aggregate total = weighted_sum(round, pointers, {}, &verifier, 1);
    const Aggregate bare = total.without_shares();
    CHECK(total.manifest().has_shares());
    CHECK(!bare.manifest().has_shares());
    CHECK(bare.manifest().digest() == total.manifest().digest());
    CHECK(bare.blocks().data() == total.blocks().data());
    for (const Aggregate* sum : {&total, &bare}) {
      ByteWriter out;
      sum->manifest().write(out);
      out.u8(sum == &total ? 1 : 0);
      for (const Upload& upload : uploads) {
        if (sum == &total) out.raw(*upload.head().shares);
      }
      out.u64(round.payload_bytes());
      out.raw(total.blocks());
      const Bytes bytes = sum->to_bytes();
      CHECK_EQ(bytes, envelope_of(6, out.bytes()));
      CHECK_EQ(sum->wire_bytes(), bytes.size());
      const Aggregate again = Aggregate::from_bytes(bytes, round);
      CHECK(again.to_bytes() == bytes);
      CHECK_EQ(again.manifest().has_shares(), sum == &total);
      const TemporaryFolder folder;
      sum->save(folder / "total");
      const scheme::AggregateFile file(folder / "total", round);
      CHECK(file.manifest().digest() == total.manifest().digest());
      CHECK_EQ(file.manifest().has_shares(), sum == &total);
      CHECK(file.blocks_digest(1) == total.blocks_digest(1));
      CHECK_THROWS_WITH(Aggregate::from_bytes(bytes, other), RoundError, short_hex(other.id()));
    }
    CHECK_EQ(total.wire_bytes() - bare.wire_bytes(), 3 * 3 * scheme::sealed_share_bytes(round));
    // Shares that were changed, or exchanged between uploads, are not those that the heads name.
    const Bytes good = total.to_bytes();
    const std::size_t each = uploads[0].head().shares->size();
    const std::size_t first = good.size() - kTrailerBytes -
                              static_cast<std::size_t>(round.payload_bytes()) - 8 - 3 * each;
    CHECK_EQ(good[first - 1], 1);
    const auto read = [&](const Bytes& bytes) {
      return Aggregate::from_bytes(bytes, round).to_bytes();
    };
    Bytes damaged = good;
    for (std::size_t at = first; at < first + 3 * each; at += 397) {
      damaged[at] ^= 8;
      repair_checksum(damaged);
      CHECK_THROWS_WITH(
          read(damaged), WireFormatError,
          uploads[(at - first) / each].head().name() + " are not the ones its head names");
      damaged[at] = good[at];
    }
    std::swap_ranges(damaged.begin() + static_cast<std::ptrdiff_t>(first),
                     damaged.begin() + static_cast<std::ptrdiff_t>(first + each),
                     damaged.begin() + static_cast<std::ptrdiff_t>(first + each));
    repair_checksum(damaged);
    CHECK_THROWS_WITH(read(damaged), WireFormatError, "not the ones its head names");
    for (const int flag : {0, 2, 255}) {
      damaged = good;
      damaged[first - 1] = static_cast<std::uint8_t>(flag);
      repair_checksum(damaged);
      CHECK_THROWS(read(damaged), WireFormatError);
    }
    cut_everywhere(good, read, 997);
    flip_every_byte(bare.to_bytes(), read, 64, 101);
  }
}

}  // namespace
}  // namespace veilsum::test
