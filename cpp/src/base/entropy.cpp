// Layer: base. See entropy.h.
#include "base/entropy.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string>

#if defined(__linux__)
#include <sys/random.h>
#endif

#include "veilsum/errors.h"

namespace veilsum {

void os_entropy(std::span<std::uint8_t> out) {
#if defined(__linux__)
  std::size_t done = 0;
  while (done < out.size()) {
    const ssize_t got = getrandom(out.data() + done, out.size() - done, 0);
    if (got < 0) {
      if (errno == EINTR) continue;
      throw BackendUnavailableError(std::string("getrandom failed: ") + std::strerror(errno) +
                                    "; no key can be made without system randomness");
    }
    done += static_cast<std::size_t>(got);
  }
#else
  std::FILE* source = std::fopen("/dev/urandom", "rb");
  const std::size_t got = source ? std::fread(out.data(), 1, out.size(), source) : 0;
  if (source) std::fclose(source);
  if (got != out.size()) {
    throw BackendUnavailableError(
        "/dev/urandom could not be read; no key can be made without system randomness");
  }
#endif
}

Seed fresh_seed() {
  Seed seed;
  os_entropy({seed.data(), 32});
  return seed;
}

}  // namespace veilsum
