// Layer: tests. Fields of packed blocks, read and written bit by bit from the wire format: the
// oracle of sums, and the means to change one coefficient of a ciphertext on purpose.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "scheme/round.h"
#include "support/bytes.h"

namespace veilsum::test {

/// An integer of up to 208 bits: words of 52 bits, the lowest first.
using Field = std::array<std::uint64_t, 4>;

inline constexpr unsigned kFieldWordBits = 52;
inline constexpr std::uint64_t kFieldWordMask = (std::uint64_t{1} << kFieldWordBits) - 1;

/// One block of a round, in bytes that somebody else holds.
class BlockFields {
 public:
  BlockFields(const scheme::Round& round, std::uint64_t block)
      : bits_(round.plan().field_bits()),
        coefficients_(round.block_coefficients(block)),
        offset_(static_cast<std::size_t>(round.block_offset(block))) {}

  std::size_t coefficients() const { return coefficients_; }

  /// @param blocks all blocks of an upload or a sum
  Field read(const std::uint8_t* blocks, std::size_t at) const {
    Field field{};
    for_each_row(at, [&](std::size_t row, std::size_t first_bit, unsigned bits) {
      for (unsigned done = 0; done < bits;) {
        const std::size_t bit = first_bit + done;
        const unsigned part = std::min<unsigned>(8 - bit % 8, bits - done);
        const std::uint64_t value = blocks[bit / 8] >> (bit % 8) & ((1u << part) - 1);
        field[row] |= value << done;
        done += part;
      }
    });
    return field;
  }
  void write(std::uint8_t* blocks, std::size_t at, const Field& field) const {
    for_each_row(at, [&](std::size_t row, std::size_t first_bit, unsigned bits) {
      for (unsigned done = 0; done < bits;) {
        const std::size_t bit = first_bit + done;
        const unsigned part = std::min<unsigned>(8 - bit % 8, bits - done);
        const unsigned mask = ((1u << part) - 1) << (bit % 8);
        const auto value = static_cast<unsigned>(field[row] >> done) << (bit % 8);
        blocks[bit / 8] = static_cast<std::uint8_t>((blocks[bit / 8] & ~mask) | (value & mask));
        done += part;
      }
    });
  }
  /// field + 2^bit modulo 2^B.
  void add_power_of_two(std::uint8_t* blocks, std::size_t at, unsigned bit) const {
    Field field = read(blocks, at);
    std::uint64_t carry = std::uint64_t{1} << (bit % kFieldWordBits);
    for (std::size_t word = bit / kFieldWordBits; word < field.size(); ++word) {
      carry += field[word];
      field[word] = carry & kFieldWordMask;
      carry >>= kFieldWordBits;
    }
    write(blocks, at, field);
  }

 private:
  /// Calls f(row, first bit of field `at` in the blocks, its bits in this row).
  template <typename F>
  void for_each_row(std::size_t at, F f) const {
    std::size_t row_begin = offset_;
    for (std::size_t row = 0; row * kFieldWordBits < bits_; ++row) {
      const auto bits = static_cast<unsigned>(
          std::min<std::size_t>(kFieldWordBits, bits_ - row * kFieldWordBits));
      f(row, 8 * row_begin + at * bits, bits);
      row_begin += coefficients_ / 8 * bits;
    }
  }

  std::size_t bits_;
  std::size_t coefficients_;
  std::size_t offset_;
};

/// sum_k weights[k] * sources[k] modulo 2^B, one field at a time.
inline Bytes sum_of_blocks(const scheme::Round& round, const std::vector<ByteView>& sources,
                           const std::vector<std::uint64_t>& weights) {
  __extension__ typedef unsigned __int128 Wide;
  Bytes out(static_cast<std::size_t>(round.payload_bytes()));
  for (std::uint64_t block = 0; block < round.blocks(); ++block) {
    const BlockFields fields(round, block);
    for (std::size_t j = 0; j < fields.coefficients(); ++j) {
      std::array<Wide, 4> total{};
      for (std::size_t k = 0; k < sources.size(); ++k) {
        const Field field = fields.read(sources[k].data(), j);
        for (std::size_t word = 0; word < 4; ++word) {
          total[word] += static_cast<Wide>(field[word]) * weights[k];
        }
      }
      Field sum{};
      Wide carry = 0;
      for (std::size_t word = 0; word < 4; ++word) {
        carry += total[word];
        sum[word] = static_cast<std::uint64_t>(carry) & kFieldWordMask;
        carry >>= kFieldWordBits;
      }
      fields.write(out.data(), j, sum);  // what is above B bits has no place
    }
  }
  return out;
}

}  // namespace veilsum::test
