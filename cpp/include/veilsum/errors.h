// Layer: base (public). The one error tree of Veilsum; the Python package re-exports it. Messages
// name the thing, the value received, the rule and the remedy, and never carry secret material.
#pragma once

#include <stdexcept>
#include <string>

namespace veilsum {

/// Root of everything Veilsum throws on purpose.
class VeilsumError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// An argument is outside its documented range. In Python also a ValueError.
class ParameterError : public VeilsumError {
 public:
  using VeilsumError::VeilsumError;
};

/// More values, clients or weight than the plan holds.
class HeadroomError : public VeilsumError {
 public:
  using VeilsumError::VeilsumError;
};

/// A key that does not belong to this round, upload or aggregate.
class KeyMismatchError : public VeilsumError {
 public:
  using VeilsumError::VeilsumError;
};

/// Bytes that are not a well-formed Veilsum object of the expected kind.
class WireFormatError : public VeilsumError {
 public:
  using VeilsumError::VeilsumError;
};

/// A rule of the round is broken: wrong round, duplicate, too few clients, bad signature, reopened.
class RoundError : public VeilsumError {
 public:
  using VeilsumError::VeilsumError;
};

/// Blocks that cannot be the sum of what the clients encrypted: damaged, or under another key. No
/// value of them is ever given out. Without a tag, a sum that is changed with care is not noticed.
class TamperedSumError : public VeilsumError {
 public:
  using VeilsumError::VeilsumError;
};

/// An engine, an instruction set or an optional library that this build or machine lacks.
class BackendUnavailableError : public VeilsumError {
 public:
  using VeilsumError::VeilsumError;
};

}  // namespace veilsum
