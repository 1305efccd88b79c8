// Layer: tests (isa). Quantising and dequantising on every level against the formulas of kernels.h
// computed with the C library, in double and in float, for all four element types, at ties and
// edges; and how far the results in float may be, and are, from the exact ones.
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "check.h"
#include "support/guarded.h"
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
  bool in_float = false;

  std::int64_t levels() const { return (std::int64_t{1} << (value_bits - 1)) - 1; }
  double inverse_step() const { return static_cast<double>(levels()) / limit; }
};

/// Which bits of a 32-bit word a float formula uses: (word >> 8) 2^-24.
float unit_float(std::uint32_t word) { return std::ldexp(static_cast<float>(word >> 8), -24); }

/// The sentence in kernels.h, one value at a time, for Real = double or float.
template <typename Real>
std::uint32_t quantise_one(double exact, const Setting& setting, const std::uint32_t* random,
                           std::uint64_t& clipped) {
  const auto x = static_cast<Real>(exact), weight = static_cast<Real>(setting.weight);
  const auto limit = static_cast<Real>(setting.limit);
  const auto inverse_step = static_cast<Real>(setting.inverse_step());
  const auto levels = static_cast<Real>(setting.levels());
  Real y = weight * x;
  if (std::fabs(y) > limit) {
    ++clipped;
    y = std::copysign(limit, y);
  }
  const Real t = y * inverse_step;
  Real v = std::rint(t);
  if (random != nullptr && sizeof(Real) == sizeof(double)) {
    v = std::floor(t + std::ldexp(static_cast<Real>(*random), -32));
  } else if (random != nullptr) {
    const Real floor = std::floor(t);
    v = static_cast<Real>(unit_float(*random)) < t - floor ? floor + 1 : floor;
  }
  v = std::fmin(std::fmax(v, -levels), levels);
  return static_cast<std::uint32_t>(static_cast<std::int64_t>(v) + setting.levels());
}

isa::Quantise arguments(const Setting& setting, ElementType type, const void* values,
                        std::size_t count, std::uint32_t* digits) {
  isa::Quantise args{};
  args.values = values;
  args.type = type;
  args.in_float = setting.in_float;
  args.count = count;
  args.weight = setting.weight;
  args.limit = setting.limit;
  args.inverse_step = setting.inverse_step();
  args.levels = setting.levels();
  args.digits = digits;
  return args;
}

void check_quantise(const Values& values, const Setting& setting,
                    const std::vector<std::uint32_t>* random) {
  const std::size_t count = values.exact.size();
  std::vector<std::uint32_t> expected;
  std::uint64_t clipped = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint32_t* word = random == nullptr ? nullptr : &(*random)[i];
    expected.push_back(setting.in_float
                           ? quantise_one<float>(values.exact[i], setting, word, clipped)
                           : quantise_one<double>(values.exact[i], setting, word, clipped));
  }
  const Border border = count % 2 == 0 ? Border::kAbove : Border::kBelow;
  const Guarded<std::uint8_t> input(values.bytes, border);
  const Guarded<std::uint32_t> words(random == nullptr ? expected : *random, border);
  on_every_level([&](const KernelTable& table) {
    Guarded<std::uint32_t> digits(count, border);
    digits.fill(0xa5a5a5a5u);
    isa::Quantise args = arguments(setting, values.type, input.data(), count, digits.data());
    args.random = random == nullptr ? nullptr : words.data();
    const isa::QuantiseResult result = table.quantise(args);
    CHECK(result.finite);
    CHECK_EQ(result.clipped, clipped);
    CHECK_EQ(digits.copy(), expected);
  });
}

constexpr ElementType kTypes[] = {ElementType::kFloat32, ElementType::kFloat64,
                                  ElementType::kFloat16, ElementType::kBfloat16};
constexpr ElementType kFloatTypes[] = {ElementType::kFloat32, ElementType::kFloat16,
                                       ElementType::kBfloat16};

std::vector<std::uint32_t> random_words(Random& random, std::size_t count) {
  std::vector<std::uint32_t> words(count);
  for (std::uint32_t& word : words) word = static_cast<std::uint32_t>(random.edgy(1ull << 32));
  return words;
}

