// Layer: bindings (testing only). Transforms, expansion, sampling and products of one level, with
// the core's own tables, and those tables themselves.
#include "ring/ring.h"

#include <map>
#include <memory>
#include <stdexcept>
#include <utility>

#include "bindings/testing/registry.h"
#include "ring/modular.h"
#include "ring/primes.h"

namespace veilsum::testing {
namespace {

const ring::NttTables& tables_of(std::uint32_t n, std::uint64_t q) {
  static std::map<std::pair<std::uint32_t, std::uint64_t>, std::unique_ptr<ring::NttTables>> made;
  auto& tables = made[{n, q}];
  if (!tables) tables = std::make_unique<ring::NttTables>(n, q);
  return *tables;
}

const ring::NttTables& tables_for(const Array<std::uint64_t>& a, std::uint64_t q) {
  return tables_of(static_cast<std::uint32_t>(a.size()), q);
}

Array<std::uint64_t> ntt_forward(const std::string& level, const Array<std::uint64_t>& a,
                                 std::uint64_t q) {
  const GuardedBuffer buffer = guarded(a);
  table_of(level).ntt_forward(buffer.as<std::uint64_t>(), tables_for(a, q).view());
  return to_array<std::uint64_t>(buffer);
}

Array<std::uint64_t> ntt_inverse_lazy(const std::string& level, const Array<std::uint64_t>& a,
                                      std::uint64_t q) {
  const GuardedBuffer buffer = guarded(a);
  table_of(level).ntt_inverse_lazy(buffer.as<std::uint64_t>(), tables_for(a, q).view());
  return to_array<std::uint64_t>(buffer);
}

py::dict ntt_tables(std::uint32_t n, std::uint64_t q) {
  const isa::NttView& view = tables_of(n, q).view();
  const auto array = [](const std::uint64_t* data, std::size_t size) {
    return Array<std::uint64_t>(static_cast<py::ssize_t>(size), data);
  };
  py::dict out;
  out["roots"] = array(view.roots, n);
  out["roots_shoup"] = array(view.roots_shoup, n);
  out["inverse_roots"] = array(view.inverse_roots, n);
  out["inverse_roots_shoup"] = array(view.inverse_roots_shoup, n);
  out["tail"] = array(view.tail, n / 16 * 48);
  out["inverse_tail"] = array(view.inverse_tail, n / 16 * 48);
  out["delta"] = view.modulus.delta;
  return out;
}

Array<std::uint64_t> expand_uniform(const std::string& level, const std::string& round_keys,
                                    std::uint64_t index, std::uint64_t q, std::size_t n) {
  const isa::AesKey key = aes_key_of(round_keys);
  const GuardedBuffer out(n * sizeof(std::uint64_t), kPolynomialAlignment);
  table_of(level).expand_uniform(key, index, ring::make_modulus(q), n, out.as<std::uint64_t>());
  return to_array<std::uint64_t>(out);
}

GuardedBuffer companions_of(const Array<std::uint64_t>& slots, std::uint64_t q) {
  const auto n = static_cast<std::size_t>(slots.size());
  GuardedBuffer companions(n * sizeof(std::uint64_t), kPolynomialAlignment);
  for (std::size_t i = 0; i < n; ++i) {
    companions.as<std::uint64_t>()[i] = ring::shoup_companion(slots.data()[i], q);
  }
  return companions;
}

Array<std::uint64_t> multiply_slots(const std::string& level, const Array<std::uint64_t>& a,
                                    const Array<std::uint64_t>& slots, std::uint64_t q,
                                    bool in_place) {
  if (a.size() != slots.size()) throw std::invalid_argument("as many slots as words");
  const auto n = static_cast<std::size_t>(slots.size());
  const GuardedBuffer in = guarded(a);
  const GuardedBuffer factors = guarded(slots);
  const GuardedBuffer companions = companions_of(slots, q);
  const GuardedBuffer separate(n * sizeof(std::uint64_t), kPolynomialAlignment);
  const GuardedBuffer& out = in_place ? in : separate;
  table_of(level).multiply_slots(in.as<const std::uint64_t>(), factors.as<const std::uint64_t>(),
                                 companions.as<const std::uint64_t>(), ring::make_modulus(q), n,
                                 out.as<std::uint64_t>());
  return to_array<std::uint64_t>(out);
}

/// With `ahead`, the memory that the kernel may ask for early is memory that nobody may touch: a
/// prefetch of it does nothing, an access ends the process.
Array<std::uint64_t> multiply_inverse(const std::string& level, const Array<std::uint64_t>& a,
                                      const Array<std::uint64_t>& slots, std::uint64_t q,
                                      bool in_place, bool ahead) {
  if (a.size() != slots.size()) throw std::invalid_argument("as many slots as words");
  const auto n = static_cast<std::size_t>(slots.size());
  const GuardedBuffer in = guarded(a);
  const GuardedBuffer factors = guarded(slots);
  const GuardedBuffer companions = companions_of(slots, q);
  const GuardedBuffer separate(n * sizeof(std::uint64_t), kPolynomialAlignment);
  const GuardedBuffer& out = in_place ? in : separate;
  isa::MultiplyInverse args{};
  args.a = in.as<const std::uint64_t>();
  args.slots = factors.as<const std::uint64_t>();
  args.companions = companions.as<const std::uint64_t>();
  args.view = &tables_for(a, q).view();
  args.out = out.as<std::uint64_t>();
  if (ahead) {
    const NoAccess forbidden;
    args.ahead = {forbidden.data(), NoAccess::kBytes, forbidden.data(), NoAccess::kBytes};
    table_of(level).multiply_inverse(args);
  } else {
    table_of(level).multiply_inverse(args);
  }
  in.check();
  return to_array<std::uint64_t>(out);
}

Array<std::int8_t> sample_cbd(const std::string& level, const std::string& round_keys,
                              std::uint64_t index, std::size_t n) {
  const isa::AesKey key = aes_key_of(round_keys);
  const GuardedBuffer out(n, 1);
  table_of(level).sample_cbd(key, index, n, out.as<std::int8_t>());
  return to_array<std::int8_t>(out);
}

}  // namespace

void register_ring(py::module_& m) {
  const auto array = [](const char* name) { return py::arg(name).noconvert(); };
  m.def("primes", [] {
    py::list out;
    for (const std::uint64_t p : ring::kPrimes) out.append(p);
    return out;
  });
  m.def("is_prime", &ring::is_prime, py::arg("n"));
  m.def("primitive_root_of_unity", &ring::primitive_root_of_unity, py::arg("q"), py::arg("n"));
  m.def("shoup_companion_secret", &ring::shoup_companion_secret, py::arg("w"), py::arg("q"));
  m.def("ntt_tables", &ntt_tables, py::arg("n"), py::arg("q"));
  m.def("ntt_forward", &ntt_forward, py::arg("level"), array("a"), py::arg("q"));
  m.def("ntt_inverse_lazy", &ntt_inverse_lazy, py::arg("level"), array("a"), py::arg("q"));
  m.def("expand_uniform", &expand_uniform, py::arg("level"), py::arg("round_keys"),
        py::arg("index"), py::arg("q"), py::arg("n"));
  m.def("multiply_slots", &multiply_slots, py::arg("level"), array("a"), array("slots"),
        py::arg("q"), py::arg("in_place") = false);
  m.def("multiply_inverse", &multiply_inverse, py::arg("level"), array("a"), array("slots"),
        py::arg("q"), py::arg("in_place") = false, py::arg("ahead") = false);
  m.def("sample_cbd", &sample_cbd, py::arg("level"), py::arg("round_keys"), py::arg("index"),
        py::arg("n"));
}

}  // namespace veilsum::testing
