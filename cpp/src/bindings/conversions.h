// Layer: bindings. Conversions that several bind files share: bytes in and out without copies where
// Python allows it, words and paths, thread counts, progress callbacks and signature verifiers.
#pragma once

#include <pybind11/pybind11.h>

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "base/bytes.h"
#include "base/entropy.h"
#include "base/shown.h"
#include "base/wipe.h"
#include "cipher/encrypt.h"
#include "scheme/sealed_key.h"
#include "scheme/upload.h"

namespace veilsum::bindings {

namespace py = pybind11;

/// A text from Python: what arguments that are names of options are declared as. std::string would
/// take bytes too, and those of a key would be looked up, and shown, as the name of an option.
struct Word : std::string {
  using std::string::string;
};

inline py::bytes to_python(ByteView bytes) {
  return py::bytes(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

/// Bytes of a secret, wiped here once Python has its own copy.
inline py::bytes secret_to_python(Bytes bytes) {
  py::bytes out = to_python(bytes);
  secure_wipe(bytes.data(), bytes.size());
  return out;
}

/// The Python function that gives a round its public class. Set once, when the package is imported.
/// Never freed: the interpreter may be gone before it.
inline py::object& round_wrapper() {
  static auto* const wrapper = new py::object;
  return *wrapper;
}

/// The Python function that checks signatures, for objects that are whole only when theirs hold.
inline py::object& signature_check() {
  static auto* const check = new py::object;
  return *check;
}

/// The Python function that computes the public half of a native secret key.
inline py::object& public_half() {
  static auto* const half = new py::object;
  return *half;
}

inline py::object public_round(const scheme::Round& round) {
  py::object made = py::cast(round);
  return round_wrapper() ? round_wrapper()(made) : made;
}

/// A view on a contiguous Python buffer, kept alive for as long as this object lives.
class BufferView {
 public:
  explicit BufferView(const py::buffer& buffer) : info_(request(buffer)) {
    if (info_.format.find('O') != std::string::npos) {
      throw ParameterError("the buffer holds Python objects; pass bytes");
    }
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
  static py::buffer_info request(const py::buffer& buffer) {
    try {
      return buffer.request();
    } catch (const py::error_already_set& error) {
      if (error.matches(PyExc_MemoryError) || error.matches(PyExc_KeyboardInterrupt)) throw;
      // Of a closed memoryview, say. Its own words are the exporter's, who may show what it holds.
      throw ParameterError("the buffer cannot be read; pass bytes, or a contiguous copy");
    }
  }

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
    throw ParameterError(std::string(name) + " = " + shown(value) + " is negative");
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

/// Of a public call: None for as many as the machine gives.
inline int given_threads(std::optional<int> threads) {
  if (threads && *threads < 1) {
    throw ParameterError("threads = " + std::to_string(*threads) +
                         "; it must be a whole number of at least 1");
  }
  return checked_threads(threads.value_or(0));
}

/// A Python callable that the core calls from any thread. The last reference to it must go with the
/// interpreter's lock held. Taking the lock can only fail when the interpreter is going down, and
/// then nothing is left to be saved.
class HeldFunction {
 public:
  explicit HeldFunction(py::function callable) : callable_(std::move(callable)) {}
  ~HeldFunction() {  // NOLINT(bugprone-exception-escape)
    const py::gil_scoped_acquire lock;
    callable_.release().dec_ref();
  }
  HeldFunction(const HeldFunction&) = delete;
  HeldFunction& operator=(const HeldFunction&) = delete;

  /// Under the interpreter's lock.
  template <typename... Args>
  py::object operator()(Args&&... args) const {
    return callable_(std::forward<Args>(args)...);
  }

 private:
  py::function callable_;
};

/// Calls a Python callable (public_identity, signature, message) -> bool, all bytes; the identity
/// in the form in which rosters list it.
class PythonVerifier final : public scheme::SignatureVerifier {
 public:
  explicit PythonVerifier(py::function callable) : callable_(std::move(callable)) {}

  bool verify(const scheme::PublicIdentity& signer, const scheme::Signature& signature,
              ByteView message) const override {
    const py::gil_scoped_acquire lock;
    const py::object verdict =
        callable_(to_python(signer.fields()), to_python(signature.bytes()), to_python(message));
    // Nothing else counts as a verdict: an answer of another type may be an error code.
    if (!PyBool_Check(verdict.ptr())) throw ParameterError("verify must return True or False");
    return verdict.is(py::bool_(true));
  }

 private:
  HeldFunction callable_;
};

inline std::unique_ptr<PythonVerifier> make_verifier(const std::optional<py::function>& callable) {
  return callable ? std::make_unique<PythonVerifier>(*callable) : nullptr;
}

/// What a callable gave back, where bytes are due.
inline py::buffer bytes_from(const char* callable, const py::object& given) {
  if (!py::isinstance<py::buffer>(given)) {
    throw ParameterError(std::string(callable) + " must return bytes");
  }
  return py::reinterpret_borrow<py::buffer>(given);
}

/// Calls a Python callable (public_key, info, secret) -> sealed bytes.
class PythonSealer final : public scheme::Sealer {
 public:
  explicit PythonSealer(py::function callable) : callable_(std::move(callable)) {}

  Bytes seal(ByteView key, ByteView info, ByteView secret) const override {
    const py::gil_scoped_acquire lock;
    const py::object sealed = callable_(to_python(key), to_python(info), to_python(secret));
    const BufferView view(bytes_from("seal", sealed));
    return {view.view().begin(), view.view().end()};
  }

 private:
  HeldFunction callable_;
};

/// Calls a Python callable (secret_key, info, sealed) -> secret, or None when it does not open.
class PythonOpener final : public scheme::Opener {
 public:
  explicit PythonOpener(py::function callable) : callable_(std::move(callable)) {}

  bool open(ByteView key, ByteView info, ByteView sealed,
            std::span<std::uint8_t> secret) const override {
    const py::gil_scoped_acquire lock;
    const py::object opened = callable_(to_python(key), to_python(info), to_python(sealed));
    if (opened.is_none()) return false;
    const BufferView view(bytes_from("open", opened));
    if (view.view().size() != secret.size()) return false;
    std::copy(view.view().begin(), view.view().end(), secret.begin());
    return true;
  }

 private:
  HeldFunction callable_;
};

/// A group's tag key as Python gives it, for one round.
inline std::unique_ptr<const cipher::TagKey> make_tag_key(
    const scheme::Round& round, const std::optional<py::buffer>& group_key) {
  if (!group_key) return nullptr;
  return std::make_unique<const cipher::TagKey>(round, BufferView(*group_key).view());
}

/// Progress in Python. Called in the calling thread, which takes the lock for the call; a Python
/// exception (KeyboardInterrupt included) travels out and cancels the work.
inline cipher::Progress make_progress(const std::optional<py::function>& callable) {
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
inline cipher::Progress make_interruptible(const std::optional<py::function>& callable) {
  if (callable) return make_progress(callable);
  return [](std::uint64_t, std::uint64_t) {
    const py::gil_scoped_acquire lock;
    if (PyErr_CheckSignals() != 0) throw py::error_already_set();
  };
}

/// Errors about what a file holds begin with its name.
template <typename F>
auto naming(const std::filesystem::path& path, F read) {
  try {
    return read();
  } catch (const WireFormatError& error) {
    const std::string message = error.what();
    if (message.starts_with(path.string())) throw;
    throw WireFormatError(path.string() + ": " + message);
  }
}

[[noreturn]] inline void refuse_pickle(const char* what) {
  throw py::type_error(std::string(what) +
                       " holds a secret and cannot be pickled or copied; use save() and load()");
}

}  // namespace veilsum::bindings

namespace pybind11::detail {

/// Takes str and nothing else.
template <>
struct type_caster<veilsum::bindings::Word> {
  PYBIND11_TYPE_CASTER(veilsum::bindings::Word, const_name("str"));
  bool load(handle source, bool /*convert*/) {
    if (!PyUnicode_Check(source.ptr())) return false;
    Py_ssize_t size = 0;
    const char* text = PyUnicode_AsUTF8AndSize(source.ptr(), &size);
    if (text == nullptr) {  // half of a surrogate pair
      PyErr_Clear();
      return false;
    }
    value.assign(text, static_cast<std::size_t>(size));
    return true;
  }
};

/// Takes str and os.PathLike, in place of the caster of pybind11/stl/filesystem.h, which no file
/// here includes: that one takes bytes too, and those of a key would be opened, and shown, as the
/// name of a file.
template <>
struct type_caster<std::filesystem::path> {
  PYBIND11_TYPE_CASTER(std::filesystem::path, const_name("os.PathLike | str"));
  bool load(handle source, bool /*convert*/) {
    if (PyObject_CheckBuffer(source.ptr()) != 0) return false;
    PyObject* encoded = nullptr;
    if (PyUnicode_FSConverter(source.ptr(), static_cast<void*>(&encoded)) ==
        0) {  // no path, or one with a zero in it
      PyErr_Clear();
      return false;
    }
    const auto held = reinterpret_steal<bytes>(encoded);
    value = std::string(held);
    return true;
  }
  static handle cast(const std::filesystem::path& path, return_value_policy, handle) {
    return PyUnicode_DecodeFSDefaultAndSize(path.c_str(),
                                            static_cast<Py_ssize_t>(path.native().size()));
  }
};

}  // namespace pybind11::detail
