// Layer: bindings. Conversions that several bind files share: bytes in and out without copies where
// Python allows it, thread counts, progress callbacks and signature verifiers.
#pragma once

#include <pybind11/pybind11.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/bytes.h"
#include "base/wipe.h"
#include "codec/encrypt.h"
#include "scheme/upload.h"

namespace veilsum::bindings {

namespace py = pybind11;

inline py::bytes to_python(ByteView bytes) {
  return py::bytes(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

/// Bytes of a secret, wiped here once Python has its own copy.
inline py::bytes secret_to_python(Bytes bytes) {
  py::bytes out = to_python(bytes);
  secure_wipe(bytes.data(), bytes.size());
  return out;
}

/// A view on a contiguous Python buffer, kept alive for as long as this object lives.
class BufferView {
 public:
  explicit BufferView(const py::buffer& buffer) : info_(buffer.request()) {
    py::ssize_t expected = info_.itemsize;
    for (py::ssize_t axis = info_.ndim; axis-- > 0;) {
      const auto at = static_cast<std::size_t>(axis);
      if (info_.shape[at] > 1 && info_.strides[at] != expected) {
        throw ParameterError("the buffer is not contiguous; pass bytes, or a contiguous copy");
      }
      expected *= info_.shape[at];
    }
  }
  ByteView view() const {
    return {static_cast<const std::uint8_t*>(info_.ptr),
            static_cast<std::size_t>(info_.size * info_.itemsize)};
  }

 private:
  py::buffer_info info_;
};

template <std::size_t N>
std::array<std::uint8_t, N> fixed_bytes(const py::buffer& buffer, const char* what) {
  const BufferView data(buffer);
  if (data.view().size() != N) {
    throw ParameterError(std::string(what) + " has " + std::to_string(data.view().size()) +
                         " bytes, it must have " + std::to_string(N));
  }
  std::array<std::uint8_t, N> out;
  std::copy(data.view().begin(), data.view().end(), out.begin());
  return out;
}

/// Python integers have a sign; a negative one is out of range, not of the wrong type.
inline std::uint64_t not_negative(const char* name, std::int64_t value) {
  if (value < 0) {
    throw ParameterError(std::string(name) + " = " + std::to_string(value) + " is negative");
  }
  return static_cast<std::uint64_t>(value);
}

inline int checked_threads(int threads) {
  if (threads < 0 || threads > 4096) {
    throw ParameterError("threads = " + std::to_string(threads) +
                         " is outside 0 ... 4096 (0: as many as the machine gives)");
  }
  return threads;
}

/// Calls a Python callable (public_key, signature, message) -> bool.
class PythonVerifier final : public scheme::SignatureVerifier {
 public:
  explicit PythonVerifier(py::function callable) : callable_(std::move(callable)) {}
  // The last reference to the callable must go with the interpreter's lock held. Taking the lock
  // can only fail when the interpreter is going down, and then nothing is left to be saved.
  ~PythonVerifier() override {  // NOLINT(bugprone-exception-escape)
    const py::gil_scoped_acquire lock;
    callable_.release().dec_ref();
  }
  PythonVerifier(const PythonVerifier&) = delete;
  PythonVerifier& operator=(const PythonVerifier&) = delete;

  bool verify(const scheme::VerificationKey& key, const scheme::Signature& signature,
              ByteView message) const override {
    const py::gil_scoped_acquire lock;
    return callable_(to_python(key), to_python(signature), to_python(message)).cast<bool>();
  }

 private:
  py::function callable_;
};

inline std::unique_ptr<PythonVerifier> make_verifier(const std::optional<py::function>& callable) {
  return callable ? std::make_unique<PythonVerifier>(*callable) : nullptr;
}

/// Progress in Python. Called in the calling thread, which takes the lock for the call; a Python
/// exception (KeyboardInterrupt included) travels out and cancels the work.
inline codec::Progress make_progress(const std::optional<py::function>& callable) {
  if (!callable) return {};
  // The reference is borrowed: the caller's argument outlives the call.
  const py::handle function = *callable;
  return [function](std::uint64_t done, std::uint64_t total) {
    const py::gil_scoped_acquire lock;
    if (PyErr_CheckSignals() != 0) throw py::error_already_set();
    function(done, total);
  };
}

/// The same for work that can last: Ctrl-C gets through even without a callable.
inline codec::Progress make_interruptible(const std::optional<py::function>& callable) {
  if (callable) return make_progress(callable);
  return [](std::uint64_t, std::uint64_t) {
    const py::gil_scoped_acquire lock;
    if (PyErr_CheckSignals() != 0) throw py::error_already_set();
  };
}

[[noreturn]] inline void refuse_pickle(const char* what) {
  throw py::type_error(std::string(what) +
                       " holds a secret and cannot be pickled or copied; use save() and load()");
}

}  // namespace veilsum::bindings
