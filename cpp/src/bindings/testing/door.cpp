// Layer: bindings (testing only). The door: seeds that a release draws from the operating system,
// given by the test instead; and what follows from them.
#include <pybind11/stl.h>

#include <algorithm>
#include <array>
#include <memory>
#include <optional>
#include <stdexcept>
#include <tuple>
#include <utility>

#include "bindings/arrays.h"
#include "bindings/conversions.h"
#include "bindings/testing/registry.h"
#include "cipher/encrypt.h"
#include "cipher/pad_store.h"
#include "ring/expander.h"
#include "scheme/keys.h"
#include "scheme/opening.h"
#include "scheme/round.h"
#include "scheme/security_table.h"

namespace veilsum::testing {
namespace {

template <std::size_t N>
std::array<std::uint8_t, N> exact_bytes(const std::string& data) {
  std::array<std::uint8_t, N> out{};
  if (data.size() != out.size()) {
    throw std::invalid_argument("a seed has 32 bytes, a nonce 16");
  }
  std::copy(data.begin(), data.end(), out.begin());
  return out;
}

std::array<std::uint8_t, 32> bytes32(const std::string& data) { return exact_bytes<32>(data); }

/// (upload seed, rounding seed, nonce)
using SeedBytes = std::tuple<std::string, std::string, std::string>;

cipher::UploadSeeds upload_seeds(const SeedBytes& seeds) {
  return {Seed(bytes32(std::get<0>(seeds))), Seed(bytes32(std::get<1>(seeds))),
          exact_bytes<16>(std::get<2>(seeds))};
}

ByteView view_of(const std::string& data) {
  return {reinterpret_cast<const std::uint8_t*>(data.data()), data.size()};
}

/// One row a key.
Array<std::int64_t> rows_of(const scheme::Round& round, const scheme::KeyCoefficients& keys) {
  return Array<std::int64_t>({static_cast<py::ssize_t>(round.upload_keys()),
                              static_cast<py::ssize_t>(round.plan().degree())},
                             keys.data());
}

scheme::Round round_seeded(const scheme::Plan& plan, const scheme::PublicKey& public_key,
                           const std::vector<std::pair<std::uint64_t, double>>& segments,
                           const std::string& layout, std::uint64_t min_clients,
                           const std::vector<std::string>& roster, std::uint64_t upload_keys,
                           const std::string& seed) {
  scheme::RoundFields fields;
  for (const auto& [count, limit] : segments) fields.segments.push_back({count, limit});
  fields.layout = layout;
  fields.min_clients = min_clients;
  for (const std::string& client : roster) fields.roster.emplace_back(view_of(client));
  fields.upload_keys = upload_keys;
  return scheme::Round(plan, public_key, std::move(fields), bytes32(seed));
}

scheme::Upload encrypt_seeded(const scheme::Round& round, const std::vector<py::array>& pieces,
                              const std::vector<std::string>& dtypes, const SeedBytes& seeds,
                              const py::function& seal, double weight, const std::string& rounding,
                              const std::string& on_clip, int threads,
                              const std::optional<py::function>& progress,
                              const std::optional<std::uint32_t>& client) {
  const std::vector<cipher::Piece> views = bindings::make_pieces(pieces, dtypes);
  cipher::EncryptOptions options =
      bindings::make_encrypt_options(weight, rounding, on_clip, threads, progress);
  options.client = client.value_or(scheme::kNoClient);
  const cipher::UploadSeeds given = upload_seeds(seeds);
  const bindings::PythonSealer sealer(seal);
  const py::gil_scoped_release unlocked;  // the arrays are held by the caller's arguments
  return cipher::encrypt_with_seeds(round, views, options, sealer, given);
}

/// A store whose uploads get these seeds, in order; it runs dry after the last.
std::unique_ptr<cipher::PadStore> pad_store_seeded(const scheme::Round& round,
                                                   std::uint64_t budget_bytes,
                                                   std::uint64_t uploads, int threads,
                                                   const std::vector<SeedBytes>& seeds) {
  auto next = std::make_shared<std::size_t>(0);
  const auto draw = [next, seeds]() -> cipher::UploadSeeds {
    if (*next == seeds.size()) throw std::invalid_argument("no seeds are left");
    return upload_seeds(seeds[(*next)++]);
  };
  return std::make_unique<cipher::PadStore>(
      round, cipher::PadOptions{budget_bytes, uploads, threads}, draw);
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
  m.def("round_seeded", &round_seeded, py::arg("plan"), py::arg("public"), py::arg("segments"),
        py::arg("layout"), py::arg("min_clients"), py::arg("roster"), py::arg("upload_keys"),
        py::arg("seed"));
  m.def("encrypt_seeded", &encrypt_seeded, py::arg("round"), py::arg("pieces"), py::arg("dtypes"),
        py::arg("seeds"), py::arg("seal"), py::kw_only(), py::arg("weight") = 1.0,
        py::arg("rounding") = "nearest", py::arg("on_clip") = "count", py::arg("threads") = 0,
        py::arg("progress") = py::none(), py::arg("client") = py::none());
  m.def("pad_store_seeded", &pad_store_seeded, py::arg("round"), py::kw_only(),
        py::arg("budget_bytes"), py::arg("uploads"), py::arg("threads"), py::arg("seeds"));
  m.def(
      "expand_keys",
      [](const scheme::Round& round, const std::string& seed) {
        return rows_of(round, scheme::expand_keys(round, Seed(bytes32(seed))));
      },
      py::arg("round"), py::arg("seed"));
  m.def(
      "sum_key_coefficients",
      [](const scheme::SumKey& key) { return rows_of(key.round(), key.coefficients()); },
      py::arg("key"));
}

}  // namespace veilsum::testing
