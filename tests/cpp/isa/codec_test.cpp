// Layer: tests (isa). Quantising and dequantising on every level against the formulas of kernels.h
// computed with the C library, for all four element types, at ties, edges and lane places.
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "check.h"
#include "support/levels.h"
#include "support/random.h"

namespace veilsum::test {
namespace {

using isa::ElementType;
using isa::KernelTable;

/// Half-precision formats by their definition.
double widen(std::uint16_t bits, int exponent_bits, int mantissa_bits) {
  const int bias = (1 << (exponent_bits - 1)) - 1;
  const int field = bits >> mantissa_bits & ((1 << exponent_bits) - 1);
  const int mantissa = bits & ((1 << mantissa_bits) - 1);
  double magnitude;
  if (field == (1 << exponent_bits) - 1) {
    magnitude = mantissa == 0 ? std::numeric_limits<double>::infinity()
                              : std::numeric_limits<double>::quiet_NaN();
  } else if (field == 0) {
    magnitude = std::ldexp(mantissa, 1 - bias - mantissa_bits);
  } else {
    magnitude = std::ldexp(mantissa + (1 << mantissa_bits), field - bias - mantissa_bits);
  }
  return (bits >> 15) != 0 ? -magnitude : magnitude;
}

/// An update in one of the element types.
struct Values {
  ElementType type;
  std::vector<std::uint8_t> bytes;
  std::vector<double> exact;

  explicit Values(ElementType element_type) : type(element_type) {}

  void add_bits(std::uint16_t bits) {
    append(&bits, sizeof bits);
    exact.push_back(type == ElementType::kFloat16 ? widen(bits, 5, 10) : widen(bits, 8, 7));
  }
  void add(double value) {
    if (type == ElementType::kFloat64) {
      append(&value, sizeof value);
      exact.push_back(value);
    } else if (type == ElementType::kFloat32) {
      const float narrow = static_cast<float>(value);
      append(&narrow, sizeof narrow);
      exact.push_back(static_cast<double>(narrow));
    } else {
      // Truncation to the format is enough here: `exact` is read back from the bits.
      const std::uint32_t word = std::bit_cast<std::uint32_t>(static_cast<float>(value));
      if (type == ElementType::kBfloat16) {
        add_bits(static_cast<std::uint16_t>(word >> 16));
      } else {
        const int exponent = static_cast<int>(word >> 23 & 0xff) - 127;
        const std::uint32_t sign = word >> 31 << 15;
        std::uint32_t bits = 0;
        if (exponent > 15) {
          bits = 0x7bff;
        } else if (exponent >= -14) {
          bits = static_cast<std::uint32_t>(exponent + 15) << 10 | (word >> 13 & 0x3ff);
        } else if (exponent >= -24) {
          bits = (0x400u | (word >> 13 & 0x3ff)) >> (-14 - exponent);
        }
        add_bits(static_cast<std::uint16_t>(sign | bits));
      }
    }
  }

