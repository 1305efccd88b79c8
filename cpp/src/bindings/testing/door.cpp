// Layer: bindings (testing only). The door: seeds that a release draws from the operating system,
// given by the test instead; and the capsule, one step at a time.
#include <pybind11/stl.h>

#include <algorithm>
#include <array>
#include <memory>
#include <optional>
#include <stdexcept>
#include <utility>

#include "bindings/arrays.h"
#include "bindings/conversions.h"
#include "bindings/testing/registry.h"
#include "codec/encrypt.h"
#include "codec/pad_store.h"
#include "ring/expander.h"
#include "scheme/capsule.h"
#include "scheme/keys.h"
#include "scheme/opening.h"
#include "scheme/round.h"
#include "scheme/security_table.h"

namespace veilsum::testing {
namespace {

using bindings::to_python;

std::array<std::uint8_t, 32> bytes32(const std::string& data) {
  std::array<std::uint8_t, 32> out{};
  if (data.size() != out.size()) throw std::invalid_argument("a seed has 32 bytes");
  std::copy(data.begin(), data.end(), out.begin());
  return out;
}

ByteView view_of(const std::string& data) {
  return {reinterpret_cast<const std::uint8_t*>(data.data()), data.size()};
}

Array<std::int64_t> coefficients_of(const scheme::EphemeralKey& key) {
  return Array<std::int64_t>(static_cast<py::ssize_t>(key.size()), key.data());
}

std::pair<scheme::SecretKey, scheme::PublicKey> keygen_seeded(const scheme::Plan& plan,
                                                              const std::string& key_seed,
                                                              const std::string& public_seed) {
  scheme::SecretKey secret(ring::Ring::get(plan.capsule().degree, plan.capsule().limbs),
                           Seed(bytes32(key_seed)), bytes32(public_seed));
  scheme::PublicKey public_key = secret.public_key();
  return {std::move(secret), std::move(public_key)};
}

scheme::Round round_seeded(const scheme::Plan& plan, const scheme::PublicKey& public_key,
                           const std::vector<std::pair<std::uint64_t, double>>& segments,
                           const std::string& layout, std::uint64_t min_clients,
                           const std::vector<std::string>& roster, const std::string& seed) {
  scheme::RoundFields fields;
  for (const auto& [count, limit] : segments) fields.segments.push_back({count, limit});
  fields.layout = layout;
  fields.min_clients = min_clients;
  for (const std::string& key : roster) fields.roster.push_back(bytes32(key));
  return scheme::Round(plan, public_key, std::move(fields), bytes32(seed));
}

scheme::Upload encrypt_seeded(const scheme::Round& round, const std::vector<py::array>& pieces,
                              const std::vector<std::string>& dtypes,
                              const std::string& capsule_seed, const std::string& error_seed,
                              const std::string& rounding_seed, double weight,
                              const std::string& rounding, const std::string& on_clip, int threads,
                              const std::optional<py::function>& progress) {
  const std::vector<codec::Piece> views = bindings::make_pieces(pieces, dtypes);
  const codec::EncryptOptions options =
      bindings::make_encrypt_options(weight, rounding, on_clip, threads, progress);
  const codec::UploadSeeds seeds{Seed(bytes32(capsule_seed)), Seed(bytes32(error_seed)),
                                 Seed(bytes32(rounding_seed))};
  const py::gil_scoped_release unlocked;  // the arrays are held by the caller's arguments
  return codec::encrypt_with_seeds(round, views, options, seeds);
}

/// A store whose uploads get these seeds, three each, in order; it runs dry after the last.
std::unique_ptr<codec::PadStore> pad_store_seeded(const scheme::Round& round,
                                                  std::uint64_t budget_bytes, std::uint64_t uploads,
                                                  int threads,
                                                  const std::vector<std::string>& seeds) {
  auto next = std::make_shared<std::size_t>(0);
  const auto draw = [next, seeds]() -> codec::UploadSeeds {
    if (*next + 3 > seeds.size()) throw std::invalid_argument("no seeds are left");
    const std::size_t at = std::exchange(*next, *next + 3);
    return {Seed(bytes32(seeds[at])), Seed(bytes32(seeds[at + 1])), Seed(bytes32(seeds[at + 2]))};
  };
  return std::make_unique<codec::PadStore>(round, codec::PadOptions{budget_bytes, uploads, threads},
                                           draw);
}

py::tuple make_capsule(const scheme::Round& round, const std::string& seed) {
  const scheme::Capsule capsule = scheme::make_capsule(round, Seed(bytes32(seed)));
  return py::make_tuple(to_python(capsule.bytes), coefficients_of(capsule.key));
}

void check_capsule_size(const scheme::Plan& plan, const std::string& capsule) {
  if (capsule.size() != plan.capsule().bytes) throw std::invalid_argument("not a capsule's size");
}

Array<std::int64_t> open_fresh_capsule(const scheme::SecretKey& secret, const scheme::Round& round,
                                       const std::string& capsule) {
  check_capsule_size(round.plan(), capsule);
  return coefficients_of(scheme::open_fresh_capsule(secret, round, view_of(capsule), "the test"));
}

Array<std::int64_t> open_summed_capsule(const scheme::SecretKey& secret, const scheme::Round& round,
                                        const std::string& capsule, std::uint64_t total_weight) {
  check_capsule_size(round.plan(), capsule);
  return coefficients_of(
      scheme::open_summed_capsule(secret, round, view_of(capsule), total_weight));
}

py::bytes sum_capsules(const scheme::Plan& plan, const std::vector<std::string>& capsules,
                       const std::vector<std::uint64_t>& weights) {
  if (capsules.size() != weights.size()) throw std::invalid_argument("one weight for each capsule");
  std::vector<ByteView> views;
  for (const std::string& capsule : capsules) {
    check_capsule_size(plan, capsule);
    views.push_back(view_of(capsule));
  }
  return to_python(scheme::sum_capsules(plan, views, weights));
}

py::bytes expander_round_keys(const std::string& label, const std::string& context,
                              const std::string& seed, std::size_t key_bytes) {
  const ring::Expander expander(label, view_of(context), view_of(seed),
                                key_bytes == 16 ? ring::KeySize::kAes128 : ring::KeySize::kAes256);
  return py::bytes(reinterpret_cast<const char*>(expander.key().bytes),
                   16 * (std::size_t{expander.key().rounds} + 1));
}

}  // namespace

void register_door(py::module_& m) {
  m.def("max_log2_modulus", &scheme::max_log2_modulus, py::arg("degree"), py::arg("security"));
  m.def("expander_round_keys", &expander_round_keys, py::arg("label"), py::arg("context"),
        py::arg("seed"), py::arg("key_bytes"));
  m.def("keygen_seeded", &keygen_seeded, py::arg("plan"), py::arg("key_seed"),
        py::arg("public_seed"));
  m.def("round_seeded", &round_seeded, py::arg("plan"), py::arg("public"), py::arg("segments"),
        py::arg("layout"), py::arg("min_clients"), py::arg("roster"), py::arg("seed"));
  m.def("encrypt_seeded", &encrypt_seeded, py::arg("round"), py::arg("pieces"), py::arg("dtypes"),
        py::arg("capsule_seed"), py::arg("error_seed"), py::arg("rounding_seed"), py::kw_only(),
        py::arg("weight") = 1.0, py::arg("rounding") = "nearest", py::arg("on_clip") = "count",
        py::arg("threads") = 0, py::arg("progress") = py::none());
  m.def("pad_store_seeded", &pad_store_seeded, py::arg("round"), py::kw_only(),
        py::arg("budget_bytes"), py::arg("uploads"), py::arg("threads"), py::arg("seeds"));
  m.def("make_capsule", &make_capsule, py::arg("round"), py::arg("seed"));
  m.def("open_fresh_capsule", &open_fresh_capsule, py::arg("secret"), py::arg("round"),
        py::arg("capsule"));
  m.def("open_summed_capsule", &open_summed_capsule, py::arg("secret"), py::arg("round"),
        py::arg("capsule"), py::arg("total_weight"));
  m.def("sum_capsules", &sum_capsules, py::arg("plan"), py::arg("capsules"), py::arg("weights"));
  m.def(
      "sum_key_coefficients",
      [](const scheme::SumKey& key) { return coefficients_of(key.coefficients()); },
      py::arg("key"));
}

}  // namespace veilsum::testing
