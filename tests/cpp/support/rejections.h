// Layer: tests. Keystreams in which words are refused by expand_uniform, found by trying the
// streams 0, 1, 2, ... of one key: with the real primes one word in 2^26 (the fourth) to 2^29.5
// (the first) is. Tests check that each stream is what is said of it.
#pragma once

#include <cstddef>
#include <cstdint>

#include "isa/aes_key.h"

namespace veilsum::test {

/// AES-128 with the key 00 01 ... 0f.
inline isa::AesKey rejection_key() {
  std::uint8_t raw[16];
  for (std::uint8_t i = 0; i < 16; ++i) raw[i] = i;
  isa::AesKey key;
  isa::aes_expand_key(raw, sizeof raw, key);
  return key;
}

/// Word `word` of stream `index` is at least the prime number `prime` of the rings, and is the
/// first such word below 32768.
struct PrimeRejection {
  std::size_t prime;
  std::uint64_t index;
  std::size_t word;
};
inline constexpr PrimeRejection kPrimeRejections[] = {
    {0, 12125, 21624}, {0, 38950, 559},   {0, 49679, 13059}, {1, 12125, 21624},
    {1, 28957, 10673}, {1, 29176, 24503}, {2, 11050, 14525}, {2, 11258, 3014},
    {2, 11763, 5044},  {3, 2948, 19974},  {3, 4562, 15122},  {3, 7712, 23145},
};

/// The smallest modulus that kernels take: it refuses one word in 2^24.
inline constexpr std::uint64_t kSmallestModulus = (std::uint64_t{1} << 48) - (1u << 24) + 1;

/// Stream kRejectionAt[p]: word p is the one among the first 128 that is at least kSmallestModulus.
inline constexpr std::uint64_t kRejectionAt[128] = {
    10226484, 101503846, 1053895,  23348263, 23921648, 9849437,  39570050, 69007478, 30179434,
    3916990,  17218833,  4916323,  13479116, 83566458, 6835443,  61704534, 6859955,  12155389,
    4929431,  16427475,  13217505, 2281517,  5763691,  35674237, 5353502,  55038464, 1898670,
    3185323,  28967025,  6375612,  1286100,  15319420, 17635136, 2031639,  7413017,  14751769,
    3297721,  60027125,  27397562, 21591542, 7160884,  6933154,  5806639,  16580875, 48978640,
    15234234, 753379,    327366,   13618699, 42033223, 18579160, 51165750, 22357944, 15734551,
    10055841, 7883673,   8005817,  14597003, 3885872,  27200499, 16446415, 5322628,  2267650,
    8670223,  9814040,   7132427,  12556650, 14912713, 32007711, 4997709,  87068832, 37772819,
    9525387,  7379694,   12288296, 1449542,  33142260, 9999101,  27515297, 2051872,  14474530,
    20790968, 47244674,  5835128,  35025281, 12321662, 12469433, 4947198,  5292664,  10100397,
    14186786, 9498532,   2378509,  80183636, 39821296, 36509665, 8890550,  69682701, 50964809,
    6613038,  24194595,  22486068, 20023503, 3172056,  3082566,  15597250, 26942340, 16673461,
    16569859, 3915566,   41685598, 2982222,  77915699, 23811915, 15814533, 29066485, 14957636,
    20093662, 4909165,   51050349, 133522,   13411196, 12583931, 28684718, 9968845,  4061731,
    31312161, 2477116,
};

/// Two of the first 32768 words are at least kSmallestModulus.
struct TwoRejections {
  std::uint64_t index;
  std::size_t first, second;
};
inline constexpr TwoRejections kTwoRejections[] = {
    {1553345, 1075, 29394},
    {2673619, 1261, 23511},
    {2722509, 9628, 30874},
};

/// Word `word` and word 32768, the first that would replace it, are at least kSmallestModulus.
struct RejectedReplacement {
  std::uint64_t index;
  std::size_t word;
};
inline constexpr RejectedReplacement kRejectedReplacements[] = {
    {2808274659, 25818},
    {6219782411, 27279},
};

}  // namespace veilsum::test
