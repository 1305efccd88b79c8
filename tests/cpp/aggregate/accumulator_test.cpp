// Layer: tests (aggregate). Uploads that arrive in pieces or as files, from many threads at once:
// the sum is that of one pass, and an upload that is damaged, incomplete or not allowed leaves it
// as it was.
#include "aggregate/accumulator.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "check.h"
#include "support/active_level.h"
#include "support/envelopes.h"
#include "support/random.h"
#include "support/rounds.h"
#include "support/signatures.h"
#include "support/temporary_folder.h"
#include "veilsum/errors.h"

namespace veilsum::test {
namespace {

using aggregate::Accumulator;
using aggregate::Aggregate;
using aggregate::Incoming;
using aggregate::weighted_sum;
using scheme::Plan;
using scheme::Round;
using scheme::SecretKey;
using scheme::Upload;

std::string text_of(const Bytes& bytes) { return {bytes.begin(), bytes.end()}; }

struct Piece {
  std::uint64_t offset;
  std::size_t bytes;
};

/// Cuts `total` bytes into pieces of random length, in random order.
std::vector<Piece> shuffled_pieces(Random& random, std::uint64_t total, std::size_t most) {
  std::vector<Piece> out;
  for (std::uint64_t at = 0; at < total;) {
    const std::uint64_t bytes = std::min<std::uint64_t>(1 + random.below(most), total - at);
    out.push_back({at, static_cast<std::size_t>(bytes)});
    at += bytes;
  }
  for (std::size_t i = out.size(); i > 1; --i) std::swap(out[i - 1], out[random.below(i)]);
  return out;
}

void send(Incoming& incoming, ByteView bytes, const std::vector<Piece>& pieces) {
  for (const Piece& piece : pieces) {
    incoming.write(piece.offset,
                   bytes.subspan(static_cast<std::size_t>(piece.offset), piece.bytes));
  }
}

/// A round of several spans with a roster, and signed uploads.
struct Stage {
  Plan plan;
  SecretKey key;
  Round round;
  FakeVerifier verifier;
  std::vector<Upload> uploads;
  TemporaryFolder folder;

