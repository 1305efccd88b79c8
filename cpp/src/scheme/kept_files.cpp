// Layer: scheme. See kept_files.h.
#include "scheme/kept_files.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "base/file_stream.h"
#include "base/wipe.h"
#include "scheme/wire.h"
#include "veilsum/errors.h"

namespace veilsum::scheme {
namespace {

/// Enough of a file to know it.
constexpr std::size_t kHeadBytes = 64;
constexpr std::string_view kEnvelope = "VSUM";
constexpr std::string_view kPrivatePem = "-----BEGIN PRIVATE KEY-----";
constexpr std::string_view kLedger = "VSLEDG";   // ledger_file.cpp
constexpr std::string_view kJournal = "VSJRNL";  // journal.cpp

/// In its envelope (wire.h): the kind stands behind magic and version; 0x0103 was another engine's
/// in version 0.1.
bool is_secret_key(std::string_view head) {
  return head.size() >= kEnvelopeHeaderBytes && head.starts_with(kEnvelope) &&
         head[6] == static_cast<char>(ObjectKind::kSecretKey) && (head[7] == 0 || head[7] == 1);
}

/// What kind of file begins so; null for one that may be replaced.
const char* kept_kind(std::string_view head) {
  if (head.starts_with(kPrivatePem) || is_secret_key(head)) return "a secret key";
  if (head.starts_with(kLedger)) {
    return "the ledger of what a key opened or a member signed";
  }
  if (head.starts_with(kJournal)) return "the journal of a run that is not finished";
  return nullptr;
}

bool holds(const InputFile& file, ByteView same) {
  if (file.size() != same.size()) return false;
  Bytes found(same.size());
  file.read_at(0, found);
  const bool equal = equal_constant_time(found.data(), same.data(), same.size());
  secure_wipe(found.data(), found.size());
  return equal;
}

}  // namespace

void refuse_kept(const std::string& path, ByteView same) {
  const Destination target = find_destination(path);
  if (!target.before) return;
  const InputFile file(target.path);
  std::array<char, kHeadBytes> head{};
  const std::size_t size = std::min<std::uint64_t>(file.size(), head.size());
  file.read_at(0, {reinterpret_cast<std::uint8_t*>(head.data()), size});
  const char* const kind = kept_kind({head.data(), size});
  secure_wipe(head.data(), head.size());
  if (kind == nullptr || (!same.empty() && holds(file, same))) return;
  throw ParameterError("the output " + path + " is " + kind +
                       ", which cannot be made again; give the output another name");
}

void write_object(const std::string& path, std::span<const ByteView> parts, FileKind kind) {
  refuse_kept(path);
  write_file(path, parts, kind);
}

}  // namespace veilsum::scheme
