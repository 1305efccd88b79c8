// Layer: tests. An engine other than the native one, as the rules see it: a plan of a few rows of
// words, keys that mean nothing, and an opener whose body differs every time it is asked, as one
// that adds noise does.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "scheme/block_sums.h"
#include "scheme/blocks_digest.h"
#include "scheme/opening.h"
#include "support/rounds.h"
#include "veilsum/errors.h"

namespace veilsum::test {

/// The largest primes below 2^60 and 2^64.
inline constexpr std::uint64_t kPrime60 = (std::uint64_t{1} << 60) - 93;
inline constexpr std::uint64_t kPrime64 = ~std::uint64_t{0} - 58;

struct ToyShape {
  std::uint32_t clients = 10;
  std::uint8_t weight_bits = 0;
  std::uint8_t row_words = 5;
  std::uint16_t block_values = 7;
  std::uint8_t moduli = 0;  ///< which of toy_moduli()
};

inline const std::vector<std::vector<std::uint64_t>>& toy_moduli() {
  static const std::vector<std::vector<std::uint64_t>> all = {
      {0, 2, kPrime60, kPrime64}, {kPrime60}, {0}};
  return all;
}

/// A plan whose sixteen bytes say all about it, so that they can be read back.
inline scheme::ResidueFields toy_fields(const ToyShape& shape) {
  scheme::ResidueFields out;
  ByteWriter bytes;
  bytes.u8(static_cast<std::uint8_t>(scheme::Engine::kPlain));
  bytes.u8(shape.weight_bits);
  bytes.u8(shape.row_words);
  bytes.u8(shape.moduli);
  bytes.u32(shape.clients);
  bytes.u16(shape.block_values);
  bytes.raw(Bytes(6));
  out.fields = bytes.take();
  out.clients = shape.clients;
  out.weight_bits = shape.weight_bits;
  out.max_weight = std::uint64_t{shape.clients} << shape.weight_bits;
  out.block_values = shape.block_values;
  out.moduli = toy_moduli().at(shape.moduli);
  out.row_words = shape.row_words;
  return out;
}

inline std::shared_ptr<const scheme::ResidueCipher> toy_cipher(const ToyShape& shape = {}) {
  return std::make_shared<const scheme::ResidueCipher>(toy_fields(shape));
}

class ToyReader final : public scheme::CipherReader {
 public:
  std::shared_ptr<const scheme::Cipher> read(ByteView fields) const override {
    ByteReader in(fields, "toy plan");
    ToyShape shape;
    if (in.u8() != 255) in.fail("another engine");
    shape.weight_bits = in.u8();
    shape.row_words = in.u8();
    shape.moduli = in.u8();
    shape.clients = in.u32();
    shape.block_values = in.u16();
    for (const std::uint8_t byte : in.raw(6)) {
      if (byte != 0) in.fail("bytes that are not zero");
    }
    if (shape.weight_bits > 20 || shape.moduli >= toy_moduli().size()) in.fail("not a shape");
    return toy_cipher(shape);  // whose own refusal is a ParameterError
  }
};

/// @param parts ids of those whose turn came before
inline scheme::SecretKey make_toy_key(std::uint64_t n = 1, std::vector<scheme::KeyId> parts = {}) {
  const auto secret = bytes32(5000 + n);
  return scheme::SecretKey(
      secret, scheme::PublicKey(scheme::Engine::kPlain, toy_stream("toy holder", {secret}, 50),
                                std::move(parts)));
}

inline scheme::Round make_toy_round(const ToyShape& shape, const scheme::SecretKey& key,
                                    scheme::RoundFields fields, std::uint64_t n = 1) {
  return scheme::Round(toy_cipher(shape), key.public_key(), std::move(fields), bytes32(n * 77));
}

inline scheme::Round make_toy_round(const scheme::SecretKey& key, std::uint64_t size = 20,
                                    std::uint64_t n = 1) {
  return make_toy_round({}, key, fields_of({{size, 1.0}}), n);
}

/// Words of all sizes, edges of the rows' numbers among them; nobody reduced them.
inline Bytes toy_blocks(const scheme::Round& round, std::uint64_t n) {
  Bytes out(static_cast<std::size_t>(round.payload_bytes()));
  Random random(n * 31 + 7);
  for (std::size_t at = 0; at < out.size(); at += 8) {
    std::uint64_t word = random.next();
    switch (random.below(8)) {
      case 0: {
        const std::uint64_t edges[] = {
            0, 1, 2, kPrime60 - 1, kPrime60, kPrime64, kPrime64 - 1, ~std::uint64_t{0}};
        word = edges[random.below(8)];
        break;
      }
      case 1:
        word %= kPrime60;
        break;
      default:
        break;
    }
    std::memcpy(out.data() + at, &word, 8);
  }
  return out;
}

inline scheme::Upload make_toy_upload(const scheme::Round& round, std::uint64_t n) {
  return scheme::Upload::of_blocks(round, n % (round.size() + 1), toy_blocks(round, n));
}

/// The body names the secret and the blocks, and how often this opener was asked before.
class ToyBlockOpener final : public scheme::BlockOpener {
 public:
  SecretBuffer<std::uint8_t> open(ByteView secret,
                                  const scheme::SharedBlocks& blocks) const override {
    const auto turn = static_cast<std::uint8_t>(++calls);
    const Bytes made = body(secret, blocks->span(), turn);
    SecretBuffer<std::uint8_t> out(made.size());
    std::copy(made.begin(), made.end(), out.begin());
    return out;
  }
  static Bytes body(ByteView secret, ByteView blocks, std::uint8_t turn) {
    return toy_stream("toy body", {secret, blocks, {&turn, 1}}, 100);
  }