TEST("quantise: every type, count and rounding, in double and in float") {
  Random random(31);
  for (const bool in_float : {false, true}) {
    for (const ElementType type : kTypes) {
      if (in_float && type == ElementType::kFloat64) continue;
      for (std::size_t count = 0; count <= 70; ++count) {
        Values values(type);
        for (std::size_t i = 0; i < count; ++i) values.add(3.0 * random.unit() - 1.5);
        const std::vector<std::uint32_t> words = random_words(random, count);
        Setting setting;
        setting.in_float = in_float;
        setting.weight = count % 3 == 0 ? 1.0 : 0.3 + random.unit();
        setting.limit = count % 2 == 0 ? 1.0 : 0.1 + random.unit();
        setting.value_bits = 2 + static_cast<unsigned>(random.below(in_float ? 15 : 31));
        check_quantise(values, setting, nullptr);
        check_quantise(values, setting, &words);
      }
    }
  }
}

TEST("quantise: ties to even, edges of the range, signed zeros, tiny and huge values") {
  for (const bool in_float : {false, true}) {
    for (const ElementType type : {ElementType::kFloat32, ElementType::kFloat64}) {
      if (in_float && type == ElementType::kFloat64) continue;
      for (const unsigned value_bits : {2u, 3u, 8u, 15u, 16u, 24u, 32u}) {
        if (in_float && value_bits > 16) continue;
        Setting setting;
        setting.in_float = in_float;
        setting.value_bits = value_bits;
        setting.limit = static_cast<double>(setting.levels());
        const double levels = setting.limit;
        Values values(type);
        const auto add_around = [&](double x) {
          values.add(x);
          if (type == ElementType::kFloat64) {
            values.add(std::nextafter(x, -1e9));
            values.add(std::nextafter(x, 1e9));
          } else {
            values.add(static_cast<double>(std::nextafter(static_cast<float>(x), -1e9f)));
            values.add(static_cast<double>(std::nextafter(static_cast<float>(x), 1e9f)));
          }
        };
        // With limit = levels the step is one, so these are exact ties and their neighbours.
        for (double x = 0; x <= 9.5; x += 0.5) {
          for (const double at : {x, -x, levels - x, x - levels}) add_around(at);
        }
        const double largest = type == ElementType::kFloat32
                                   ? static_cast<double>(std::numeric_limits<float>::max())
                                   : std::numeric_limits<double>::max();
        for (const double x : {1e-30, 4.9e-324, 1.4e-45, 1e-40, 1.17e-38, levels - 0.25,
                               levels + 0.5, levels + 1e-6, largest}) {
          values.add(x);
          values.add(-x);
        }
        check_quantise(values, setting, nullptr);
        for (const std::uint32_t fixed :
             {0u, 1u, 0xffu, 0x100u, 0x7fffffffu, 0x80000000u, 0xffffff00u, 0xffffffffu}) {
          const std::vector<std::uint32_t> words(values.exact.size(), fixed);
          check_quantise(values, setting, &words);
        }
      }
    }
  }
}

TEST("quantise: stochastic rounding at the very fraction, one side and the other") {
  // Step one, and fractions that 24 bits hold, so that both formulas are exact.
  Random random(37);
  for (const bool in_float : {false, true}) {
    Values values(ElementType::kFloat32);
    std::vector<std::uint32_t> words;
    Setting setting;
    setting.in_float = in_float;
    setting.limit = 32767.0;
    for (int i = 0; i < 4000; ++i) {
      const double whole = static_cast<double>(random.below(1 << 8)) - (1 << 7);
      const auto parts = static_cast<std::uint32_t>(random.edgy(1 << 16));
      values.add(whole + std::ldexp(parts, -16));
      // In float up goes u < fraction, in double u >= 1 - fraction.
      const std::uint32_t edge = (in_float ? parts : (1u << 16) - parts) << 16;
      words.push_back(edge - (i % 3 == 0 ? 1 : 0) + (i % 3 == 2 ? 0x100 : 0));
    }
    check_quantise(values, setting, &words);
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
    Random random(38);
    const std::vector<std::uint32_t> words = random_words(random, values.exact.size());
    // Powers of two as weights bring every exponent into the bits that survive.
    Setting setting;
    for (int exponent = -120; exponent <= 150; exponent += 10) {
      setting.value_bits = 32;
      setting.limit = static_cast<double>(setting.levels());  // step one
      setting.weight = std::ldexp(1.0, exponent);
      check_quantise(values, setting, nullptr);
    }
    setting.in_float = true;
    for (int exponent = -60; exponent <= 60; exponent += 6) {
      setting.value_bits = 16;
      setting.limit = static_cast<double>(setting.levels());
      setting.weight = std::ldexp(1.0, exponent);
      check_quantise(values, setting, nullptr);
      check_quantise(values, setting, &words);
    }
    for (const std::uint16_t half : bad) {
      for (const bool in_float : {false, true}) {
        setting.in_float = in_float;
        on_every_level([&](const KernelTable& table) {
          std::uint32_t digit = 0;
          CHECK(!table.quantise(arguments(setting, type, &half, 1, &digit)).finite);
        });
      }
    }
  }
}