 private:
  void append(const void* data, std::size_t size) {
    const auto* p = static_cast<const std::uint8_t*>(data);
    bytes.insert(bytes.end(), p, p + size);
  }
};

struct Setting {
  double weight = 1.0;
  double limit = 1.0;
  unsigned value_bits = 16;
  unsigned shift = 0;
  bool overwrite = true;
};

constexpr std::uint64_t kOld = 0x5;  // what the plane held before

/// The sentence in kernels.h, one value at a time.
std::uint64_t quantise_one(double x, const Setting& setting, const std::uint32_t* random,
                           std::uint64_t& clipped) {
  const double levels = std::ldexp(1.0, static_cast<int>(setting.value_bits) - 1) - 1;
  const double inverse_step = levels / setting.limit;
  double y = setting.weight * x;
  if (std::fabs(y) > setting.limit) {
    ++clipped;
    y = std::copysign(setting.limit, y);
  }
  const double t = y * inverse_step;
  double v = std::rint(t);
  if (random != nullptr) {
    const double u = static_cast<double>(*random) * std::ldexp(1.0, -32);
    v = std::floor(t + u);
  }
  v = std::fmin(std::fmax(v, -levels), levels);
  const std::uint64_t digit = static_cast<std::uint64_t>(static_cast<std::int64_t>(v + levels));
  return (setting.overwrite ? 0 : kOld) | digit << setting.shift;
}

void check_quantise(const Values& values, const Setting& setting,
                    const std::vector<std::uint32_t>* random) {
  std::vector<std::uint64_t> expected;
  std::uint64_t clipped = 0;
  for (std::size_t i = 0; i < values.exact.size(); ++i) {
    expected.push_back(quantise_one(values.exact[i], setting,
                                    random == nullptr ? nullptr : &(*random)[i], clipped));
  }
  isa::Quantise args{};
  args.values = values.bytes.data();
  args.type = values.type;
  args.count = values.exact.size();
  args.weight = setting.weight;
  args.limit = setting.limit;
  args.levels = (std::int64_t{1} << (setting.value_bits - 1)) - 1;
  args.inverse_step = static_cast<double>(args.levels) / setting.limit;
  args.random = random == nullptr ? nullptr : random->data();
  args.shift = setting.shift;
  args.overwrite = setting.overwrite;
  on_every_level([&](const KernelTable& table) {
    std::vector<std::uint64_t> plane(args.count, kOld);
    args.plane = plane.data();
    const isa::QuantiseResult result = table.quantise(args);
    CHECK(result.finite);
    CHECK_EQ(result.clipped, clipped);
    CHECK_EQ(plane, expected);
  });
}

constexpr ElementType kTypes[] = {ElementType::kFloat32, ElementType::kFloat64,
                                  ElementType::kFloat16, ElementType::kBfloat16};

std::vector<std::uint32_t> random_words(Random& random, std::size_t count) {
  std::vector<std::uint32_t> words(count);
  for (std::uint32_t& word : words) word = static_cast<std::uint32_t>(random.edgy(1ull << 32));
  return words;
}

TEST("quantise: every type, count, lane and rounding") {
  Random random(31);
  for (const ElementType type : kTypes) {
    for (std::size_t count = 0; count <= 70; ++count) {
      Values values(type);
      for (std::size_t i = 0; i < count; ++i) values.add(3.0 * random.unit() - 1.5);
      const std::vector<std::uint32_t> words = random_words(random, count);
      Setting setting;
      setting.weight = count % 3 == 0 ? 1.0 : 0.3 + random.unit();
      setting.limit = count % 2 == 0 ? 1.0 : 0.1 + random.unit();
      setting.value_bits = 2 + static_cast<unsigned>(random.below(31));
      setting.shift = count % 5 == 0 ? 0 : 3 + static_cast<unsigned>(random.below(13));
      setting.overwrite = setting.shift == 0;
      check_quantise(values, setting, nullptr);
      check_quantise(values, setting, &words);
    }
  }
}

TEST("quantise: ties to even, edges of the range, signed zeros, tiny and huge values") {
  Random random(32);
  for (const ElementType type : {ElementType::kFloat32, ElementType::kFloat64}) {
    for (const unsigned value_bits : {2u, 8u, 16u, 24u, 32u}) {
      const double levels = std::ldexp(1.0, static_cast<int>(value_bits) - 1) - 1;
      Values values(type);
      // With limit = levels the step is one, so these are exact ties and their neighbours.
      for (double x = -9.5; x <= 9.5; x += 0.5) {
        values.add(x);
        values.add(std::nextafter(x, -100.0));
        values.add(std::nextafter(x, 100.0));
      }
      const double largest = type == ElementType::kFloat32
                                 ? static_cast<double>(std::numeric_limits<float>::max())
                                 : std::numeric_limits<double>::max();
      for (const double x : {0.0, 1e-30, 4.9e-324, 1e-40, levels, levels - 0.5, levels - 0.25,
                             levels + 0.5, levels + 1e-6, largest}) {
        values.add(x);
        values.add(-x);
      }
      Setting setting;
      setting.limit = levels;
      setting.value_bits = value_bits;
      check_quantise(values, setting, nullptr);
      for (const std::uint32_t fixed : {0u, 1u, 0x7fffffffu, 0x80000000u, 0xffffffffu}) {
        const std::vector<std::uint32_t> words(values.exact.size(), fixed);
        check_quantise(values, setting, &words);
      }
    }
  }
}

TEST("quantise: all 65536 bit patterns of the half formats") {
  for (const ElementType type : {ElementType::kFloat16, ElementType::kBfloat16}) {
    Values values(type);
    std::vector<std::uint16_t> bad;
    for (std::uint32_t bits = 0; bits < 65536; ++bits) {
      const auto half = static_cast<std::uint16_t>(bits);
      const bool finite =
          std::isfinite(type == ElementType::kFloat16 ? widen(half, 5, 10) : widen(half, 8, 7));
      if (finite) {
        values.add_bits(half);
      } else {
        bad.push_back(half);
      }
    }
    // Powers of two as weights bring every exponent into the 31 bits that survive.
    for (int exponent = -120; exponent <= 150; exponent += 10) {
      Setting setting;
      setting.value_bits = 32;
      setting.limit = 2147483647.0;  // step one
      setting.weight = std::ldexp(1.0, exponent);
      check_quantise(values, setting, nullptr);
    }
    for (const std::uint16_t half : bad) {
      isa::Quantise args{};
      args.values = &half;
      args.type = type;
      args.count = 1;
      args.weight = args.limit = args.inverse_step = 1.0;
      args.levels = 1;
      args.overwrite = true;
      on_every_level([&](const KernelTable& table) {
        std::uint64_t plane = 0;
        args.plane = &plane;
        CHECK(!table.quantise(args).finite);
      });
    }
  }
}

TEST(
    "quantise: NaN and infinity are reported from any position, overflow by the weight is a clip") {
  for (const ElementType type : {ElementType::kFloat32, ElementType::kFloat64}) {
    for (const std::size_t count : {1, 7, 8, 9, 16, 17, 40}) {
      for (std::size_t position = 0; position < count; ++position) {
        for (const double poison :
             {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity(),
              -std::numeric_limits<double>::infinity()}) {
          for (const double weight : {1.0, 0.0}) {
            Values values(type);
            for (std::size_t i = 0; i < count; ++i) values.add(i == position ? poison : 0.25);
            isa::Quantise args{};
            args.values = values.bytes.data();
            args.type = type;
            args.count = count;
            args.weight = weight;
            args.limit = 1.0;
            args.levels = 127;
            args.inverse_step = 127.0;
            args.overwrite = true;
            on_every_level([&](const KernelTable& table) {
              std::vector<std::uint64_t> plane(count);
              args.plane = plane.data();
              CHECK(!table.quantise(args).finite);
            });
          }
        }
      }
    }
  }
  Values large(ElementType::kFloat64);
  for (const double x : {1e308, -1e308, 0.5, 1e300}) large.add(x);
  Setting setting;
  setting.weight = 1e10;
  check_quantise(large, setting, nullptr);
}

TEST("quantise: levels agree on 100 000 values of every type") {
  Random random(33);
  for (const ElementType type : kTypes) {
    Values values(type);
    for (std::size_t i = 0; i < 100'000; ++i) {
      values.add(std::ldexp(2.0 * random.unit() - 1.0, 2 - static_cast<int>(random.below(30))));
    }
    const std::vector<std::uint32_t> words = random_words(random, values.exact.size());
    Setting setting;
    setting.weight = 0.731;
    setting.limit = 0.9;
    for (const unsigned value_bits : {8u, 16u, 32u}) {
      setting.value_bits = value_bits;
      check_quantise(values, setting, nullptr);
      check_quantise(values, setting, &words);
    }
  }
}

TEST("dequantise: exact integer, one rounding in double, one more in float32") {
  Random random(34);
  for (const bool wide : {false, true}) {
    for (std::size_t count = 0; count <= 70; ++count) {
      for (const unsigned width : {2u, 20u, 36u, 48u}) {
        const unsigned shift = static_cast<unsigned>(random.below(49 - width));
        isa::Dequantise args{};
        args.count = count;
        args.shift = shift;
        args.mask = (std::uint64_t{1} << width) - 1;
        args.offset = static_cast<std::int64_t>(random.edgy(args.mask + 1));
        args.scale = std::ldexp(random.unit() + 0.1, -static_cast<int>(random.below(40)));
        args.type = wide ? ElementType::kFloat64 : ElementType::kFloat32;
        if (count % 10 == 9) args.offset = (std::int64_t{1} << 52) - 1;
        std::vector<std::uint64_t> plane(count);
        for (std::uint64_t& word : plane) {
          word = random.edgy(args.mask + 1) << shift | random.below(std::uint64_t{1} << shift);
          if (width + shift < 48) word |= random.below(16) << (width + shift);
        }
        args.plane = plane.data();
        on_every_level([&](const KernelTable& table) {
          std::vector<double> doubles(count);
          std::vector<float> floats(count);
          args.out = wide ? static_cast<void*>(doubles.data()) : static_cast<void*>(floats.data());
          table.dequantise(args);
          for (std::size_t i = 0; i < count; ++i) {
            const auto digit = static_cast<std::int64_t>(plane[i] >> shift & args.mask);
            const double value = static_cast<double>(digit - args.offset) * args.scale;
            if (wide) {
              CHECK_EQ(doubles[i], value);
            } else {
              CHECK_EQ(floats[i], static_cast<float>(value));
            }
          }
        });
      }
    }
  }
}

}  // namespace
}  // namespace veilsum::test
