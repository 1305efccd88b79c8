// Layer: base. Owning, 64-byte aligned, move-only storage for the kernels, in a plain and in a
// wiping form. Elements are left uninitialised unless asked for: large uploads are written once.
#pragma once

#include <cstddef>
#include <new>
#include <span>
#include <type_traits>
#include <utility>

#include "base/wipe.h"

namespace veilsum {

enum class Initialise { kNo, kZero };

/// Memory aligned to 64 bytes, to be returned with release_aligned(data, bytes).
///
/// Uploads are written once, front to back, and the first touch of fresh pages would cost as much
/// again as encrypting them. So memory from 128 KiB on is kept for the next request of the same
/// size, up to 256 MiB in all; from 8 MiB on it is aligned to 2 MiB and asks the system for pages
/// of that size.
/// @throws std::bad_alloc
void* allocate_aligned(std::size_t bytes);
void release_aligned(void* data, std::size_t bytes) noexcept;

/// `kSecret` buffers are wiped before their memory is returned.
template <typename T, bool kSecret>
class BasicBuffer {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  static constexpr std::size_t kAlignment = 64;
  static_assert(alignof(T) <= kAlignment);

  BasicBuffer() = default;

  /// @throws std::bad_alloc when the memory cannot be had or the size overflows.
  explicit BasicBuffer(std::size_t size, Initialise initialise = Initialise::kNo) : size_(size) {
    if (size == 0) return;
    if (size > (static_cast<std::size_t>(-1) - kAlignment) / sizeof(T)) throw std::bad_alloc();
    data_ = static_cast<T*>(allocate_aligned(size * sizeof(T)));
    if (initialise == Initialise::kZero) {
      for (std::size_t i = 0; i < size; ++i) data_[i] = T{};
    }
  }

  BasicBuffer(const BasicBuffer&) = delete;
  BasicBuffer& operator=(const BasicBuffer&) = delete;
  BasicBuffer(BasicBuffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  BasicBuffer& operator=(BasicBuffer&& other) noexcept {
    if (this != &other) {
      release();
      data_ = std::exchange(other.data_, nullptr);
      size_ = std::exchange(other.size_, 0);
    }
    return *this;
  }
  ~BasicBuffer() { release(); }

  T* data() noexcept { return data_; }
  const T* data() const noexcept { return data_; }
  std::size_t size() const noexcept { return size_; }
  bool empty() const noexcept { return size_ == 0; }
  T& operator[](std::size_t i) noexcept { return data_[i]; }
  const T& operator[](std::size_t i) const noexcept { return data_[i]; }
  T* begin() noexcept { return data_; }
  T* end() noexcept { return data_ + size_; }
  const T* begin() const noexcept { return data_; }
  const T* end() const noexcept { return data_ + size_; }
  std::span<T> span() noexcept { return {data_, size_}; }
  std::span<const T> span() const noexcept { return {data_, size_}; }

 private:
  void release() noexcept {
    if constexpr (kSecret) secure_wipe(data_, size_ * sizeof(T));
    release_aligned(data_, size_ * sizeof(T));
    data_ = nullptr;
  }

  T* data_ = nullptr;
  std::size_t size_ = 0;
};

template <typename T>
using AlignedBuffer = BasicBuffer<T, false>;

/// For keys, pads, errors and everything they can be computed from.
template <typename T>
using SecretBuffer = BasicBuffer<T, true>;

}  // namespace veilsum