  mutable std::atomic<int> calls{0};
};

/// What a sum must be, in integers of more than 64 bits: word for word, modulo each row's number.
inline Bytes toy_sum(const scheme::Round& round, const std::vector<std::uint64_t>& moduli,
                     std::uint64_t row_words, const std::vector<ByteView>& sources,
                     const std::vector<std::uint64_t>& weights) {
  __extension__ using Wide = unsigned __int128;
  Bytes out(static_cast<std::size_t>(round.payload_bytes()));
  for (std::size_t at = 0; at < out.size(); at += 8) {
    Wide sum = 0;  // below 2^64 times the total weight
    for (std::size_t k = 0; k < sources.size(); ++k) {
      std::uint64_t word = 0;
      std::memcpy(&word, sources[k].data() + at, 8);
      sum += Wide{word} * weights[k];
    }
    const std::uint64_t q = moduli[at / 8 / row_words % moduli.size()];
    const auto word = static_cast<std::uint64_t>(q == 0 ? sum : sum % q);
    std::memcpy(out.data() + at, &word, 8);
  }
  return out;
}

inline scheme::SharedBlocks shared_bytes(ByteView bytes) {
  AlignedBuffer<std::uint8_t> copy(bytes.size());
  std::copy(bytes.begin(), bytes.end(), copy.begin());
  return std::make_shared<const AlignedBuffer<std::uint8_t>>(std::move(copy));
}

/// A sum with everything its key holder may be shown.
struct ToySum {
  scheme::Manifest manifest;
  scheme::SharedBlocks blocks;
  std::vector<scheme::SharedBlocks> uploads;

  scheme::OpeningRequest request(scheme::Evidence::Kind kind) const {
    scheme::OpeningRequest out{manifest};
    out.evidence.kind = kind;
    if (kind == scheme::Evidence::Kind::kNone) return out;
    out.evidence.blocks_digest = scheme::digest_of_blocks(blocks->span(), 1);
    if (kind == scheme::Evidence::Kind::kAggregate) {
      out.evidence.blocks = {blocks};
    } else {
      out.evidence.blocks = uploads;
    }
    return out;
  }
};

inline ToySum sum_toys(const scheme::Round& round, std::span<const scheme::Upload> uploads,
                       const std::vector<std::uint64_t>& weights = {},
                       const scheme::SignatureVerifier* verifier = nullptr) {
  ToySum out{scheme::Manifest(round), nullptr, {}};
  std::vector<const std::uint8_t*> sources;
  std::vector<std::uint64_t> factors;
  for (std::size_t k = 0; k < uploads.size(); ++k) {
    factors.push_back(weights.empty() ? 1 : weights[k]);
    out.manifest.add(uploads[k].head(), factors.back(), verifier);
    out.uploads.push_back(uploads[k].shared_blocks());
    sources.push_back(uploads[k].blocks().data());
  }
  AlignedBuffer<std::uint8_t> sum(static_cast<std::size_t>(round.payload_bytes()));
  scheme::sum_blocks(round, sources, factors, 1, sum.data());
  out.blocks = std::make_shared<const AlignedBuffer<std::uint8_t>>(std::move(sum));
  return out;
}

inline std::vector<scheme::Upload> make_toy_uploads(const scheme::Round& round,
                                                    std::uint64_t count) {
  std::vector<scheme::Upload> out;
  for (std::uint64_t n = 1; n <= count; ++n) out.push_back(make_toy_upload(round, n));
  return out;
}

}  // namespace veilsum::test
