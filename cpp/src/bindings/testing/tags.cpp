// Layer: bindings (testing only). The sum tag's kernel of one level, with words and powers of the
// test's choice, and the ring layer's hash, masks and field on the active level.
#include <pybind11/stl.h>

#include <algorithm>
#include <array>
#include <stdexcept>

#include "bindings/testing/registry.h"
#include "ring/tag_hash.h"

namespace veilsum::testing {
namespace {

template <std::size_t kSize>
std::array<std::uint8_t, kSize> bytes_of(const std::string& text) {
  if (text.size() != kSize) {
    throw std::invalid_argument("expected " + std::to_string(kSize) + " bytes");
  }
  std::array<std::uint8_t, kSize> bytes;
  std::copy(text.begin(), text.end(), bytes.begin());
  return bytes;
}

Seed seed_of(const std::string& key) { return Seed(bytes_of<32>(key)); }

/// Rows of digits of either width, in memory that ends where they do.
template <typename T>
struct Rows {
  explicit Rows(const Array<T>& array) : buffer(guarded(array)) {
    if (array.ndim() != 2) throw std::invalid_argument("rows are [digits][coefficients]");
    stride = static_cast<std::size_t>(array.shape(1));
    count = static_cast<std::size_t>(array.shape(0));
  }
  GuardedBuffer buffer;
  std::size_t stride = 0;
  std::size_t count = 0;
};

/// `powers` is [2][kTagStep], `steps` [2][kTagRun / kTagStep]: any numbers below the prime.
template <typename T>
isa::TagRun run_of(const Rows<T>& rows, std::uint64_t base, const Array<std::uint64_t>& scale,
                   std::uint64_t prime) {
  if (static_cast<std::size_t>(scale.size()) != rows.count) {
    throw std::invalid_argument("as many scales as rows");
  }
  isa::TagRun args{};
  args.stride = rows.stride;
  args.base = base;
  args.digit_count = static_cast<std::uint32_t>(rows.count);
  args.scale = scale.data();
  args.count = rows.stride;
  args.prime = prime;
  return args;
}

std::array<std::uint64_t, 2> tag_run(const std::string& level, const py::array& digits,
                                     std::uint64_t base, const Array<std::uint64_t>& scale,
                                     std::uint64_t prime, const Array<std::uint64_t>& powers,
                                     const Array<std::uint64_t>& steps) {
  constexpr std::size_t kSteps = isa::kTagRun / isa::kTagStep;
  if (powers.size() != isa::kTagEvaluations * isa::kTagStep ||
      steps.size() != isa::kTagEvaluations * kSteps) {
    throw std::invalid_argument("powers and steps have two rows");
  }
  const GuardedBuffer tables(isa::kTagEvaluations * sizeof(isa::TagPowers), 64);
  auto* table = tables.as<isa::TagPowers>();
  for (std::size_t e = 0; e < isa::kTagEvaluations; ++e) {
    for (std::size_t j = 0; j < isa::kTagStep; ++j) {
      const std::uint64_t power = powers.data()[e * isa::kTagStep + j];
      table[e].power[j] = power;
      table[e].low[j] = static_cast<double>(power & 0x1ffffff);
      table[e].high[j] = static_cast<double>(power >> 25);
    }
    std::copy_n(steps.data() + e * kSteps, kSteps, table[e].step);
  }
  std::array<std::uint64_t, 2> out{};
  if (py::isinstance<Array<std::uint32_t>>(digits)) {
    const Rows<std::uint32_t> rows(py::cast<Array<std::uint32_t>>(digits));
    isa::TagRun args = run_of(rows, base, scale, prime);
    args.narrow = rows.buffer.template as<const std::uint32_t>();
    args.powers = table;
    table_of(level).tag_run(args, out.data());
  } else {
    const Rows<std::uint64_t> rows(py::cast<Array<std::uint64_t>>(digits));
    isa::TagRun args = run_of(rows, base, scale, prime);
    args.wide = rows.buffer.template as<const std::uint64_t>();
    args.powers = table;
    table_of(level).tag_run(args, out.data());
  }
  return out;
}

class Tags {
 public:
  Tags(std::uint64_t base, std::uint32_t digits, const std::string& key)
      : digits_(digits), key_(seed_of(key)), hash_(base, digits, key_) {}

