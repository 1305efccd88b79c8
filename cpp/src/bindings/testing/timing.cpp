// Layer: bindings (testing only). Times a kernel of one level in a loop of its own, over buffers
// laid out as the layers above lay them out: a call from Python costs more than a kernel takes. One
// limb, and the words of the default plan: two lanes of 20 bits in one plane. For
// bench/test_kernels.py.
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/aligned_buffer.h"
#include "bindings/testing/registry.h"
#include "ring/codeword.h"
#include "ring/modular.h"
#include "ring/primes.h"
#include "ring/ring.h"

namespace veilsum::testing {
namespace {

constexpr unsigned kMessageBits = 40;
constexpr unsigned kLaneBits = 20;
constexpr std::int64_t kLevels = 32767;  // of 16-bit values
constexpr std::uint32_t kSources = 10;   // uploads of a sum

/// Buffers for every kernel at one n, filled with values in the ranges that kernels.h asks for.
class Workbench {
 public:
  Workbench(const isa::KernelTable& table, std::uint32_t n)
      : table_(table),
        n_(n),
        ring_(n, 1),
        codeword_(ring_, kMessageBits, kMessageBits),
        residues_(n),
        companions_(n),
        scratch_(n),
        planes_(n),
        values_(n),
        samples_(n),
        packed_(row_bytes()),
        packed_out_(row_bytes()),
        keystream_(std::size_t{n} * 8) {
    key_.rounds = 14;
    for (std::size_t i = 0; i < sizeof(key_.bytes); ++i) {
      key_.bytes[i] = static_cast<std::uint8_t>(37 * i + 11);
    }
    table_.expand_uniform(key_, 1, modulus(), n_, residues_.data());
    for (std::uint32_t i = 0; i < n_; ++i) {
      companions_[i] = ring::shoup_companion(residues_[i], modulus().q);
      scratch_[i] = residues_[i];
      planes_[i] = residues_[i] & ((std::uint64_t{1} << kMessageBits) - 1);
      values_[i] = static_cast<float>(i % 2001) / 1000.0F - 1.0F;
    }
    table_.pack(residues_.data(), n_, packed_.data());
    table_.pack(residues_.data(), n_, packed_out_.data());
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
        {"expand_multiply",
         [this] {
           table_.expand_multiply(key_, 4, modulus(), n_, residues_.data(), companions_.data(),
                                  scratch_.data());
         }},
        {"sample_cbd", [this] { table_.sample_cbd(key_, 5, n_, samples_.data()); }},
        {"pack", [this] { table_.pack(residues_.data(), n_, packed_out_.data()); }},
        {"unpack",
         [this] { check(table_.unpack(packed_.data(), n_, modulus().q, scratch_.data())); }},
        {"quantise", [this] { quantise(); }},
        {"dequantise", [this] { dequantise(); }},
        {"encrypt_block", [this] { encrypt_block(); }},
        {"add_message", [this] { add_message(); }},
        {"decrypt_block", [this] { decrypt_block(); }},
        {"sum_packed_10", [this] { sum_packed(); }},
    };
    const auto found = steps.find(kernel);
    if (found == steps.end()) throw std::invalid_argument("no kernel is called '" + kernel + "'");
    return found->second;
  }

 private:
  std::size_t row_bytes() const { return n_ / isa::kGroup * isa::kGroupBytes; }
  const isa::Modulus& modulus() const { return ring_.modulus(0); }

  static void check(bool valid) {
    if (!valid) throw std::logic_error("the timed kernel refused valid residues");
  }

  void quantise() {
    isa::Quantise args{};
    args.values = values_.data();
    args.type = isa::ElementType::kFloat32;
    args.count = n_;
    args.weight = 1.0;
    args.limit = 1.0;
    args.inverse_step = static_cast<double>(kLevels);
    args.levels = kLevels;
    args.overwrite = true;
    args.plane = planes_.data();
    check(table_.quantise(args).finite);
  }

  void dequantise() {
    isa::Dequantise args{};
    args.plane = planes_.data();
    args.count = n_;
    args.shift = kLaneBits;
    args.mask = (std::uint64_t{1} << kLaneBits) - 1;
    args.offset = kLevels;
    args.scale = 1.0 / static_cast<double>(kLevels);
    args.type = isa::ElementType::kFloat32;
    args.out = values_.data();
    table_.dequantise(args);
  }

  void encrypt_block() {
    isa::EncryptBlock args{};
    args.pads = residues_.data();
    args.pad_stride = n_;
    args.planes = planes_.data();
    args.plane_stride = n_;
    args.plane_count = codeword_.planes();
    args.limb_count = 1;
    args.limbs = codeword_.limb_views();
    args.error_key = &key_;
    args.error_index = 6;
    args.coefficients = n_;
    args.out = packed_out_.data();
    table_.encrypt_block(args);
  }

  void add_message() {
    isa::AddMessage args{};
    args.planes = planes_.data();
    args.plane_stride = n_;
    args.plane_count = codeword_.planes();
    args.limb_count = 1;
    args.limbs = codeword_.limb_views();
    args.coefficients = n_;
    args.packed = packed_out_.data();  // residues at the start, and residues again after each
    table_.add_message(args);
  }

  void decrypt_block() {
    isa::DecryptBlock args{};
    args.packed = packed_.data();
    args.pads = residues_.data();
    args.pad_stride = n_;
    args.decode = &codeword_.decode_view();
    args.coefficients = n_;
    args.planes = scratch_.data();
    args.plane_stride = n_;
    table_.decrypt_block(args);
  }

  void sum_packed() {
    isa::SumPacked args{};
    args.sources = sources_.data();
    args.source_count = kSources;
    args.coefficients = n_;
    args.modulus = modulus();
    args.out = packed_out_.data();
    check(table_.sum_packed(args));
  }

  const isa::KernelTable& table_;
  std::uint32_t n_;
  ring::Ring ring_;
  ring::Codeword codeword_;
  isa::AesKey key_{};
  AlignedBuffer<std::uint64_t> residues_;
  AlignedBuffer<std::uint64_t> companions_;
  AlignedBuffer<std::uint64_t> scratch_;
  AlignedBuffer<std::uint64_t> planes_;
  AlignedBuffer<float> values_;
  AlignedBuffer<std::int8_t> samples_;
  AlignedBuffer<std::uint8_t> packed_;
  AlignedBuffer<std::uint8_t> packed_out_;
  AlignedBuffer<std::uint8_t> keystream_;
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
