// Layer: tests. Arrays that border on a page which nobody may touch: a kernel that reads or writes
// one byte beyond its arguments ends the program there and then.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <vector>

namespace veilsum::test {

/// The side on which the forbidden page lies. Above: the last byte is the page's neighbour, so the
/// array's address is as odd as its size. Below: the first byte is, on a page boundary.
enum class Border { kAbove, kBelow };

template <typename T>
class Guarded {
 public:
  Guarded(std::size_t count, Border border) : count_(count) {
    const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    const std::size_t bytes = count * sizeof(T);
    const std::size_t inner = (bytes + page - 1) / page * page;
    mapped_bytes_ = inner + 2 * page;
    void* memory = mmap(nullptr, mapped_bytes_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    mapped_ = static_cast<std::uint8_t*>(memory);
    if (inner != 0 && mprotect(mapped_ + page, inner, PROT_READ | PROT_WRITE) != 0) {
      munmap(mapped_, mapped_bytes_);
      throw std::bad_alloc();
    }
    data_ = reinterpret_cast<T*>(mapped_ + page + (border == Border::kAbove ? inner - bytes : 0));
  }
  Guarded(const std::vector<T>& content, Border border) : Guarded(content.size(), border) {
    std::copy(content.begin(), content.end(), data_);
  }
  Guarded(const Guarded&) = delete;
  Guarded& operator=(const Guarded&) = delete;
  ~Guarded() { munmap(mapped_, mapped_bytes_); }

  T* data() { return data_; }
  const T* data() const { return data_; }
  std::size_t size() const { return count_; }
  T& operator[](std::size_t i) { return data_[i]; }
  const T& operator[](std::size_t i) const { return data_[i]; }
  void fill(const T& value) { std::fill_n(data_, count_, value); }
  std::vector<T> copy() const { return std::vector<T>(data_, data_ + count_); }

 private:
  std::size_t count_;
  std::uint8_t* mapped_ = nullptr;
  std::size_t mapped_bytes_ = 0;
  T* data_ = nullptr;
};

}  // namespace veilsum::test
