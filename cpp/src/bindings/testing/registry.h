// Layer: bindings (testing only). What the parts of veilsum._core_testing share: their register
// functions, the lookup of a kernel table by name, and buffers that catch a kernel that strays.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "isa/kernels.h"

namespace veilsum::testing {

namespace py = pybind11;

/// C-contiguous array; nothing is cast on the way in (arguments are declared `noconvert`).
template <typename T>
using Array = py::array_t<T, py::array::c_style>;

void register_primitives(py::module_& m);
void register_ring(py::module_& m);
void register_sharing(py::module_& m);
void register_blocks(py::module_& m);
void register_tags(py::module_& m);
void register_tagged(py::module_& m);
void register_values(py::module_& m);
void register_door(py::module_& m);
void register_timing(py::module_& m);

/// The table of a level that this machine can run.
/// @throws std::invalid_argument for any other name
const isa::KernelTable& table_of(const std::string& level);
std::vector<std::string> level_names();

/// Memory between two inaccessible pages. The data ends at the upper one, as closely as its
/// alignment allows; the bytes around it hold a pattern that `check` verifies. A kernel that reads
/// or writes past its range dies at once or is reported, instead of passing by luck.
class GuardedBuffer {
 public:
  /// @param alignment a power of two, at most 64
  GuardedBuffer(std::size_t bytes, std::size_t alignment);
  GuardedBuffer(const void* content, std::size_t bytes, std::size_t alignment);
  GuardedBuffer(GuardedBuffer&& other) noexcept;
  GuardedBuffer(const GuardedBuffer&) = delete;
  GuardedBuffer& operator=(const GuardedBuffer&) = delete;
  GuardedBuffer& operator=(GuardedBuffer&&) = delete;
  ~GuardedBuffer();

  template <typename T>
  T* as() const noexcept {
    return reinterpret_cast<T*>(data_);
  }
  std::size_t bytes() const noexcept { return bytes_; }
  /// @throws std::logic_error when a byte beside the data has changed
  void check() const;

 private:
  std::uint8_t* mapping_ = nullptr;
  std::size_t mapped_ = 0;
  std::uint8_t* data_ = nullptr;
  std::size_t bytes_ = 0;
  std::size_t page_ = 0;
};

/// Addresses that a process may name but not touch.
class NoAccess {
 public:
  static constexpr std::size_t kBytes = std::size_t{1} << 20;
  NoAccess();
  NoAccess(const NoAccess&) = delete;
  NoAccess& operator=(const NoAccess&) = delete;
  ~NoAccess();
  void* data() const noexcept { return data_; }

 private:
  void* data_;
};

/// Alignment the layers above give to polynomials; bytes from outside have none.
inline constexpr std::size_t kPolynomialAlignment = 64;

template <typename T>
GuardedBuffer guarded(const Array<T>& array, std::size_t alignment = kPolynomialAlignment) {
  return {array.data(), static_cast<std::size_t>(array.nbytes()), alignment};
}

template <typename T>
Array<T> to_array(const GuardedBuffer& buffer) {
  buffer.check();
  return Array<T>(static_cast<py::ssize_t>(buffer.bytes() / sizeof(T)), buffer.as<const T>());
}

py::bytes to_bytes(const GuardedBuffer& buffer);

/// Round keys (16 * (rounds + 1) bytes) as the kernels take them.
isa::AesKey aes_key_of(const std::string& round_keys);

}  // namespace veilsum::testing