TEST(
    "quantise: NaN and infinity are reported from any position, overflow by the weight is a clip") {
  constexpr double kPoison[] = {std::numeric_limits<double>::quiet_NaN(),
                                std::numeric_limits<double>::infinity(),
                                -std::numeric_limits<double>::infinity()};
  Random random(39);
  const std::vector<std::uint32_t> words = random_words(random, 80);
  for (const ElementType type : kTypes) {
    for (const bool in_float : {false, true}) {
      if (in_float && type == ElementType::kFloat64) continue;
      for (const std::size_t count : {1, 7, 8, 9, 15, 16, 17, 31, 32, 33, 40, 64, 71}) {
        for (std::size_t position = 0; position < count; ++position) {
          Values values(type);
          for (std::size_t i = 0; i < count; ++i) {
            if (i != position) {
              values.add(0.25);
            } else if (type == ElementType::kFloat16 || type == ElementType::kBfloat16) {
              const std::uint16_t infinity = type == ElementType::kFloat16 ? 0x7c00 : 0x7f80;
              const std::uint16_t bits[] = {static_cast<std::uint16_t>(infinity | 1), infinity,
                                            static_cast<std::uint16_t>(infinity | 0x8000)};
              values.add_bits(bits[position % 3]);
            } else {
              values.add(kPoison[position % 3]);
            }
          }
          for (const double weight : {1.0, 0.0}) {
            if (in_float && weight == 0.0) continue;  // out of its range
            Setting setting;
            setting.weight = weight;
            setting.in_float = in_float;
            on_every_level([&](const KernelTable& table) {
              std::vector<std::uint32_t> digits(count);
              isa::Quantise args =
                  arguments(setting, type, values.bytes.data(), count, digits.data());
              CHECK(!table.quantise(args).finite);
              args.random = words.data();
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
  Values large_floats(ElementType::kFloat32);
  for (const double x : {3e38, -3e38, 0.5, 1e-30}) large_floats.add(x);
  setting.in_float = true;
  check_quantise(large_floats, setting, nullptr);
}

TEST("quantise: 100,000 values of every type") {
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
      for (const bool in_float : {false, true}) {
        if (in_float && (value_bits > 16 || type == ElementType::kFloat64)) continue;
        setting.in_float = in_float;
        check_quantise(values, setting, nullptr);
        check_quantise(values, setting, &words);
      }
    }
  }
}

TEST("quantise in float: constants at both ends of their range") {
  Random random(36);
  for (const ElementType type : kFloatTypes) {
    for (const int weight : {-60, -59, 0, 59, 60}) {
      for (const int limit : {-44, 0, 59}) {
        Setting setting;
        setting.in_float = true;
        setting.weight = std::ldexp(1.0, weight);
        setting.limit = std::ldexp(1.0, limit);
        Values values(type);
        for (int i = 0; i < 200; ++i) {
          const double x = std::ldexp(3.0 * random.unit() - 1.5, limit - weight);
          if (std::fabs(x) < 65504 || type != ElementType::kFloat16) values.add(x);
        }
        const std::vector<std::uint32_t> words = random_words(random, values.exact.size());
        check_quantise(values, setting, nullptr);
        check_quantise(values, setting, &words);
      }
    }
  }
}

TEST("quantise in float: off by at most levels * 2^-22 steps, and nearly that") {
  // Weight and inverse step lie next to the middle between two floats, and so does nearly every
  // product: each of the four roundings may lose 2^-24 of the value.
  Setting setting;
  setting.in_float = true;
  setting.weight = 1.0 + 0x1p-24 + 0x1p-40;  // becomes 1 + 2^-23
  setting.limit = 32767.0 / (32768.0 * (1.0 + 0x1p-24 + 0x1p-40));
  const double bound = 32767.0 * 0x1p-22;
  CHECK(bound < 0.008);
  Random random(35);
  Values values(ElementType::kFloat32);
  for (int i = 0; i < 400'000; ++i) {
    // Values just beside a tie near the end of the range, where an error of t changes the digit.
    const double tie = 32700.5 - static_cast<double>(random.below(16'000));
    const double x = tie / (setting.inverse_step() * setting.weight);
    values.add(x * (1.0 + (random.unit() - 0.5) * 0x1p-21) * (i % 2 == 0 ? 1 : -1));
  }
  check_quantise(values, setting, nullptr);
  on_every_level([&](const KernelTable& table) {
    std::vector<std::uint32_t> digits(values.exact.size());
    table.quantise(
        arguments(setting, values.type, values.bytes.data(), digits.size(), digits.data()));
    double worst = 0;
    for (std::size_t i = 0; i < digits.size(); ++i) {
      const double t = setting.weight * values.exact[i] * setting.inverse_step();
      const double v = static_cast<double>(digits[i]) - 32767.0;
      worst = std::fmax(worst, std::fabs(v - t) - 0.5);
    }
    CHECK(worst <= bound);
    CHECK(worst > 0.5 * bound);
  });
}

// --- back ----------------------------------------------------------------------------------------

/// Digits as 32-bit or as 64-bit words.
struct Digits {
  std::vector<std::uint32_t> narrow;
  std::vector<std::uint64_t> wide;
  bool is_wide;

  Digits(Random& random, std::size_t count, std::uint64_t end, bool as_wide) : is_wide(as_wide) {
    for (std::size_t i = 0; i < count; ++i) {
      const std::uint64_t digit = random.edgy(end);
      if (is_wide) {
        wide.push_back(digit);
      } else {
        narrow.push_back(static_cast<std::uint32_t>(digit));
      }
    }
  }
  std::size_t size() const { return is_wide ? wide.size() : narrow.size(); }
  std::int64_t operator[](std::size_t i) const {
    return static_cast<std::int64_t>(is_wide ? wide[i] : narrow[i]);
  }
};

/// The sentence in kernels.h.
template <typename Out>
Out dequantise_one(std::int64_t v, double scale, bool in_float) {
  if (!in_float) return static_cast<Out>(static_cast<double>(v) * scale);
  const auto high = static_cast<float>(scale);
  const auto low = static_cast<float>(scale - static_cast<double>(high));
  return static_cast<Out>(std::fma(static_cast<float>(v), high, static_cast<float>(v) * low));
}

template <typename Out>
void check_dequantise(const Digits& digits, std::int64_t offset, double scale, bool in_float) {
  const std::size_t count = digits.size();
  const Border border = count % 2 == 0 ? Border::kAbove : Border::kBelow;
  const Guarded<std::uint32_t> narrow(digits.narrow, border);
  const Guarded<std::uint64_t> wide(digits.wide, border);
  on_every_level([&](const KernelTable& table) {
    Guarded<Out> out(count, border);
    out.fill(Out(7));
    isa::Dequantise args{};
    args.narrow = digits.is_wide ? nullptr : narrow.data();
    args.wide = digits.is_wide ? wide.data() : nullptr;
    args.in_float = in_float;
    args.count = count;
    args.offset = offset;
    args.scale = scale;
    args.type = sizeof(Out) == sizeof(float) ? ElementType::kFloat32 : ElementType::kFloat64;
    args.out = out.data();
    bool within = true;
    for (std::size_t i = 0; i < count; ++i) within = within && digits[i] <= 2 * offset;
    CHECK_EQ(table.dequantise(args), within);
    for (std::size_t i = 0; i < count; ++i) {
      const Out expected = dequantise_one<Out>(digits[i] - offset, scale, in_float);
      CHECK_EQ(out[i], expected);
      CHECK_EQ(std::signbit(out[i]), std::signbit(expected));
    }
  });
}

TEST("dequantise: exact integer, one rounding in double, one more in float32") {
  Random random(34);
  for (const bool as_wide : {false, true}) {
    for (std::size_t count = 0; count <= 70; ++count) {
      for (const unsigned width : {1u, 2u, 20u, 31u, 32u, 33u, 48u, 51u, 52u}) {
        if (!as_wide && width > 32) continue;
        const std::uint64_t end = std::uint64_t{1} << width;
        const Digits digits(random, count, end, as_wide);
        auto offset = static_cast<std::int64_t>(random.edgy(end));
        if (count % 10 == 9) offset = (std::int64_t{1} << 52) - 1;
        if (count % 10 == 8) offset = 0;
        const double scale =
            std::ldexp(random.unit() + 0.1, 40 - static_cast<int>(random.below(80)));
        check_dequantise<float>(digits, offset, scale, false);
        check_dequantise<double>(digits, offset, scale, false);
      }
    }
  }
}

TEST("dequantise in float: the product with the scale as a sum of two floats") {
  Random random(40);
  constexpr std::int64_t kEnd = 1 << 24;
  for (std::size_t count = 0; count <= 140; ++count) {
    for (const unsigned width : {2u, 16u, 24u, 25u}) {
      const std::uint64_t end = std::uint64_t{1} << width;
      const Digits digits(random, count, end - 1, false);
      // |v| < 2^24: digits below 2^25 - 1 around an offset of 2^24 - 1.
      const std::int64_t offset = width == 25   ? kEnd - 1
                                  : count == 11 ? 0
                                                : static_cast<std::int64_t>(random.edgy(end));
      const double scale = count % 9 == 0   ? 0x1p-60
                           : count % 9 == 1 ? 0x1p60
                           : count % 9 == 2 ? 0x1.fffffefffffffp-7  // next to a middle of floats
                           : count % 9 == 3 ? 0x1.0000010000001p5
                                            : std::ldexp(random.unit() + 0.5,
                                                         50 - static_cast<int>(random.below(100)));
      check_dequantise<float>(digits, offset, scale, true);
    }
  }
}

TEST("dequantise says whether a digit is above twice the offset, wherever it stands") {
  on_every_level([&](const KernelTable& table) {
    for (const bool as_wide : {false, true}) {
      for (const bool in_float : {false, true}) {
        if (as_wide && in_float) continue;
        for (const ElementType type : {ElementType::kFloat32, ElementType::kFloat64}) {
          if (in_float && type == ElementType::kFloat64) continue;
          const std::uint64_t most = as_wide    ? (std::uint64_t{1} << 51) - 2
                                     : in_float ? (std::uint64_t{1} << 24) - 2
                                                : 0xfffffffe;
          for (std::size_t count = 1; count <= 70; ++count) {
            std::vector<std::uint32_t> narrow(count, static_cast<std::uint32_t>(most));
            std::vector<std::uint64_t> wide(count, most);
            std::vector<double> out(count);
            isa::Dequantise args{};
            args.narrow = as_wide ? nullptr : narrow.data();
            args.wide = as_wide ? wide.data() : nullptr;
            args.in_float = in_float;
            args.count = count;
            args.offset = static_cast<std::int64_t>(most / 2);
            args.scale = 0.25;
            args.type = type;
            args.out = out.data();
            CHECK(table.dequantise(args));
            for (std::size_t at = 0; at < count; ++at) {
              ++narrow[at], ++wide[at];
              CHECK(!table.dequantise(args));
              --narrow[at], --wide[at];
            }
          }
        }
      }
    }
  });
}

TEST("dequantise in float: half an ulp and 2^-22 of one from the exact product at most") {
  // The fused sum rounds once. What it is given is off by two roundings of a term below 2^-24 of
  // the result (of `low` itself, and of its product): 2^-47 of the result, 2^-23 ulps, at most.
  Random random(41);
  const Digits digits(random, 200'000, 1 << 24, false);
  const double scale = 0x1.2345678abcdefp-20;
  std::size_t not_nearest = 0;
  on_every_level([&](const KernelTable& table) {
    std::vector<float> out(digits.size());
    isa::Dequantise args{};
    args.narrow = digits.narrow.data();
    args.in_float = true;
    args.count = out.size();
    args.offset = 1 << 23;
    args.scale = scale;
    args.type = ElementType::kFloat32;
    args.out = out.data();
    table.dequantise(args);
    for (std::size_t i = 0; i < out.size(); ++i) {
      const auto v = static_cast<double>(digits[i] - args.offset);
      const double exact = v * scale;  // to 2^-53 of it
      const double ulp = std::ldexp(1.0, std::ilogb(out[i]) - 23);
      if (v != 0) {
        CHECK(std::fabs(static_cast<double>(out[i]) - exact) <= (0.5 + 0x1p-22) * ulp);
      }
      not_nearest += out[i] != static_cast<float>(exact);
    }
  });
  CHECK(not_nearest < 10);  // a few in 2^24 are expected
}

}  // namespace
}  // namespace veilsum::test
