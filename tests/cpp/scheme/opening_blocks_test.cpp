// Layer: tests (scheme). Openings of an engine whose key holder opens blocks: the rules that all
// engines have, each broken in turn; what the request shows, and that it is the sum of the uploads;
// one body for one aggregate, made once; keys of several parties.
#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <span>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "check.h"
#include "scheme/ledger.h"
#include "scheme/opening.h"
#include "support/allocations.h"
#include "support/child.h"
#include "support/damage.h"
#include "support/envelopes.h"
#include "support/ledgers.h"
#include "support/signatures.h"
#include "support/temporary_folder.h"
#include "support/toy_engine.h"
#include "veilsum/errors.h"

namespace veilsum::test {
namespace {

using scheme::Evidence;
using scheme::Manifest;
using scheme::OpeningRequest;
using scheme::Round;
using scheme::SecretKey;
using scheme::SumKey;
using scheme::Upload;
using Kind = scheme::Evidence::Kind;

Bytes copy_of(ByteView view) { return {view.begin(), view.end()}; }

scheme::RoundFields trusting() {
  scheme::RoundFields fields = fields_of({{20, 1.0}});
  fields.trust_aggregator = true;
  return fields;
}

/// Accepts every signature, to build what no honest aggregator builds.
class Gullible final : public scheme::SignatureVerifier {
  bool verify(const scheme::PublicIdentity&, const scheme::Signature&, ByteView) const override {
    return true;
  }
};

SumKey open_toy(const SecretKey& key, const OpeningRequest& request,
                const scheme::BlockOpener& opener,
                const scheme::SignatureVerifier* verifier = nullptr, int threads = 1) {
  return scheme::open_sum(key, request, opener, verifier, threads);
}

TEST("the uploads are summed, and their sum is opened: its key has the cipher's body") {
  const SecretKey key = make_toy_key();
  for (const std::uint8_t weight_bits : {std::uint8_t{0}, std::uint8_t{4}}) {
    ToyShape shape;
    shape.weight_bits = weight_bits;
    const Round round = make_toy_round(shape, key, fields_of({{20, 1.0}}), 1u + weight_bits);
    const std::vector<Upload> uploads = make_toy_uploads(round, 3);
    const std::vector<std::uint64_t> weights = weight_bits == 0
                                                   ? std::vector<std::uint64_t>{1, 1, 1}
                                                   : std::vector<std::uint64_t>{1, 157, 2};  // 160
    const ToySum sum = sum_toys(round, uploads, weights);
    const Bytes expected =
        toy_sum(round, toy_moduli()[0], 5,
                {uploads[0].blocks(), uploads[1].blocks(), uploads[2].blocks()}, weights);
    CHECK(copy_of(sum.blocks->span()) == expected);
    for (const int threads : {0, 1, 3}) {
      const ToyBlockOpener opener;
      const SecretKey fresh(key.secret(), key.public_key());
      const SumKey made = open_toy(fresh, sum.request(Kind::kUploads), opener, nullptr, threads);
      CHECK_EQ(opener.calls.load(), 1);
      CHECK(copy_of(made.body()) == ToyBlockOpener::body(key.secret(), expected, 1));
      CHECK(made.coefficients().empty());
      CHECK_EQ(made.count(), 3u);
      CHECK_EQ(made.total_weight(), weights[0] + weights[1] + weights[2]);
      CHECK(made.manifest() == sum.manifest.digest());
      CHECK(made.round().id() == round.id());
      CHECK(made.exportable());  // it holds nothing of any single upload, whatever the weights
    }
  }
}

TEST("without the uploads nothing is opened, unless the round trusts its aggregator") {
  const SecretKey key = make_toy_key();
  const ToyBlockOpener opener;
  const Round checked = make_toy_round(key), trusted = make_toy_round({}, key, trusting());
  const ToySum sum = sum_toys(checked, make_toy_uploads(checked, 3));
  CHECK_THROWS_WITH(open_toy(key, sum.request(Kind::kNone), opener), RoundError,
                    "without the uploads");
  CHECK_THROWS_WITH(open_toy(key, sum.request(Kind::kAggregate), opener), RoundError,
                    "without the uploads");
  CHECK_EQ(opener.calls.load(), 0);
  // Nothing of what was refused was recorded: another sum of this round may still be opened.
  const ToySum pair = sum_toys(checked, make_toy_uploads(checked, 2));
  CHECK_EQ(open_toy(key, pair.request(Kind::kUploads), opener).count(), 2u);

  const std::vector<Upload> uploads = make_toy_uploads(trusted, 3);
  const ToySum other = sum_toys(trusted, uploads);
  CHECK_THROWS_WITH(open_toy(key, other.request(Kind::kNone), opener), RoundError,
                    "without the uploads");
  const SumKey made = open_toy(key, other.request(Kind::kAggregate), opener);
  CHECK(copy_of(made.body()) == ToyBlockOpener::body(key.secret(), other.blocks->span(), 2));
  // Either way to the same sum is the same opening.
  CHECK(copy_of(open_toy(key, other.request(Kind::kUploads), opener).body()) ==
        copy_of(made.body()));
  CHECK_EQ(opener.calls.load(), 2);
}

TEST("what is shown must be the uploads of the manifest, in its order, and its sum") {
  const SecretKey key = make_toy_key();
  const ToyBlockOpener opener;
  const Round round = make_toy_round(key);
  const std::vector<Upload> uploads = make_toy_uploads(round, 4);
  const ToySum sum = sum_toys(round, std::span(uploads).first(3));
  const auto refused = [&](const char* part, auto change) {
    OpeningRequest request = sum.request(Kind::kUploads);
    change(request);
    CHECK_THROWS_WITH(open_toy(key, request, opener), RoundError, part);
  };
  refused("not the ones its head names", [](OpeningRequest& request) {
    std::swap(request.evidence.blocks[0], request.evidence.blocks[1]);
  });
  refused("not the ones its head names", [&](OpeningRequest& request) {
    request.evidence.blocks[2] = uploads[3].shared_blocks();
  });
  for (const std::size_t at : {std::size_t{0}, std::size_t{100}, uploads[0].blocks().size() - 1}) {
    refused("not the ones its head names", [&](OpeningRequest& request) {
      Bytes altered = copy_of(uploads[1].blocks());
      altered[at] ^= 1;
      request.evidence.blocks[1] = shared_bytes(altered);
    });
    // The aggregate that the others would be given to decrypt is another one.
    refused("not the sum of its uploads", [&](OpeningRequest& request) {
      Bytes altered = copy_of(sum.blocks->span());
      altered[at] ^= 1;
      request.evidence.blocks_digest = scheme::digest_of_blocks(altered, 1);
    });
  }
  refused("not the sum of its uploads",
          [](OpeningRequest& request) { request.evidence.blocks_digest[31] ^= 1; });
  // One upload's words, all of them its own modulo the rows' numbers, but other bytes.
  refused("not the ones its head names", [&](OpeningRequest& request) {
    Bytes same = copy_of(uploads[0].blocks());
    const std::uint8_t* const source = uploads[0].blocks().data();
    scheme::sum_blocks(round, {&source, 1}, {}, 1, same.data());
    CHECK(same != copy_of(uploads[0].blocks()));
    request.evidence.blocks[0] = shared_bytes(same);
  });
  CHECK_EQ(opener.calls.load(), 0);
  CHECK_EQ(open_toy(key, sum.request(Kind::kUploads), opener).count(), 3u);
}

TEST("a trusted aggregator's blocks are those that it says they are") {
  const SecretKey key = make_toy_key();
  const ToyBlockOpener opener;
  const Round round = make_toy_round({}, key, trusting());
  const ToySum sum = sum_toys(round, make_toy_uploads(round, 3));
  OpeningRequest request = sum.request(Kind::kAggregate);
  request.evidence.blocks_digest[0] ^= 1;
  CHECK_THROWS_WITH(open_toy(key, request, opener), RoundError, "not the sum of its uploads");
  CHECK_EQ(opener.calls.load(), 0);
}

TEST("a request that was put together wrongly is refused, not read beyond its end") {
  const SecretKey key = make_toy_key();
  const ToyBlockOpener opener;
  const Round round = make_toy_round({}, key, trusting());
  const ToySum sum = sum_toys(round, make_toy_uploads(round, 3));
  const auto refused = [&](Kind kind, auto change) {
    OpeningRequest request = sum.request(kind);
    change(request.evidence.blocks);
    CHECK_THROWS_WITH(open_toy(key, request, opener), ParameterError, "does not show");
  };
  using Blocks = std::vector<scheme::SharedBlocks>;
  for (const Kind kind : {Kind::kAggregate, Kind::kUploads}) {
    refused(kind, [](Blocks& blocks) { blocks.clear(); });
    refused(kind, [](Blocks& blocks) { blocks.push_back(blocks.front()); });
    refused(kind, [](Blocks& blocks) { blocks.back() = nullptr; });
    refused(kind, [&](Blocks& blocks) {
      blocks.back() = shared_bytes(blocks.back()->span().first(blocks.back()->size() - 1));
    });
  }
  CHECK_EQ(opener.calls.load(), 0);
}

TEST("the same aggregate again gives the same body, which is made once") {
  const SecretKey key = make_toy_key();
  const ToyBlockOpener opener;
  const Round round = make_toy_round(key);
  std::vector<Upload> uploads = make_toy_uploads(round, 3);
  const ToySum sum = sum_toys(round, uploads);
  const Bytes first = copy_of(open_toy(key, sum.request(Kind::kUploads), opener).body());
  for (int again = 0; again < 3; ++again) {
    CHECK(copy_of(open_toy(key, sum.request(Kind::kUploads), opener).body()) == first);
  }
  // In another order of the uploads it is the same sum.
  std::swap(uploads[0], uploads[2]);
  CHECK(copy_of(open_toy(key, sum_toys(round, uploads).request(Kind::kUploads), opener).body()) ==
        first);
  CHECK_EQ(opener.calls.load(), 1);
}

TEST("another aggregate of a round that was opened is refused, and the first one's body stays") {
  const SecretKey key = make_toy_key();
  const ToyBlockOpener opener;
  const Round round = make_toy_round({}, key, trusting()),
              next = make_toy_round({}, key, trusting(), 2);
  const std::vector<Upload> uploads = make_toy_uploads(round, 4);
  const ToySum three = sum_toys(round, std::span(uploads).first(3));
  const ToySum four = sum_toys(round, uploads);
  const Bytes first = copy_of(open_toy(key, three.request(Kind::kUploads), opener).body());
  CHECK_THROWS_WITH(open_toy(key, four.request(Kind::kUploads), opener), RoundError,
                    "opened before");
  // The same uploads, but other blocks: what a trusted aggregator could try.
  OpeningRequest altered = three.request(Kind::kAggregate);
  Bytes blocks = copy_of(three.blocks->span());
  blocks[0] ^= 1;
  altered.evidence.blocks = {shared_bytes(blocks)};
  altered.evidence.blocks_digest = scheme::digest_of_blocks(blocks, 1);
  CHECK_THROWS_WITH(open_toy(key, altered, opener), RoundError, "opened before");
  CHECK_EQ(opener.calls.load(), 1);
  CHECK(copy_of(open_toy(key, three.request(Kind::kUploads), opener).body()) == first);
  // Another round's opening takes the place of this one's body; a second one is never made.
  open_toy(key, sum_toys(next, make_toy_uploads(next, 2)).request(Kind::kUploads), opener);
  CHECK_EQ(opener.calls.load(), 2);
  CHECK_THROWS_WITH(open_toy(key, three.request(Kind::kUploads), opener), RoundError, "is gone");
  CHECK_EQ(opener.calls.load(), 2);
}

TEST("a key that is read from its file makes no second body of what was opened") {
  const TemporaryFolder folder;
  const ToyBlockOpener opener;
  SecretKey key = make_toy_key();
  const Round before = make_toy_round(key), after = make_toy_round(key, 20, 2);
  const OpeningRequest early =
      sum_toys(before, make_toy_uploads(before, 3)).request(Kind::kUploads);
  const OpeningRequest late = sum_toys(after, make_toy_uploads(after, 3)).request(Kind::kUploads);
  open_toy(key, early, opener);
  key.save(folder / "key");
  open_toy(key, late, opener);
  const SecretKey restarted = SecretKey::load(folder / "key");
  for (const OpeningRequest& request : {early, late}) {
    CHECK_THROWS_WITH(open_toy(restarted, request, opener), RoundError, "is gone");
  }
  CHECK_EQ(opener.calls.load(), 2);
  open_toy(key, late, opener);  // this one still has it
  CHECK_EQ(opener.calls.load(), 2);
}

/// Gives nothing out.
class FailingOpener final : public scheme::BlockOpener {
  SecretBuffer<std::uint8_t> open(ByteView, const scheme::SharedBlocks&) const override {
    throw std::bad_alloc();
  }
};

TEST("an opening is recorded before its body is made; one that failed is tried again here alone") {
  const TemporaryFolder folder;
  SecretKey key = make_toy_key();
  key.save(folder / "key");
  const ToyBlockOpener opener;
  const Round round = make_toy_round(key);
  const auto uploads = make_toy_uploads(round, 4);
  const OpeningRequest request = sum_toys(round, uploads).request(Kind::kUploads);
  const OpeningRequest other = sum_toys(round, make_toy_uploads(round, 3)).request(Kind::kUploads);
  CHECK_THROWS(open_toy(key, request, FailingOpener()), std::bad_alloc);
  CHECK_EQ(contents_of(folder / "key.opened").size(), kLedgerHead + 76);
  // Of a process that was killed nobody knows what it gave out before.
  const SecretKey restarted = SecretKey::load(folder / "key");
  CHECK_THROWS_WITH(open_toy(restarted, request, opener), RoundError, "is gone");
  CHECK_THROWS_WITH(open_toy(key, other, opener), RoundError, "another set of uploads");
  CHECK_EQ(opener.calls.load(), 0);
  open_toy(key, request, opener);
  open_toy(key, request, opener);
  CHECK_EQ(opener.calls.load(), 1);
  CHECK_EQ(contents_of(folder / "key.opened").size(), kLedgerHead + 76);
}

TEST("openings that failed are tried again after others, and at most so many are remembered") {
  constexpr auto kMost = static_cast<std::uint64_t>(scheme::LastOpening::kMostAllowed);
  const SecretKey key = make_toy_key();
  const ToyBlockOpener opener;
  std::vector<OpeningRequest> requests;
  for (std::uint64_t n = 0; n <= kMost + 1; ++n) {
    const Round round = make_toy_round(key, 20, 100 + n);
    requests.push_back(sum_toys(round, make_toy_uploads(round, 2)).request(Kind::kUploads));
  }
  for (std::uint64_t n = 0; n <= kMost; ++n) {  // one more than are remembered
    CHECK_THROWS(open_toy(key, requests[n], FailingOpener()), std::bad_alloc);
  }
  // The oldest is refused as one that was made; all others, and a new one in between, are not.
  CHECK_THROWS_WITH(open_toy(key, requests[0], opener), RoundError, "is gone");
  open_toy(key, requests[1], opener);
  open_toy(key, requests[kMost + 1], opener);
  for (std::uint64_t n = 2; n <= kMost; ++n) open_toy(key, requests[n], opener);
  CHECK_EQ(opener.calls.load(), static_cast<int>(kMost + 1));
  // What was made is made once.
  CHECK_THROWS_WITH(open_toy(key, requests[1], opener), RoundError, "is gone");
}

TEST(
    "an opener that opens another sum with the same key is refused, and does not wait for itself") {
  class Nested final : public scheme::BlockOpener {
   public:
    Nested(const SecretKey& key, const OpeningRequest& other) : key_(key), other_(other) {}
    SecretBuffer<std::uint8_t> open(ByteView secret,
                                    const scheme::SharedBlocks& blocks) const override {
      CHECK_THROWS_WITH(open_toy(key_, other_, toy_), RoundError, "from within that");
      return toy_.open(secret, blocks);
    }

   private:
    const SecretKey& key_;
    const OpeningRequest& other_;
    ToyBlockOpener toy_;
  };
  const SecretKey key = make_toy_key();
  const Round round = make_toy_round(key, 20, 1), second = make_toy_round(key, 20, 2);
  const OpeningRequest request =
      sum_toys(round, make_toy_uploads(round, 2)).request(Kind::kUploads);
  const OpeningRequest other =
      sum_toys(second, make_toy_uploads(second, 2)).request(Kind::kUploads);
  open_toy(key, request, Nested(key, other));
  open_toy(key, other, ToyBlockOpener());  // it was not even recorded
}

TEST("an opening that cannot be recorded makes nothing") {
  const TemporaryFolder folder;
  const ToyBlockOpener opener;
  SecretKey key = make_toy_key();
  const Round round = make_toy_round(key);
  const std::string place = folder / "mount";
  std::filesystem::create_directory(place);
  key.save(place + "/key");
  std::filesystem::remove_all(place);
  CHECK_THROWS(
      open_toy(key, sum_toys(round, make_toy_uploads(round, 2)).request(Kind::kUploads), opener),
      std::system_error);
  CHECK_EQ(opener.calls.load(), 0);
}

TEST("threads that open one aggregate at once get one body") {
  const SecretKey key = make_toy_key();
  const ToyBlockOpener opener;
  const Round round = make_toy_round(key, 500);
  const OpeningRequest request =
      sum_toys(round, make_toy_uploads(round, 3)).request(Kind::kUploads);
  std::vector<Bytes> bodies(4);
  std::vector<std::thread> threads;
  for (Bytes& body : bodies) {
    threads.emplace_back([&] { body = copy_of(open_toy(key, request, opener).body()); });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK_EQ(opener.calls.load(), 1);
  for (const Bytes& body : bodies) CHECK(!body.empty() && body == bodies[0]);
}

TEST("a forked child opens nothing of its own with a key that has no file") {
  const SecretKey key = make_toy_key();
  const ToyBlockOpener opener;
  const Round round = make_toy_round(key), other = make_toy_round(key, 20, 2);
  const OpeningRequest request =
      sum_toys(round, make_toy_uploads(round, 3)).request(Kind::kUploads);
  const OpeningRequest fresh = sum_toys(other, make_toy_uploads(other, 3)).request(Kind::kUploads);
  const Bytes body = copy_of(open_toy(key, request, opener).body());
  const auto child = [&](const OpeningRequest& what) {
    return run_child([&] {
      try {
        return copy_of(open_toy(key, what, opener).body()) == body ? 1 : 2;
      } catch (const RoundError&) {
        return 3;
      }
    });
  };
  CHECK_EQ(child(request).exit_status, 1);  // the copy that it was born with
  CHECK_EQ(child(fresh).exit_status, 3);
  CHECK_EQ(opener.calls.load(), 1);
}

TEST("a child forked while its parent makes a body does not wait for it forever") {
  /// Waits inside, as an opening of many blocks takes its time.
  class Slow final : public scheme::BlockOpener {
   public:
    SecretBuffer<std::uint8_t> open(ByteView, const scheme::SharedBlocks&) const override {
      inside.store(true);
      while (!go_on.load()) std::this_thread::yield();
      return SecretBuffer<std::uint8_t>(3, Initialise::kZero);
    }
    mutable std::atomic<bool> inside{false};
    mutable std::atomic<bool> go_on{false};
  };
  const TemporaryFolder folder;
  SecretKey key = make_toy_key();
  key.save(folder / "key");
  const Round round = make_toy_round(key), other = make_toy_round(key, 20, 2);
  const OpeningRequest request =
      sum_toys(round, make_toy_uploads(round, 3)).request(Kind::kUploads);
  const OpeningRequest fresh = sum_toys(other, make_toy_uploads(other, 3)).request(Kind::kUploads);
  const Slow slow;
  std::thread parent([&] { open_toy(key, request, slow); });
  while (!slow.inside.load()) std::this_thread::yield();
  const ToyBlockOpener opener;
  const Ending ending = run_child([&] {
    ::alarm(60);  // or this test would hang
    try {
      open_toy(key, request, opener);
      return 1;
    } catch (const RoundError&) {  // recorded by the parent
    }
    return open_toy(key, fresh, opener).body().size() == 100 ? 0 : 2;
  });
  slow.go_on.store(true);
  parent.join();
  CHECK_EQ(ending.exit_status, 0);
  // What the child opened is not made again here.
  CHECK_THROWS_WITH(open_toy(key, fresh, opener), RoundError, "is gone");
}

TEST("too few uploads are not opened, whatever is shown") {
  const SecretKey key = make_toy_key();
  const ToyBlockOpener opener;
  for (const bool trusted : {false, true}) {
    scheme::RoundFields fields = fields_of({{20, 1.0}});
    fields.min_clients = 3;
    fields.trust_aggregator = trusted;
    const Round round = make_toy_round({}, key, fields);
    const std::vector<Upload> uploads = make_toy_uploads(round, 3);
    const ToySum pair = sum_toys(round, std::span(uploads).first(2));
    for (const Kind kind : {Kind::kNone, Kind::kAggregate, Kind::kUploads}) {
      CHECK_THROWS_WITH(open_toy(key, pair.request(kind), opener), RoundError, "at least 3");
    }
    CHECK_THROWS_WITH(open_toy(key, {Manifest(round)}, opener), RoundError, "at least 3");
    CHECK_EQ(open_toy(key, sum_toys(round, uploads).request(Kind::kUploads), opener).count(), 3u);
  }
  CHECK_EQ(opener.calls.load(), 2);
}

TEST("signatures of a roster are checked by the key holder, and cover the blocks") {
  const SecretKey key = make_toy_key();
  const ToyBlockOpener opener;
  scheme::RoundFields fields = fields_of({{20, 1.0}});
  fields.roster = fake_roster(4);
  const Round round = make_toy_round({}, key, fields);
  const FakeVerifier verifier;
  const Gullible gullible;
  std::vector<Upload> uploads = make_toy_uploads(round, 3);
  for (std::uint32_t k = 0; k < 3; ++k) sign(round, uploads[k], k);
  const ToySum good = sum_toys(round, uploads, {}, &verifier);
  CHECK_THROWS_WITH(open_toy(key, good.request(Kind::kUploads), opener), ParameterError,
                    "verifier");
  // Unsigned, or signed wrongly.
  std::vector<Upload> forged = make_toy_uploads(round, 3);
  for (std::uint32_t k = 0; k < 2; ++k) sign(round, forged[k], k);
  scheme::UploadSignature signature = *uploads[2].head().signature;
  forged[2].attach_signature(signature);  // of other randomness: of another nonce
  CHECK_THROWS_WITH(open_toy(key, sum_toys(round, forged, {}, &gullible).request(Kind::kUploads),
                             opener, &verifier),
                    RoundError, "the signature of client 2 is wrong");
  signature.client = 9;
  forged[2].attach_signature(signature);
  ByteWriter out;
  out.raw(round.id());
  out.u32(3);
  for (const Upload& upload : forged) {
    out.u64(1);
    scheme::write_head(out, upload.head());
  }
  out.u8(0);
  CHECK_THROWS_WITH(open_toy(key, OpeningRequest::from_bytes(envelope_of(7, out.bytes()), round),
                             opener, &verifier),
                    RoundError, "client 9 is not on the roster");
  // Blocks that the head names, but that were not signed: the signer's word counts too.
  std::vector<Upload> two_words = make_toy_uploads(round, 3);
  for (std::uint32_t k = 0; k < 3; ++k) {
    const Digest digest = k == 1 ? bytes32(7) : two_words[k].blocks_digest(1);
    two_words[k].attach_signature(
        {k, digest,
         fake_signature(round.roster()[k],
                        scheme::signing_payload(round, k, two_words[k].head(), digest))});
  }
  CHECK_THROWS_WITH(open_toy(key, sum_toys(round, two_words, {}, &verifier).request(Kind::kUploads),
                             opener, &verifier),
                    RoundError, "client 1 are not the ones it signed");
  CHECK_EQ(opener.calls.load(), 0);
  CHECK_EQ(open_toy(key, good.request(Kind::kUploads), opener, &verifier).count(), 3u);
}

TEST("checks come in order: key, number, weights, signatures, blocks, ledger") {
  const SecretKey key = make_toy_key(), stranger = make_toy_key(2);
  const ToyBlockOpener opener;
  scheme::RoundFields fields = fields_of({{20, 1.0}});
  fields.roster = fake_roster(4);
  const Round round = make_toy_round({}, key, fields);
  const FakeVerifier verifier;
  std::vector<Upload> uploads = make_toy_uploads(round, 3);
  for (std::uint32_t k = 0; k < 3; ++k) sign(round, uploads[k], k);
  const ToySum one = sum_toys(round, std::span(uploads).first(1), {}, &verifier);
  const ToySum good = sum_toys(round, uploads, {}, &verifier);
  const int before = verifier.calls.load();
  CHECK_THROWS(open_toy(stranger, one.request(Kind::kNone), opener, &verifier), KeyMismatchError);
  CHECK_THROWS_WITH(open_toy(key, one.request(Kind::kNone), opener, &verifier), RoundError,
                    "at least 2");
  CHECK_EQ(verifier.calls.load(), before);
  CHECK_THROWS_WITH(open_toy(key, good.request(Kind::kNone), opener, &verifier), RoundError,
                    "without the uploads");
  CHECK_EQ(verifier.calls.load(), before + 3);
  OpeningRequest damaged = good.request(Kind::kUploads);
  std::swap(damaged.evidence.blocks[0], damaged.evidence.blocks[1]);
  CHECK_EQ(open_toy(key, good.request(Kind::kUploads), opener, &verifier).count(), 3u);
  // The blocks are looked at before the ledger, which refuses nothing that is not whole.
  CHECK_THROWS_WITH(open_toy(key, damaged, opener, &verifier), RoundError, "signed");
}

TEST("a party of a joint key opens its rounds, a stranger does not") {
  const ToyBlockOpener opener;
  const SecretKey first = make_toy_key(1), second = make_toy_key(2, {first.id()}),
                  joint = make_toy_key(3, {first.id(), second.id()}), stranger = make_toy_key(4);
  CHECK(first.opens(joint.public_key()));
  CHECK(second.opens(joint.public_key()));
  CHECK(joint.opens(joint.public_key()));
  CHECK(!stranger.opens(joint.public_key()));
  // Not the other way round, and not by way of a third.
  CHECK(!joint.opens(first.public_key()));
  CHECK(first.opens(second.public_key()));
  CHECK(!first.opens(make_toy_key(5, {second.id()}).public_key()));
  const Round round = make_toy_round(joint);
  const OpeningRequest request =
      sum_toys(round, make_toy_uploads(round, 3)).request(Kind::kUploads);
  std::vector<Bytes> bodies;
  for (const SecretKey* party : {&first, &second, &joint}) {
    bodies.push_back(copy_of(open_toy(*party, request, opener).body()));
  }
  CHECK(bodies[0] != bodies[1] && bodies[1] != bodies[2]);
  CHECK_THROWS_WITH(open_toy(stranger, request, opener), KeyMismatchError,
                    short_hex(stranger.id()));
  CHECK_THROWS_WITH(open_toy(stranger, request, opener), KeyMismatchError, short_hex(joint.id()));
  // Each party's ledger is its own, and each refuses a second sum.
  const OpeningRequest other = sum_toys(round, make_toy_uploads(round, 4)).request(Kind::kUploads);
  for (const SecretKey* party : {&first, &second, &joint}) {
    CHECK_THROWS_WITH(open_toy(*party, other, opener), RoundError, "opened before");
  }
  CHECK_EQ(opener.calls.load(), 3);
}

TEST("weights beyond the plan are refused, in the sum and in bytes") {
  const SecretKey key = make_toy_key();
  const ToyBlockOpener opener;
  ToyShape shape;
  shape.weight_bits = 1;  // up to 20
  const Round unit = make_toy_round(key),
              heavy = make_toy_round(shape, key, fields_of({{20, 1.0}}));
  Manifest manifest(heavy);
  manifest.add(make_toy_upload(heavy, 1).head(), 19, nullptr);
  CHECK_THROWS_WITH(manifest.add(make_toy_upload(heavy, 2).head(), 2, nullptr), HeadroomError,
                    "total weight 21");
  manifest.add(make_toy_upload(heavy, 2).head(), 1, nullptr);
  const auto bytes_with = [&](const Round& round, std::uint64_t first, std::uint64_t second) {
    ByteWriter out;
    out.raw(round.id());
    out.u32(2);
    for (std::uint64_t k = 1; k <= 2; ++k) {
      out.u64(k == 1 ? first : second);
      scheme::write_head(out, make_toy_upload(round, k).head());
    }
    out.u8(0);
    return envelope_of(7, out.bytes());
  };
  CHECK_EQ(OpeningRequest::from_bytes(bytes_with(heavy, 19, 1), heavy).manifest.total_weight(),
           20u);
  for (const auto& [first, second] : std::vector<std::pair<std::uint64_t, std::uint64_t>>{
           {19, 2}, {21, 1}, {0, 1}, {1, ~std::uint64_t{0}}, {~std::uint64_t{0}, 1}}) {
    CHECK_THROWS_WITH(OpeningRequest::from_bytes(bytes_with(heavy, first, second), heavy),
                      WireFormatError, "weights");
  }
  // A plan of unit weights: a weighted sum can only come from bytes.
  const Round round = make_toy_round({}, key, trusting());
  const std::vector<Upload> uploads = make_toy_uploads(round, 2);
  ByteWriter out;
  out.raw(round.id());
  out.u32(2);
  for (std::uint64_t k = 0; k < 2; ++k) {
    out.u64(1 + k);
    scheme::write_head(out, uploads[k].head());
  }
  const ToySum sum = sum_toys(round, uploads);
  out.u8(1);
  out.raw(scheme::digest_of_blocks(sum.blocks->span(), 1));
  out.raw(sum.blocks->span());
  CHECK_THROWS_WITH(
      open_toy(key, OpeningRequest::from_bytes(envelope_of(7, out.bytes()), round), opener),
      RoundError, "unit weights");
  CHECK_EQ(opener.calls.load(), 0);
}

TEST("the native engine's requests show no blocks, and its rounds are not opened by blocks") {
  const SecretKey key = make_key();
  const scheme::Plan plan = make_plan(10, 16);
  const Round round = make_round(plan, key, 10);
  Manifest manifest(round);
  manifest.add(head_of(round, 1), 1, nullptr);
  manifest.add(head_of(round, 2), 1, nullptr);
  OpeningRequest request{manifest};
  const ToyBlockOpener blocks_opener;
  CHECK_THROWS_WITH(open_toy(key, request, blocks_opener), RoundError, "sealed keys");
  const Bytes plain = request.to_bytes();
  CHECK_EQ(plain[plain.size() - 5], 0);  // the evidence byte
  for (const Kind kind : {Kind::kAggregate, Kind::kUploads}) {
    OpeningRequest shows = request;
    shows.evidence.kind = kind;
    for (std::uint64_t n = 1; n <= (kind == Kind::kAggregate ? 1u : 2u); ++n) {
      shows.evidence.blocks.push_back(make_upload(round, n).shared_blocks());
    }
    CHECK_THROWS_WITH(scheme::open_sum(key, shows, kOpener, nullptr, false), RoundError,
                      "shows blocks");
    CHECK_THROWS_WITH(open_toy(key, shows, blocks_opener), RoundError, "sealed keys");
    CHECK_THROWS_WITH(OpeningRequest::from_bytes(shows.to_bytes(), round), WireFormatError,
                      "evidence of kind");
  }
  CHECK_EQ(blocks_opener.calls.load(), 0);
  // Nothing was recorded: what is left out now may still be opened.
  Manifest other(round);
  other.add(head_of(round, 3), 1, nullptr);
  other.add(head_of(round, 4), 1, nullptr);
  CHECK_EQ(scheme::open_sum(key, {other}, kOpener, nullptr, false).count(), 2u);
  // And the other way round: a round of another engine has no sealed keys.
  const SecretKey toy = make_toy_key();
  const Round toys = make_toy_round(toy);
  CHECK_THROWS_WITH(
      scheme::open_sum(toy, sum_toys(toys, make_toy_uploads(toys, 2)).request(Kind::kUploads),
                       kOpener, nullptr, false),
      RoundError, "engine 'plain'");
}

TEST("requests go to bytes, as the wire format says, and back, with any evidence") {
  const SecretKey key = make_toy_key();
  const Round round = make_toy_round({}, key, trusting());
  const ToySum sum = sum_toys(round, make_toy_uploads(round, 3));
  for (const Kind kind : {Kind::kNone, Kind::kAggregate, Kind::kUploads}) {
    const OpeningRequest request = sum.request(kind);
    ByteWriter out;
    out.raw(round.id());
    out.u32(3);
    for (const scheme::ManifestEntry& entry : sum.manifest.entries()) {
      out.u64(1);
      out.u8(0);
      out.u64(entry.head.clipped);
      out.raw(entry.head.nonce);
      CHECK_EQ(entry.head.part.bytes().size(), 32u);
      out.raw(entry.head.part.bytes());
    }
    out.u8(static_cast<std::uint8_t>(kind));
    if (kind != Kind::kNone) out.raw(request.evidence.blocks_digest);
    if (kind == Kind::kAggregate) out.raw(sum.blocks->span());
    if (kind == Kind::kUploads) {
      for (const scheme::SharedBlocks& blocks : sum.uploads) out.raw(blocks->span());
    }
    const Bytes bytes = request.to_bytes();
    CHECK_EQ(bytes, envelope_of(7, out.bytes()));
    const OpeningRequest again = OpeningRequest::from_bytes(bytes, round);
    CHECK(again.to_bytes() == bytes);
    CHECK(again.evidence.kind == kind);
    CHECK_EQ(again.evidence.blocks.size(), kind == Kind::kNone        ? 0u
                                           : kind == Kind::kAggregate ? 1u
                                                                      : 3u);
    if (kind == Kind::kNone) continue;
    const SecretKey fresh(key.secret(), key.public_key());
    const ToyBlockOpener opener;
    CHECK(copy_of(open_toy(fresh, again, opener).body()) ==
          ToyBlockOpener::body(key.secret(), sum.blocks->span(), 1));
  }
}

TEST("requests that are cut, too long, or of unknown evidence are refused before any allocation") {
  const SecretKey key = make_toy_key();
  const Round round = make_toy_round({}, key, trusting());
  const ToySum sum = sum_toys(round, make_toy_uploads(round, 3));
  const auto read = [&](const Bytes& bytes) {
    return OpeningRequest::from_bytes(bytes, round).to_bytes();
  };
  const std::size_t evidence_at = 16 + 32 + 4 + 3 * (8 + 1 + 8 + 16 + 32);
  for (const Kind kind : {Kind::kNone, Kind::kAggregate, Kind::kUploads}) {
    const Bytes good = sum.request(kind).to_bytes();
    CHECK_EQ(good[evidence_at], static_cast<int>(kind));
    cut_everywhere(good, read);
    flip_every_byte(good, read, 256, 3);
    for (int other = 0; other < 256; ++other) {
      if (other == static_cast<int>(kind)) continue;
      Bytes damaged = good;
      damaged[evidence_at] = static_cast<std::uint8_t>(other);
      repair_checksum(damaged);
      CHECK_THROWS(read(damaged), WireFormatError);
      if (other > 2) CHECK_THROWS_WITH(read(damaged), WireFormatError, "evidence of kind");
    }
  }
  // A round of 2^40 values, and a request that says it shows some of it.
  const Round huge = make_toy_round({}, key, [] {
    scheme::RoundFields fields = trusting();
    fields.segments = {{std::uint64_t{1} << 40, 1.0}};
    return fields;
  }());
  for (const std::uint8_t kind : {std::uint8_t{1}, std::uint8_t{2}}) {
    ByteWriter out;
    out.raw(huge.id());
    out.u32(2);
    for (std::uint64_t k = 0; k < 2; ++k) {
      out.u64(1);
      scheme::UploadHead head;
      head.part = scheme::CipherPart(Bytes(32, static_cast<std::uint8_t>(k)));
      scheme::write_head(out, head);
    }
    out.u8(kind);
    out.raw(Bytes(32 + 1000));
    const Bytes bytes = envelope_of(7, out.bytes());
    const std::size_t before = allocated_bytes.load();
    CHECK_THROWS_WITH(OpeningRequest::from_bytes(bytes, huge), WireFormatError, "truncated");
    if (kCountsAllocations) CHECK(allocated_bytes.load() - before < 64 * 1024);
  }
  // More uploads than the bytes can hold.
  Bytes many = sum.request(Kind::kUploads).to_bytes();
  for (const std::uint32_t count : {0x7fffffffu, 0xffffffffu, 1000u}) {
    std::memcpy(many.data() + 16 + 32, &count, 4);
    repair_checksum(many);
    CHECK_THROWS_WITH(read(many), WireFormatError, "more uploads");
  }
}

TEST("sum keys of another engine go to bytes, to private files, and back") {
  const TemporaryFolder folder;
  const SecretKey key = make_toy_key();
  const ToyBlockOpener opener;
  ToyShape shape;
  shape.weight_bits = 1;
  const Round round = make_toy_round(shape, key, fields_of({{20, 1.0}})),
              other = make_toy_round(key, 20, 2);
  const SumKey made = open_toy(
      key, sum_toys(round, make_toy_uploads(round, 3), {4, 1, 2}).request(Kind::kUploads), opener);
  ByteWriter out;
  out.raw(round.id());
  out.raw(made.manifest());
  out.u32(3);
  out.u64(7);
  out.raw(made.body());
  const Bytes bytes = made.to_bytes();
  CHECK_EQ(bytes, envelope_of(8, out.bytes()));
  const SumKey again = SumKey::from_bytes(bytes, round);
  CHECK(copy_of(again.body()) == copy_of(made.body()));
  CHECK(again.to_bytes() == bytes);
  CHECK(again.exportable());
  CHECK(again.coefficients().empty());
  made.save(folder / "sum.key");
  CHECK_EQ(mode_of(folder / "sum.key"), 0600u);
  CHECK(SumKey::load(folder / "sum.key", round).to_bytes() == bytes);
  CHECK_THROWS_WITH(SumKey::from_bytes(bytes, other), KeyMismatchError, short_hex(other.id()));
  const auto read = [&](const Bytes& in) { return SumKey::from_bytes(in, round).to_bytes(); };
  const DamageReport flips = flip_every_byte(bytes, read, 80);
  CHECK(flips.accepted >= made.body().size());  // a body may be any bytes
  CHECK(flips.refused >= 9 * (16 + 32));
  for (const auto& [count, total] : std::vector<std::pair<std::uint32_t, std::uint64_t>>{
           {1, 3}, {0, 1}, {3, 2}, {3, 21}, {21, 21}, {3, std::uint64_t{1} << 40}}) {
    Bytes damaged = bytes;
    std::memcpy(damaged.data() + 16 + 64, &count, 4);
    std::memcpy(damaged.data() + 16 + 68, &total, 8);
    repair_checksum(damaged);
    CHECK_THROWS_WITH(read(damaged), WireFormatError, "cannot have");
  }
  // Without a body: the cipher will refuse it, nobody crashes.
  const Bytes empty = envelope_of(8, {out.bytes().begin(), out.bytes().begin() + 76});
  CHECK(SumKey::from_bytes(empty, round).body().empty());
  CHECK(read(empty) == empty);
}

TEST("a sum key is that of one sum") {
  const SecretKey key = make_toy_key();
  const ToyBlockOpener opener;
  const Round round = make_toy_round(key), other = make_toy_round(key, 20, 2);
  const ToySum three = sum_toys(round, make_toy_uploads(round, 3)),
               two = sum_toys(round, make_toy_uploads(round, 2)),
               elsewhere = sum_toys(other, make_toy_uploads(other, 3));
  const SumKey made = open_toy(key, three.request(Kind::kUploads), opener);
  scheme::check_sum_key(made, three.manifest);
  CHECK_THROWS_WITH(scheme::check_sum_key(made, two.manifest), KeyMismatchError, "another set");
  CHECK_THROWS_WITH(scheme::check_sum_key(made, elsewhere.manifest), KeyMismatchError,
                    short_hex(other.id()));
}

TEST("no message of a refused opening shows a secret") {
  const SecretKey key = make_toy_key(), stranger = make_toy_key(2);
  const ToyBlockOpener opener;
  const Round round = make_toy_round(key);
  const ToySum sum = sum_toys(round, make_toy_uploads(round, 3));
  OpeningRequest altered = sum.request(Kind::kUploads);
  altered.evidence.blocks_digest[0] ^= 1;
  const auto message_of = [&](const SecretKey& with, const OpeningRequest& request) {
    try {
      open_toy(with, request, opener);
    } catch (const VeilsumError& error) {
      return std::string(error.what());
    }
    return std::string("nothing was thrown");
  };
  for (const std::string& message :
       {message_of(stranger, sum.request(Kind::kUploads)), message_of(key, altered),
        message_of(key, sum.request(Kind::kNone))}) {
    CHECK(message != "nothing was thrown");
    for (const SecretKey* holder : {&key, &stranger}) {
      const std::string hex = veilsum::to_hex(holder->secret());
      for (std::size_t at = 0; at + 8 <= hex.size(); at += 8) {
        CHECK(message.find(hex.substr(at, 8)) == std::string::npos);
      }
    }
  }
}

}  // namespace
}  // namespace veilsum::test
