// Layer: bindings (testing only). See registry.h.
#include "bindings/testing/registry.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <new>
#include <stdexcept>
#include <utility>

#include "isa/dispatch.h"

namespace veilsum::testing {
namespace {

constexpr std::uint8_t kPattern = 0xA5;

}  // namespace

const isa::KernelTable& table_of(const std::string& level) {
  for (const isa::KernelTable* table : isa::levels_present()) {
    if (level == table->level) return *table;
  }
  throw std::invalid_argument("this machine has no ISA level named '" + level + "'");
}

std::vector<std::string> level_names() {
  std::vector<std::string> names;
  for (const isa::KernelTable* table : isa::levels_present()) names.emplace_back(table->level);
  return names;
}

GuardedBuffer::GuardedBuffer(std::size_t bytes, std::size_t alignment)
    : bytes_(bytes), page_(static_cast<std::size_t>(sysconf(_SC_PAGESIZE))) {
  const std::size_t slot = (bytes + alignment - 1) / alignment * alignment;
  const std::size_t pages = (slot + page_ - 1) / page_ + 1;
  mapped_ = (pages + 2) * page_;
  void* mapping = mmap(nullptr, mapped_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapping == MAP_FAILED) throw std::bad_alloc();
  mapping_ = static_cast<std::uint8_t*>(mapping);
  if (mprotect(mapping_ + page_, pages * page_, PROT_READ | PROT_WRITE) != 0) {
    munmap(mapping_, mapped_);
    throw std::bad_alloc();
  }
  std::memset(mapping_ + page_, kPattern, pages * page_);
  data_ = mapping_ + mapped_ - page_ - slot;
}

GuardedBuffer::GuardedBuffer(const void* content, std::size_t bytes, std::size_t alignment)
    : GuardedBuffer(bytes, alignment) {
  if (bytes != 0) std::memcpy(data_, content, bytes);
}

GuardedBuffer::GuardedBuffer(GuardedBuffer&& other) noexcept
    : mapping_(std::exchange(other.mapping_, nullptr)),
      mapped_(other.mapped_),
      data_(other.data_),
      bytes_(other.bytes_),
      page_(other.page_) {}

GuardedBuffer::~GuardedBuffer() {
  if (mapping_ != nullptr) munmap(mapping_, mapped_);
}

void GuardedBuffer::check() const {
  const std::uint8_t* first = mapping_ + page_;
  const std::uint8_t* last = mapping_ + mapped_ - page_;
  for (const std::uint8_t* p = first; p != last; ++p) {
    if (p == data_) p += bytes_;
    if (p == last) break;
    if (*p != kPattern) throw std::logic_error("a kernel wrote outside its buffer");
  }
}

NoAccess::NoAccess() : data_(mmap(nullptr, kBytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) {
  if (data_ == MAP_FAILED) throw std::bad_alloc();
}

NoAccess::~NoAccess() { munmap(data_, kBytes); }

py::bytes to_bytes(const GuardedBuffer& buffer) {
  buffer.check();
  return py::bytes(buffer.as<const char>(), buffer.bytes());
}

isa::AesKey aes_key_of(const std::string& round_keys) {
  isa::AesKey key{};
  if (round_keys.size() != 16 * 11 && round_keys.size() != 16 * 15) {
    throw std::invalid_argument("round keys have 176 (AES-128) or 240 (AES-256) bytes");
  }
  std::memcpy(key.bytes, round_keys.data(), round_keys.size());
  key.rounds = static_cast<std::uint32_t>(round_keys.size() / 16 - 1);
  return key;
}

}  // namespace veilsum::testing
