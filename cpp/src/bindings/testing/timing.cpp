// Layer: bindings (testing only). Times a kernel of one level in a loop of its own, over buffers
// laid out as the layers above lay them out: a call from Python costs more than a kernel takes. One
// limb, and the numbers of the default plan: two digits of 16 bits for ten clients in 43-bit
// fields. For bench/test_kernels.py.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/aligned_buffer.h"
#include "bindings/testing/registry.h"
#include "ring/block_arithmetic.h"
#include "ring/fields.h"
#include "ring/modular.h"
#include "ring/primes.h"
#include "ring/ring.h"

namespace veilsum::testing {
namespace {

constexpr std::uint32_t kFieldBits = 43;
constexpr std::uint32_t kDigits = 2;
constexpr std::int64_t kLevels = 32767;  // of 16-bit values
constexpr std::uint32_t kSources = 10;   // uploads of a sum
constexpr std::uint64_t kBase = kSources * 0xffff + 1;

/// Buffers for every kernel at one n, filled with values in the ranges that kernels.h asks for.
class Workbench {
 public:
  Workbench(const isa::KernelTable& table, std::uint32_t n)
      : table_(table),
        n_(n),
        ring_(n, 1),
        numbers_(ring_, kFieldBits, kBase, kDigits),
        residues_(n),
        companions_(n),
        scratch_(n),
        fields_(n),
        digits_(std::size_t{n} * kDigits),
        digits_out_(std::size_t{n} * kDigits),
        values_(n),
        samples_(n),
        packed_(block_bytes()),
        packed_out_(block_bytes()),
        pad_(std::size_t{n} / isa::kGroup * isa::kResidueBytes),
        keystream_(std::size_t{n} * 8),
        powers_(isa::kTagEvaluations) {
    key_.rounds = 14;
    for (std::size_t i = 0; i < sizeof(key_.bytes); ++i) {
      key_.bytes[i] = static_cast<std::uint8_t>(37 * i + 11);
    }
    table_.expand_uniform(key_, 1, modulus(), n_, residues_.data());
    for (std::uint32_t i = 0; i < n_; ++i) {
      companions_[i] = ring::shoup_companion(residues_[i], modulus().q);
      scratch_[i] = residues_[i];
      fields_[i] = residues_[i] & view().fields[0]->mask;
      for (std::uint32_t d = 0; d < kDigits; ++d) {
        digits_[std::size_t{d} * n_ + i] = static_cast<std::uint32_t>((residues_[i] >> d) & 0xffff);
      }
      values_[i] = static_cast<float>(i % 2001) / 1000.0F - 1.0F;
    }
    pack_fields();
    std::copy(packed_out_.data(), packed_out_.data() + packed_out_.size(), packed_.data());
    make_pad();
    for (isa::TagPowers& powers : powers_) {
      for (std::size_t j = 0; j < isa::kTagStep; ++j) {
        powers.power[j] = residues_[j % n_];
        powers.low[j] = static_cast<double>(residues_[j % n_] & 0x1ffffff);
        powers.high[j] = static_cast<double>(residues_[j % n_] >> 25);
      }
      for (std::uint64_t& step : powers.step) step = residues_[0];
    }
    sources_.assign(kSources, packed_.data());
  }

  /// What one repetition of `kernel` does.
  /// @throws std::invalid_argument for an unknown name
  std::function<void()> step(const std::string& kernel) {
    const std::map<std::string, std::function<void()>> steps = {
        {"aes_ctr", [this] { table_.aes_ctr(key_, 2, 0, keystream_.data(), n_ / 2); }},
        {"ntt_forward", [this] { table_.ntt_forward(scratch_.data(), ring_.tables(0).view()); }},
        {"ntt_inverse",
         [this] { table_.ntt_inverse_lazy(scratch_.data(), ring_.tables(0).view()); }},
        {"expand_uniform",
         [this] { table_.expand_uniform(key_, 3, modulus(), n_, scratch_.data()); }},
        {"multiply_slots",
         [this] {
           table_.multiply_slots(residues_.data(), residues_.data(), companions_.data(), modulus(),
                                 n_, scratch_.data());
         }},
        {"multiply_inverse", [this] { multiply_inverse(); }},
        {"sample_cbd", [this] { table_.sample_cbd(key_, 5, n_, samples_.data()); }},
        {"pack_fields", [this] { pack_fields(); }},
        {"unpack_fields",
         [this] { table_.unpack_fields(packed_.data(), n_, *view().fields[0], scratch_.data()); }},
        {"quantise", [this] { quantise(true); }},
        {"quantise_double", [this] { quantise(false); }},
        {"dequantise", [this] { dequantise(true); }},
        {"dequantise_double", [this] { dequantise(false); }},
        {"encrypt_block", [this] { encrypt_block(); }},
        {"make_pad", [this] { make_pad(); }},
        {"encrypt_from_pad", [this] { encrypt_from_pad(); }},
        {"decrypt_block", [this] { decrypt_block(); }},
        {"tag_run", [this] { tag_runs(); }},
        {"sum_fields_10", [this] { sum_fields(); }},
    };
    const auto found = steps.find(kernel);
    if (found == steps.end()) throw std::invalid_argument("no kernel is called '" + kernel + "'");
    return found->second;
  }

 private:
  std::size_t block_bytes() const { return std::size_t{n_} / isa::kGroup * kFieldBits; }
  const isa::Modulus& modulus() const { return ring_.modulus(0); }
  const isa::BlockView& view() const { return numbers_.view(); }

