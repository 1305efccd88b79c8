// Layer: tests. Plans, keys, rounds and uploads made from small numbers, so that every test can
// name and repeat what it works on. Uploads here are honest in the capsule and random in the
// blocks.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "isa/dispatch.h"
#include "ring/modular.h"
#include "scheme/capsule.h"
#include "scheme/keys.h"
#include "scheme/plan.h"
#include "scheme/round.h"
#include "scheme/upload.h"
#include "support/random.h"

namespace veilsum::test {

/// 32 bytes that differ for every n.
inline std::array<std::uint8_t, 32> bytes32(std::uint64_t n) {
  Random random(n);
  std::array<std::uint8_t, 32> out;
  for (std::size_t i = 0; i < out.size(); i += 8) {
    const std::uint64_t word = random.next();
    std::memcpy(out.data() + i, &word, 8);
  }
  return out;
}

inline Seed seed32(std::uint64_t n) { return Seed(bytes32(n)); }

inline scheme::PlanRequest request_of(std::uint64_t clients, std::uint64_t value_bits,
                                      std::uint64_t weight_bits = 0, std::uint64_t security = 128,
                                      std::string profile = "auto") {
  scheme::PlanRequest request;
  request.clients = clients;
  request.value_bits = value_bits;
  request.weight_bits = weight_bits;
  request.security = security;
  request.profile = std::move(profile);
  return request;
}

inline scheme::Plan make_plan(std::uint64_t clients, std::uint64_t value_bits,
                              std::uint64_t weight_bits = 0, std::uint64_t security = 128,
                              std::string profile = "auto") {
  return scheme::Plan(request_of(clients, value_bits, weight_bits, security, std::move(profile)));
}

/// One plan for each ring, some with weights, and the odd corners of the lanes.
inline std::vector<scheme::Plan> plans_of_every_ring() {
  std::vector<scheme::Plan> plans;
  plans.push_back(make_plan(10, 16));
  plans.push_back(make_plan(10, 16, 4, 128, "n4096"));
  plans.push_back(make_plan(10, 16, 0, 128, "n8192"));
  plans.push_back(make_plan(5, 8, 3, 192, "n4096q50"));
  plans.push_back(make_plan(100, 12, 2, 192, "n8192q100"));
  plans.push_back(make_plan(3, 24, 1, 256, "n16384q200"));
  return plans;
}

inline scheme::SecretKey make_key(const scheme::Plan& plan, std::uint64_t n = 1) {
  return scheme::SecretKey(ring::Ring::get(plan.capsule().degree, plan.capsule().limbs), seed32(n),
                           bytes32(~n));
}

inline scheme::RoundFields fields_of(std::vector<scheme::Segment> segments) {
  scheme::RoundFields fields;
  fields.segments = std::move(segments);
  return fields;
}

inline scheme::Round make_round(const scheme::Plan& plan, const scheme::SecretKey& key,
                                scheme::RoundFields fields, std::uint64_t n = 1) {
  return scheme::Round(plan, key.public_key(), std::move(fields), bytes32(n * 77));
}

inline scheme::Round make_round(const scheme::Plan& plan, const scheme::SecretKey& key,
                                std::uint64_t size, std::uint64_t n = 1) {
  return make_round(plan, key, fields_of({{size, 1.0}}), n);
}

/// Calls f(offset, coefficients, limb) for every packed row of a round's blocks, in order.
template <typename F>
void for_each_row(const scheme::Round& round, F f) {
  const scheme::Plan& plan = round.plan();
  std::size_t offset = 0;
  for (std::uint64_t block = 0; block < round.blocks(); ++block) {
    const std::size_t coefficients = plan.block_coefficients(round.block_values(block));
    for (std::size_t limb = 0; limb < plan.limbs(); ++limb) {
      f(offset, coefficients, limb);
      offset += coefficients / 8 * 50;
    }
  }
}

/// Random residues, in the shape of a round's blocks.
inline AlignedBuffer<std::uint8_t> random_blocks(const scheme::Round& round, std::uint64_t n) {
  AlignedBuffer<std::uint8_t> blocks(static_cast<std::size_t>(round.payload_bytes()));
  Random random(n);
  for_each_row(round, [&](std::size_t offset, std::size_t coefficients, std::size_t limb) {
    std::vector<std::uint64_t> row(coefficients);
    for (std::uint64_t& residue : row) residue = random.edgy(round.plan().ring().q(limb));
    isa::scalar_table()->pack(row.data(), coefficients, blocks.data() + offset);
  });
  return blocks;
}

inline scheme::Upload make_upload(const scheme::Round& round, std::uint64_t n) {
  scheme::UploadHead head;
  head.clipped = n % (round.size() + 1);
  head.capsule = scheme::make_capsule(round, seed32(n)).bytes;
  return scheme::Upload(round, std::move(head), random_blocks(round, n));
}

/// sum_k weights[k] * sources[k] mod q over packed rows: unpacked and added one residue at a time.
inline Bytes sum_of_blocks(const scheme::Round& round, const std::vector<ByteView>& sources,
                           const std::vector<std::uint64_t>& weights) {
  Bytes out(static_cast<std::size_t>(round.payload_bytes()));
  for_each_row(round, [&](std::size_t offset, std::size_t coefficients, std::size_t limb) {
    const std::uint64_t q = round.plan().ring().q(limb);
    std::vector<std::uint64_t> total(coefficients, 0), row(coefficients);
    for (std::size_t k = 0; k < sources.size(); ++k) {
      isa::scalar_table()->unpack(sources[k].data() + offset, coefficients, q, row.data());
      for (std::size_t j = 0; j < coefficients; ++j) {
        total[j] = (total[j] + ring::mul_mod(row[j], weights[k], q)) % q;
      }
    }
    isa::scalar_table()->pack(total.data(), coefficients, out.data() + offset);
  });
  return out;
}

}  // namespace veilsum::test
