// Layer: bindings (testing only). AES, SHA-256 and CRC-32C of one level, and the level switch.
#include <pybind11/stl.h>

#include <cstring>
#include <stdexcept>

#include "bindings/testing/registry.h"
#include "isa/aes_key.h"
#include "isa/dispatch.h"

namespace veilsum::testing {
namespace {

py::bytes aes_encrypt(const std::string& level, const std::string& round_keys,
                      const std::string& data, bool in_place) {
  if (data.size() % 16 != 0) throw std::invalid_argument("data is not whole blocks");
  const isa::AesKey key = aes_key_of(round_keys);
  const GuardedBuffer in(data.data(), data.size(), 1);
  const GuardedBuffer out(data.size(), 1);
  std::uint8_t* target = in_place ? in.as<std::uint8_t>() : out.as<std::uint8_t>();
  table_of(level).aes_encrypt_blocks(key, in.as<std::uint8_t>(), target, data.size() / 16);
  out.check();
  return to_bytes(in_place ? in : out);
}

py::bytes aes_ctr(const std::string& level, const std::string& round_keys, std::uint64_t index,
                  std::uint64_t first, std::size_t blocks) {
  const isa::AesKey key = aes_key_of(round_keys);
  const GuardedBuffer out(blocks * 16, 1);
  table_of(level).aes_ctr(key, index, first, out.as<std::uint8_t>(), blocks);
  return to_bytes(out);
}

py::bytes aes_round_keys(const std::string& key) {
  if (key.size() != 16 && key.size() != 32) throw std::invalid_argument("key has 16 or 32 bytes");
  isa::AesKey expanded{};
  isa::aes_expand_key(reinterpret_cast<const std::uint8_t*>(key.data()), key.size(), expanded);
  return py::bytes(reinterpret_cast<const char*>(expanded.bytes), 16 * (expanded.rounds + 1));
}

/// SHA-256 of a message that the caller has padded: whole 64-byte blocks from the initial state.
py::bytes sha256_padded(const std::string& level, const std::string& padded, std::size_t split) {
  if (padded.size() % 64 != 0 || split > padded.size() / 64) {
    throw std::invalid_argument("padded message is not whole blocks");
  }
  std::uint32_t state[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                            0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  const GuardedBuffer in(padded.data(), padded.size(), 1);
  const auto* data = in.as<const std::uint8_t>();
  table_of(level).sha256_compress(state, data, split);
  table_of(level).sha256_compress(state, data + 64 * split, padded.size() / 64 - split);
  std::string digest;
  for (const std::uint32_t word : state) {
    for (int shift = 24; shift >= 0; shift -= 8) {
      digest.push_back(static_cast<char>(word >> shift & 0xFF));
    }
  }
  return py::bytes(digest);
}

std::uint32_t crc32c(const std::string& level, std::uint32_t crc, const std::string& data) {
  const GuardedBuffer in(data.data(), data.size(), 1);
  return table_of(level).crc32c(crc, in.as<const std::uint8_t>(), data.size());
}

}  // namespace

void register_primitives(py::module_& m) {
  m.def("levels", &level_names, "ISA levels this machine can run, ascending.");
  m.def("active_level", [] { return std::string(isa::kernels().level); });
  m.def(
      "set_level",
      [](const std::string& level) { isa::set_active_level_for_tests(table_of(level).level); },
      py::arg("level"), "Makes `level` the active table of the whole process.");
  m.def("aes_encrypt", &aes_encrypt, py::arg("level"), py::arg("round_keys"), py::arg("data"),
        py::arg("in_place") = false);
  m.def("aes_ctr", &aes_ctr, py::arg("level"), py::arg("round_keys"), py::arg("index"),
        py::arg("first"), py::arg("blocks"));
  m.def("aes_round_keys", &aes_round_keys, py::arg("key"));
  m.def("sha256_padded", &sha256_padded, py::arg("level"), py::arg("padded"), py::arg("split") = 0);
  m.def("crc32c", &crc32c, py::arg("level"), py::arg("crc"), py::arg("data"));
}

}  // namespace veilsum::testing