  static void check(bool valid) {
    if (!valid) throw std::logic_error("the timed kernel refused valid input");
  }

  void multiply_inverse() {
    isa::MultiplyInverse args{};
    args.a = residues_.data();
    args.slots = residues_.data();
    args.companions = companions_.data();
    args.view = &ring_.tables(0).view();
    args.out = scratch_.data();
    table_.multiply_inverse(args);
  }

  void quantise(bool in_float) {
    isa::Quantise args{};
    args.values = values_.data();
    args.type = isa::ElementType::kFloat32;
    args.in_float = in_float;
    args.count = n_;
    args.weight = 1.0;
    args.limit = 1.0;
    args.inverse_step = static_cast<double>(kLevels);
    args.levels = kLevels;
    args.digits = digits_.data();
    check(table_.quantise(args).finite);
  }

  void dequantise(bool in_float) {
    isa::Dequantise args{};
    args.narrow = digits_.data();
    args.in_float = in_float;
    args.count = n_;
    args.offset = kLevels;
    args.scale = 1.0 / static_cast<double>(kLevels);
    args.type = isa::ElementType::kFloat32;
    args.out = values_.data();
    table_.dequantise(args);
  }

  void encrypt_block() {
    isa::EncryptBlock args{};
    args.view = &view();
    args.pads = residues_.data();
    args.pad_stride = n_;
    args.digits = digits_.data();
    args.digit_stride = n_;
    args.error_key = &key_;
    args.error_index = 6;
    args.coefficients = n_;
    args.out = packed_out_.data();
    table_.encrypt_block(args);
  }

  void make_pad() {
    isa::MakePad args{};
    args.view = &view();
    args.pads = residues_.data();
    args.pad_stride = n_;
    args.error_key = &key_;
    args.error_index = 6;
    args.coefficients = n_;
    args.out = pad_.data();
    table_.make_pad(args);
  }

  void encrypt_from_pad() {
    isa::EncryptFromPad args{};
    args.view = &view();
    args.pad = pad_.data();
    args.digits = digits_.data();
    args.digit_stride = n_;
    args.coefficients = n_;
    args.out = packed_out_.data();
    table_.encrypt_from_pad(args);
  }

  /// Random fields: some are out of range, which costs a kernel nothing.
  void decrypt_block() {
    isa::DecryptBlock args{};
    args.view = &view();
    args.packed = packed_.data();
    args.pads = residues_.data();
    args.pad_stride = n_;
    args.coefficients = n_;
    args.digits.narrow = digits_out_.data();
    args.digits.stride = n_;
    static_cast<void>(table_.decrypt_block(args));
  }

  void sum_fields() {
    isa::SumFields args{};
    args.view = &view();
    args.sources = sources_.data();
    args.source_count = kSources;
    args.coefficients = n_;
    args.out = packed_out_.data();
    table_.sum_fields(args);
  }

  /// The runs of one block: a word of two digits a coefficient, at two points.
  void tag_runs() {
    isa::TagRun args{};
    args.stride = n_;
    args.base = kBase;
    args.digit_count = kDigits;
    const std::uint64_t scale[] = {1, kBase};
    args.scale = scale;
    args.prime = isa::kTagPrime50;
    args.powers = powers_.data();
    for (std::size_t first = 0; first < n_; first += isa::kTagRun) {
      args.narrow = digits_.data() + first;
      args.count = std::min<std::size_t>(isa::kTagRun, n_ - first);
      std::uint64_t out[isa::kTagEvaluations];
      table_.tag_run(args, out);
      check(out[0] < args.prime);
    }
  }

  void pack_fields() {
    table_.pack_fields(fields_.data(), n_, *view().fields[0], packed_out_.data());
  }

  const isa::KernelTable& table_;
  std::uint32_t n_;
  ring::Ring ring_;
  ring::BlockArithmetic numbers_;
  isa::AesKey key_{};
  AlignedBuffer<std::uint64_t> residues_;
  AlignedBuffer<std::uint64_t> companions_;
  AlignedBuffer<std::uint64_t> scratch_;
  AlignedBuffer<std::uint64_t> fields_;
  AlignedBuffer<std::uint32_t> digits_;
  AlignedBuffer<std::uint32_t> digits_out_;
  AlignedBuffer<float> values_;
  AlignedBuffer<std::int8_t> samples_;
  AlignedBuffer<std::uint8_t> packed_;
  AlignedBuffer<std::uint8_t> packed_out_;
  AlignedBuffer<std::uint8_t> pad_;
  AlignedBuffer<std::uint8_t> keystream_;
  AlignedBuffer<isa::TagPowers> powers_;
  std::vector<const std::uint8_t*> sources_;
};

/// Seconds that `repeats` calls of the kernel take together, after one that is not counted.
double time_kernel(const std::string& level, const std::string& kernel, std::uint32_t n,
                   std::uint32_t repeats) {
  Workbench bench(table_of(level), n);
  const std::function<void()> step = bench.step(kernel);
  step();
  const auto start = std::chrono::steady_clock::now();
  for (std::uint32_t i = 0; i < repeats; ++i) step();
  const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - start;
  return spent.count();
}

}  // namespace

void register_timing(py::module_& m) {
  m.def("time_kernel", &time_kernel, py::arg("level"), py::arg("kernel"), py::arg("n"),
        py::arg("repeats"));
}

}  // namespace veilsum::testing