  /// The hash of one block: rows [digits][>= coefficients], uint32 or uint64.
  ring::TagSum::Values block(std::uint64_t number, const py::array& digits,
                             std::size_t coefficients) const {
    ring::TagSum sum(hash_.field());
    if (py::isinstance<Array<std::uint32_t>>(digits)) {
      const Rows<std::uint32_t> rows(py::cast<Array<std::uint32_t>>(digits));
      check(rows.count, rows.stride, coefficients);
      hash_.add_block(number, {rows.buffer.as<const std::uint32_t>(), nullptr, rows.stride},
                      coefficients, sum);
    } else {
      const Rows<std::uint64_t> rows(py::cast<Array<std::uint64_t>>(digits));
      check(rows.count, rows.stride, coefficients);
      hash_.add_block(number, {nullptr, rows.buffer.as<const std::uint64_t>(), rows.stride},
                      coefficients, sum);
    }
    return sum.values();
  }
  ring::TagSum::Values mask(std::uint32_t client, const std::string& nonce) const {
    return ring::tag_mask(hash_.field(), key_, client, bytes_of<16>(nonce)).values();
  }
  /// a + weight * b - c
  ring::TagSum::Values combine(const ring::TagSum::Values& a, const ring::TagSum::Values& b,
                               std::uint64_t weight, const ring::TagSum::Values& c) const {
    ring::TagSum sum(hash_.field(), a);
    sum.add_weighted(ring::TagSum(hash_.field(), b), weight);
    sum.subtract(ring::TagSum(hash_.field(), c));
    return sum.values();
  }
  const ring::TagHash& hash() const { return hash_; }

 private:
  void check(std::size_t count, std::size_t stride, std::size_t coefficients) const {
    if (count != digits_ || stride < coefficients) {
      throw std::invalid_argument("rows are [digits][>= coefficients]");
    }
  }
  std::uint32_t digits_;
  Seed key_;
  ring::TagHash hash_;
};

}  // namespace

void register_tags(py::module_& m) {
  m.def("tag_run", &tag_run, py::arg("level"), py::arg("digits"), py::arg("base"),
        py::arg("scale").noconvert(), py::arg("prime"), py::arg("powers").noconvert(),
        py::arg("steps").noconvert());
  m.def(
      "tag_round_key",
      [](const std::string& round_id, const std::string& group_tag_key) {
        const Seed key = ring::tag_round_key(
            bytes_of<32>(round_id),
            {reinterpret_cast<const std::uint8_t*>(group_tag_key.data()), group_tag_key.size()});
        return py::bytes(reinterpret_cast<const char*>(key.data()), 32);
      },
      py::arg("round_id"), py::arg("group_tag_key"));
  m.def(
      "tag_field",
      [](std::uint64_t base) {
        const ring::TagField field(base);
        return py::make_tuple(field.prime(), field.digits_per_word());
      },
      py::arg("base"));
  m.def(
      "tag_element",
      [](std::uint64_t base, const std::string& block) {
        return ring::TagField(base).element(bytes_of<16>(block).data());
      },
      py::arg("base"), py::arg("block"));
  m.def(
      "tag_arithmetic",
      [](std::uint64_t base, std::uint64_t a, std::uint64_t b) {
        const ring::TagField field(base);
        return py::make_tuple(field.add(a, b), field.subtract(a, b), field.multiply(a, b));
      },
      py::arg("base"), py::arg("a"), py::arg("b"));
  py::class_<Tags>(m, "Tags")
      .def(py::init<std::uint64_t, std::uint32_t, const std::string&>(), py::arg("base"),
           py::arg("digits"), py::arg("key"))
      .def("block", &Tags::block, py::arg("number"), py::arg("digits"), py::arg("coefficients"))
      .def("mask", &Tags::mask, py::arg("client"), py::arg("nonce"))
      .def("combine", &Tags::combine, py::arg("a"), py::arg("b"), py::arg("weight"), py::arg("c"))
      .def_property_readonly("words_per_coefficient",
                             [](const Tags& tags) { return tags.hash().words_per_coefficient(); });
}

}  // namespace veilsum::testing