  explicit Stage(std::uint64_t blocks, std::size_t count, std::uint64_t weight_bits = 0)
      : plan(make_plan(10, 16, weight_bits)), key(make_key()), round(make(blocks)) {
    for (std::size_t k = 0; k < count; ++k) {
      uploads.push_back(make_signed_upload(round, k + 1, static_cast<std::uint32_t>(k)));
    }
  }
  Round make(std::uint64_t blocks) {
    scheme::RoundFields fields = fields_of({{blocks * plan.block_capacity() - 5, 1.0}}, 3);
    fields.roster = fake_roster(8);
    return make_round(plan, key, fields);
  }
  Aggregate expected(std::size_t count, const std::vector<std::uint64_t>& weights = {}) {
    std::vector<const Upload*> chosen;
    for (std::size_t k = 0; k < count; ++k) chosen.push_back(&uploads[k]);
    return weighted_sum(round, chosen, weights, &verifier, 1);
  }
};

TEST("pieces of any size in any order, spooled in memory and in a file") {
  for (const std::uint64_t blocks : {std::uint64_t{1}, std::uint64_t{300}}) {
    Stage stage(blocks, 3, 4);
    const std::vector<std::uint64_t> weights = {1, 7, 30};
    const Aggregate expected = stage.expected(3, weights);
    on_every_active_level([&] {
      Accumulator accumulator(stage.round, &stage.verifier);
      Random random(blocks);
      for (std::size_t k = 0; k < 3; ++k) {
        const Bytes bytes = stage.uploads[k].to_bytes();
        const auto incoming = accumulator.receive(bytes.size(), stage.folder.path());
        send(*incoming, bytes, shuffled_pieces(random, bytes.size(), bytes.size() / 50 + 10));
        CHECK_EQ(incoming->received_bytes(), bytes.size());
        incoming->finish(weights[k], 2);
        CHECK_EQ(accumulator.count(), k + 1);
      }
      CHECK(accumulator.finish().to_bytes() == expected.to_bytes());
    });
    CHECK(stage.folder.names().empty());
  }
}

TEST("many clients from many threads at once, some of them damaged or gone half-way") {
  Stage stage(200, 6);
  Aggregate expected = stage.expected(4);
  Accumulator accumulator(stage.round, &stage.verifier);
  std::atomic<int> refused{0};
  std::vector<std::thread> threads;
  for (std::size_t k = 0; k < 6; ++k) {
    threads.emplace_back([&, k] {
      Bytes bytes = stage.uploads[k].to_bytes();
      if (k == 4) bytes[bytes.size() / 2] ^= 4;  // the checksum finds it after most was added
      const auto incoming = accumulator.receive(bytes.size(), stage.folder.path());
      Random random(k);
      const std::vector<Piece> pieces = shuffled_pieces(random, bytes.size(), 100'000);
      std::vector<std::thread> senders;
      for (std::size_t part = 0; part < 3; ++part) {
        senders.emplace_back([&, part] {
          for (std::size_t i = part; i < pieces.size(); i += 3) {
            if (k == 5 && i > pieces.size() / 2) return;  // the client drops
            send(*incoming, bytes, {pieces[i]});
            if (i % 5 == 0) send(*incoming, bytes, {pieces[i]});  // and some pieces come twice
          }
        });
      }
      for (std::thread& sender : senders) sender.join();
      try {
        incoming->finish(1, 2);
      } catch (const WireFormatError&) {
        ++refused;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK_EQ(refused.load(), 2);
  const Aggregate total = accumulator.finish();
  CHECK_EQ(total.manifest().entries().size(), 4u);
  CHECK(total.manifest().digest() == expected.manifest().digest());
  CHECK(Bytes(total.blocks().begin(), total.blocks().end()) ==
        Bytes(expected.blocks().begin(), expected.blocks().end()));
}

TEST("a file or a piecewise upload with any damage leaves the sum as it was") {
  Stage stage(150, 4);
  const Aggregate expected = stage.expected(3);
  Accumulator accumulator(stage.round, &stage.verifier);
  accumulator.add(stage.uploads[0], 1, 2);
  const Bytes good = stage.uploads[3].to_bytes();
  const std::size_t head = scheme::upload_head_bytes(stage.round, scheme::SignatureKind::kEd25519);
  const std::string path = stage.folder / "damaged";
  const auto damages = [&](Bytes bytes, const char* how) {
    put_contents(path, text_of(bytes));
    try {
      accumulator.add_file(path, 1, 2);
      CHECK_EQ(how, "refused");
    } catch (const VeilsumError&) {
    }
    CHECK_EQ(accumulator.count(), 1u);
  };
  Bytes bytes = good;
  bytes[head + 1000] ^= 1;
  damages(bytes, "a bit of the blocks, checksum wrong");
  repair_checksum(bytes);
  damages(bytes, "a bit of the blocks, checksum right: the signature covers them");
  bytes = good;
  bytes.back() ^= 1;
  damages(bytes, "checksum");
  bytes = good;
  bytes[bytes.size() - 5] ^= 0x80;
  repair_checksum(bytes);
  damages(bytes, "a bit of the last check block, when all else was added");
  bytes = good;
  bytes[head + 20 * stage.plan.full_block_bytes()] ^= 1;
  repair_checksum(bytes);
  damages(bytes, "a bit in the middle of a step");
  for (std::size_t at :
       {std::size_t{0}, std::size_t{17}, std::size_t{48}, std::size_t{60}, head - 3}) {
    bytes = good;
    bytes[at] ^= 0x40;
    repair_checksum(bytes);
    damages(bytes, "head");
  }
  damages(Bytes(good.begin(), good.end() - 1), "truncated");
  damages(Bytes(good.begin(), good.begin() + 10), "truncated in the envelope");
  damages(Bytes(), "empty");
  put_contents(path, text_of(stage.uploads[1].to_bytes()));
  accumulator.add_file(path, 1, 2);
  CHECK_THROWS(accumulator.add_file(path, 1, 2), RoundError);  // a duplicate
  accumulator.add(stage.uploads[2], 1, 1);
  CHECK(accumulator.finish().to_bytes() == expected.to_bytes());
}

TEST("an unsigned upload's damage is taken back with its weight, in every ring, exactly") {
  std::uint64_t upload_keys = 0;
  for (const Plan& plan : plans_of_every_ring()) {
    const SecretKey key = make_key();
    const Round round =
        make_round(plan, key, fields_of({{3 * plan.block_capacity() + 9, 1.0}}, ++upload_keys));
    std::vector<Upload> uploads;
    for (std::uint64_t k = 1; k <= 3; ++k) uploads.push_back(make_upload(round, k));
    const std::uint64_t weight = plan.weight_bits() == 0 ? 1 : 2;
    const TemporaryFolder folder;
    Bytes bytes = uploads[2].to_bytes();
    bytes[bytes.size() - 5] ^= 1;
    put_contents(folder / "damaged", text_of(bytes));
    for (const std::size_t before : {std::size_t{0}, std::size_t{1}, std::size_t{2}}) {
      Accumulator accumulator(round, nullptr);
      for (std::size_t k = 0; k < 2; ++k) {
        if (k == before)
          CHECK_THROWS(accumulator.add_file(folder / "damaged", weight, 2), VeilsumError);
        accumulator.add(uploads[k], weight, 1);
      }
      if (before == 2)
        CHECK_THROWS(accumulator.add_file(folder / "damaged", weight, 2), VeilsumError);
      const Aggregate total = accumulator.finish();
      const Aggregate expected =
          weighted_sum(round, std::vector<const Upload*>{&uploads[0], &uploads[1]},
                       std::vector{weight, weight}, nullptr, 1);
      CHECK(total.to_bytes() == expected.to_bytes());
      CHECK(Bytes(total.blocks().begin(), total.blocks().end()) ==
            sum_of_blocks(round, {uploads[0].blocks(), uploads[1].blocks()}, {weight, weight}));
    }
  }
}

TEST("uploads that turn out damaged one after another, between good ones, leave no trace") {
  const Plan plan = make_plan(10, 16, 4);
  const SecretKey key = make_key();
  const Round round = make_round(plan, key, fields_of({{40 * plan.block_capacity() + 9, 1.0}}, 5));
  const TemporaryFolder folder;
  Random random(1);
  Accumulator accumulator(round, nullptr);
  std::vector<Upload> good;
  for (std::uint64_t n = 0; n < 6; ++n) {
    // The weights of what is taken back differ from the others'.
    Bytes bytes = make_upload(round, 100 + n).to_bytes();
    const std::size_t head = scheme::upload_head_bytes(round, scheme::SignatureKind::kNone);
    bytes[head + random.below(bytes.size() - head)] ^=
        static_cast<std::uint8_t>(1u << random.below(8));
    put_contents(folder / "damaged", text_of(bytes));
    CHECK_THROWS_WITH(accumulator.add_file(folder / "damaged", 1 + n * 3, 2), WireFormatError,
                      "checksum");
    good.push_back(make_upload(round, n + 1));
    good.back().save(folder / "good");
    accumulator.add_file(folder / "good", n + 1, 2);
    // Its name is free again: the same upload, whole, counts.
    if (n == 5) {
      good.push_back(make_upload(round, 105));
      good.back().save(folder / "good");
      accumulator.add_file(folder / "good", n + 2, 1);
    }
  }
  std::vector<ByteView> blocks;
  for (const Upload& upload : good) blocks.push_back(upload.blocks());
  const Aggregate total = accumulator.finish();
  CHECK_EQ(total.manifest().entries().size(), 7u);
  CHECK(Bytes(total.blocks().begin(), total.blocks().end()) ==
        sum_of_blocks(round, blocks, {1, 2, 3, 4, 5, 6, 7}));
}

TEST("a file that changes while its damage is taken back: that sum is never handed out") {
  const Plan plan = make_plan(10, 16);
  const SecretKey key = make_key();
  // Large enough for somebody else to get a processor between the first reading and the second.
  const Round round = make_round(plan, key, fields_of({{700 * plan.block_capacity(), 1.0}}, 1));
  const TemporaryFolder folder;
  const std::string path = folder / "changing";
  const Upload one = make_upload(round, 1), two = make_upload(round, 2);
  Bytes bytes = make_upload(round, 3).to_bytes();
  bytes.back() ^= 1;  // its checksum is wrong, whatever else
  put_contents(path, text_of(bytes));
  constexpr off_t kPlace = 2000;  // in the first block
  std::atomic<bool> stop{false};
  std::thread somebody([&] {
    const Descriptor file(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
    for (std::uint8_t value = 0; !stop.load(); ++value) {
      if (::pwrite(file.get(), &value, 1, kPlace) != 1) break;
    }
  });
  bool lost = false;
  for (int attempt = 0; attempt < 100 && !lost; ++attempt) {
    Accumulator accumulator(round, nullptr);
    accumulator.add(one, 1, 1);
    CHECK_THROWS(accumulator.add_file(path, 1, 1), WireFormatError);
    try {
      accumulator.add(two, 1, 1);
      // The same byte both times: nothing of the file is in the sum.
      const Aggregate expected =
          weighted_sum(round, std::vector<const Upload*>{&one, &two}, {}, nullptr, 1);
      CHECK(accumulator.finish().to_bytes() == expected.to_bytes());
    } catch (const RoundError& error) {
      CHECK(std::string(error.what()).find("lost") != std::string::npos);
      CHECK_THROWS_WITH(accumulator.finish(), RoundError, "lost");
      lost = true;
    }
  }
  stop.store(true);
  somebody.join();
  CHECK(lost);
}

TEST(
    "a file or a piecewise upload of version 1 is refused by a sentence that names both versions") {
  Stage stage(1, 1);
  Accumulator accumulator(stage.round, &stage.verifier);
  const Bytes former = with_version(stage.uploads[0].to_bytes(), kFormerVersion);
  put_contents(stage.folder / "former", text_of(former));
  Bytes shorter(former.begin(), former.begin() + 5000);  // of whatever size
  put_contents(stage.folder / "shorter", text_of(shorter));
  for (const char* part : {"version 1 ", "version 2"}) {
    for (const char* name : {"former", "shorter"}) {
      CHECK_THROWS_WITH(accumulator.add_file(stage.folder / name, 1, 1), WireFormatError, part);
    }
    const auto incoming = accumulator.receive(former.size(), stage.folder.path());
    incoming->write(0, former);
    CHECK_THROWS_WITH(incoming->finish(1, 1), WireFormatError, part);
  }
  CHECK_EQ(accumulator.count(), 0u);
}

TEST("what may not arrive: sizes, ends, contradictions, swarms of pieces, too many at once") {
  Stage stage(1, 2);
  Accumulator accumulator(stage.round, &stage.verifier);
  const Bytes bytes = stage.uploads[0].to_bytes();
  for (const std::uint64_t size : {std::uint64_t{0}, std::uint64_t{bytes.size() - 1},
                                   std::uint64_t{bytes.size() - 100}, ~std::uint64_t{0}}) {
    CHECK_THROWS(accumulator.receive(size, stage.folder.path()), WireFormatError);
  }
  {
    const auto incoming = accumulator.receive(bytes.size(), stage.folder.path());
    CHECK_THROWS(incoming->write(bytes.size(), ByteView(bytes).first(1)), WireFormatError);
    CHECK_THROWS(incoming->write(~std::uint64_t{0}, ByteView(bytes).first(2)), WireFormatError);
    incoming->write(bytes.size(), {});
    incoming->write(10, ByteView(bytes).subspan(10, 100));
    incoming->write(50, ByteView(bytes).subspan(50, 200));  // overlaps with the same bytes
    CHECK_EQ(incoming->received_bytes(), 240u);
    Bytes other(bytes.begin() + 90, bytes.begin() + 120);
    other[15] ^= 1;
    CHECK_THROWS(incoming->write(90, other), WireFormatError);
    CHECK_THROWS(incoming->finish(1, 1), WireFormatError);  // incomplete: may go on
    incoming->write(0, bytes);
    incoming->finish(1, 1);
    CHECK_THROWS(incoming->write(0, bytes), RoundError);
    CHECK_THROWS(incoming->finish(1, 1), RoundError);
  }
  {
    const auto incoming = accumulator.receive(bytes.size(), stage.folder.path());
    std::size_t sent = 0;
    bool refused = false;
    for (std::size_t at = 0; at < bytes.size() && !refused; at += 2, ++sent) {
      try {
        incoming->write(at, ByteView(bytes).subspan(at, 1));
      } catch (const WireFormatError&) {
        refused = true;
      }
    }
    CHECK(refused);
    CHECK_EQ(sent, Incoming::kMostRuns + 1);
    incoming->write(1, ByteView(bytes).subspan(1, 1));  // what joins runs is always welcome
  }
  std::vector<std::unique_ptr<Incoming>> arriving;
  for (std::uint32_t k = 0; k < stage.plan.clients(); ++k) {
    arriving.push_back(accumulator.receive(bytes.size(), stage.folder.path()));
  }
  CHECK_THROWS(accumulator.receive(bytes.size(), stage.folder.path()), RoundError);
  arriving.pop_back();
  arriving.push_back(accumulator.receive(bytes.size(), stage.folder.path()));
  CHECK_EQ(accumulator.count(), 1u);
}

TEST("an upload signed by a stranger or twice by one client is refused, whole or in pieces") {
  Stage stage(1, 2);
  Accumulator accumulator(stage.round, &stage.verifier);
  accumulator.add(stage.uploads[0], 1, 1);
  const auto give = [&](const Upload& upload) {
    const Bytes bytes = upload.to_bytes();
    const auto incoming = accumulator.receive(bytes.size(), stage.folder.path());
    incoming->write(0, bytes);
    incoming->finish(1, 1);
  };
  CHECK_THROWS(give(make_signed_upload(stage.round, 50, 0)), RoundError);   // client 0 again
  CHECK_THROWS(give(make_signed_upload(stage.round, 51, 99)), RoundError);  // nobody's number
  Upload forged = make_signed_upload(stage.round, 52, 3);
  scheme::UploadSignature signature = *forged.head().signature;
  signature.signature = changed(signature.signature, 0);
  forged.attach_signature(signature);
  CHECK_THROWS(give(forged), RoundError);
  give(stage.uploads[1]);
  CHECK(accumulator.finish().to_bytes() == stage.expected(2).to_bytes());
}

}  // namespace
}  // namespace veilsum::test
