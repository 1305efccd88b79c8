// Layer: bindings (testing only). Sharing of vectors over GF(p), interpolation, decoding.
#include <pybind11/stl.h>

#include <algorithm>
#include <optional>
#include <stdexcept>
#include <utility>
#include <vector>

#include "bindings/testing/registry.h"
#include "ring/expander.h"
#include "ring/prime_field.h"
#include "ring/reed_solomon.h"
#include "ring/shamir.h"

namespace veilsum::testing {
namespace {

using Words = Array<std::uint64_t>;
using Members = std::vector<std::uint32_t>;

std::span<const std::uint64_t> span_of(const Words& array) {
  return {array.data(), static_cast<std::size_t>(array.size())};
}

Words vector_of(const ring::Elements& elements) {
  return Words(static_cast<py::ssize_t>(elements.size()), elements.data());
}

/// One row a member.
Words rows_of(const ring::Elements& elements, std::size_t rows) {
  return Words({static_cast<py::ssize_t>(rows), static_cast<py::ssize_t>(elements.size() / rows)},
               elements.data());
}

Words uniform_elements(std::uint64_t p, const std::string& round_keys, std::uint64_t index,
                       std::size_t count) {
  return vector_of(
      ring::uniform_elements(ring::PrimeField(p), aes_key_of(round_keys), index, count));
}

py::bytes pack_elements(std::uint64_t p, const Words& elements) {
  const ring::PrimeField field(p);
  const GuardedBuffer out(ring::packed_bytes(field, static_cast<std::size_t>(elements.size())), 1);
  ring::pack_elements(field, span_of(elements), out.as<std::uint8_t>());
  return to_bytes(out);
}

Words unpack_elements(std::uint64_t p, const std::string& packed, std::size_t count) {
  ring::Elements out(count);
  ring::unpack_elements(ring::PrimeField(p),
                        {reinterpret_cast<const std::uint8_t*>(packed.data()), packed.size()},
                        out.span());
  return vector_of(out);
}

Words combine_challenge(std::uint64_t p, const std::string& digest, const Words& share) {
  Digest challenge{};
  if (digest.size() != challenge.size()) throw std::invalid_argument("a digest has 32 bytes");
  std::copy(digest.begin(), digest.end(), challenge.begin());
  return vector_of(ring::combine_challenge(ring::PrimeField(p), challenge, span_of(share)));
}

/// (t, n) over GF(p), with answers as a list of members and an array of rows.
class Scheme {
 public:
  Scheme(std::uint64_t p, std::uint32_t members, std::uint32_t threshold)
      : scheme_(ring::PrimeField(p), members, threshold) {}

  Words evaluate(const Words& coefficients) const {
    return rows_of(ring::evaluate(scheme_, span_of(coefficients)), scheme_.members());
  }
  Words share(const Words& secret, const std::string& round_keys, std::uint64_t index) const {
    return rows_of(ring::share(scheme_, span_of(secret), aes_key_of(round_keys), index),
                   scheme_.members());
  }
  Words share_signed(const Array<std::int64_t>& secret, const std::string& round_keys,
                     std::uint64_t index) const {
    const std::span numbers(secret.data(), static_cast<std::size_t>(secret.size()));
    return rows_of(ring::share_signed(scheme_, numbers, aes_key_of(round_keys), index),
                   scheme_.members());
  }
  Words reconstruct(const Members& members, const Words& words) const {
    return vector_of(ring::reconstruct(scheme_, {members, span_of(words)}));
  }
  std::pair<std::optional<Words>, Members> decode(const Members& members,
                                                  const Words& words) const {
    ring::Decoded decoded = ring::decode(scheme_, {members, span_of(words)});
    std::optional<Words> secret;
    if (decoded.secret) secret = vector_of(*decoded.secret);
    return {std::move(secret), std::move(decoded.wrong)};
  }
  std::pair<std::string, Members> distance(const Members& members, const Words& words,
                                           std::uint32_t f) const {
    ring::DistanceVerdict found = ring::distance_from_code(scheme_, {members, span_of(words)}, f);
    const char* const name = found.distance == ring::Distance::kWithin    ? "within"
                             : found.distance == ring::Distance::kFarther ? "farther"
                                                                          : "undecided";
    return {name, std::move(found.differing)};
  }

 private:
  ring::Shamir scheme_;
};

}  // namespace

void register_sharing(py::module_& m) {
  const auto array = [](const char* name) { return py::arg(name).noconvert(); };
  m.def("tag_primes", [] { return std::pair(ring::kTagPrime, ring::kWideTagPrime); });
  m.def("sharing_prime", &ring::sharing_prime, py::arg("total_weight"), py::arg("members"));
  m.def("uniform_elements", &uniform_elements, py::arg("p"), py::arg("round_keys"),
        py::arg("index"), py::arg("count"));
  m.def("pack_elements", &pack_elements, py::arg("p"), array("elements"));
  m.def("unpack_elements", &unpack_elements, py::arg("p"), py::arg("packed"), py::arg("count"));
  m.def(
      "add_elements",
      [](std::uint64_t p, const Words& a, const Words& b) {
        ring::Elements sum(static_cast<std::size_t>(a.size()));
        std::copy_n(a.data(), sum.size(), sum.data());
        ring::add_inplace(ring::PrimeField(p), sum.span(), span_of(b));
        return vector_of(sum);
      },
      py::arg("p"), array("a"), array("b"));
  m.def(
      "centred_elements",
      [](std::uint64_t p, const Words& elements) {
        const auto out = ring::centred(ring::PrimeField(p), span_of(elements));
        return Array<std::int64_t>(static_cast<py::ssize_t>(out.size()), out.data());
      },
      py::arg("p"), array("elements"));
  m.def(
      "all_within",
      [](const Array<std::int64_t>& values, std::uint64_t bound) {
        return ring::all_within({values.data(), static_cast<std::size_t>(values.size())}, bound);
      },
      array("values"), py::arg("bound"));
  m.def(
      "challenge_elements",
      [](std::uint64_t p) { return ring::challenge_elements(ring::PrimeField(p)); }, py::arg("p"));
  m.def("combine_challenge", &combine_challenge, py::arg("p"), py::arg("digest"), array("share"));
  m.def("trial_subsets", &ring::trial_subsets, py::arg("answers"), py::arg("threshold"));
  py::class_<Scheme>(m, "Shamir")
      .def(py::init<std::uint64_t, std::uint32_t, std::uint32_t>(), py::arg("p"),
           py::arg("members"), py::arg("threshold"))
      .def("evaluate", &Scheme::evaluate, array("coefficients"))
      .def("share", &Scheme::share, array("secret"), py::arg("round_keys"), py::arg("index"))
      .def("share_signed", &Scheme::share_signed, array("secret"), py::arg("round_keys"),
           py::arg("index"))
      .def("reconstruct", &Scheme::reconstruct, py::arg("members"), array("words"))
      .def("decode", &Scheme::decode, py::arg("members"), array("words"))
      .def("distance", &Scheme::distance, py::arg("members"), array("words"), py::arg("f"));
}

}  // namespace veilsum::testing
