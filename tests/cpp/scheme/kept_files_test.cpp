// Layer: tests (scheme). Files that no output replaces, known by how they begin, and what of them
// may be written again.
#include "scheme/kept_files.h"

#include <filesystem>
#include <string>

#include "check.h"
#include "scheme/keys.h"
#include "support/rounds.h"
#include "support/temporary_folder.h"
#include "veilsum/errors.h"

namespace veilsum::test {
namespace {

using scheme::refuse_kept;

Bytes bytes_of(const std::string& text) { return {text.begin(), text.end()}; }

void write(const std::string& path, const Bytes& bytes) {
  const ByteView parts[] = {bytes};
  write_file(path, parts, FileKind::kSecret);
}

TEST("secret keys, ledgers and journals are kept, whatever they are called") {
  const TemporaryFolder folder;
  const std::string path = folder / "out", link = folder / "link";
  const std::pair<Bytes, const char*> kept[] = {
      {make_key().to_bytes(), "a secret key"},
      {bytes_of("-----BEGIN PRIVATE KEY-----"), "a secret key"},
      {bytes_of("VSLEDG"), "the ledger"},
      {bytes_of("VSJRNL1\n"), "the journal"}};
  std::filesystem::create_symlink(path, link);
  for (const auto& [bytes, kind] : kept) {
    write(path, bytes);
    const ByteView parts[] = {bytes};
    for (const std::string& name : {path, link}) {
      CHECK_THROWS_WITH(refuse_kept(name), ParameterError, kind);
      CHECK_THROWS_WITH(scheme::write_object(name, parts, FileKind::kPublic), ParameterError, kind);
      refuse_kept(name, bytes);  // itself
      Bytes other = bytes;
      other.back() ^= 1;
      CHECK_THROWS(refuse_kept(name, other), ParameterError);
      other.push_back(0);
      CHECK_THROWS(refuse_kept(name, other), ParameterError);
    }
    CHECK(read_file(path, FileKind::kSecret) == bytes);
  }
}

TEST("other files, and none, may be replaced") {
  const TemporaryFolder folder;
  const std::string path = folder / "out";
  refuse_kept(path);
  Bytes short_key = make_key().to_bytes();
  short_key.resize(8);
  for (const Bytes& bytes :
       {Bytes(), make_key().public_key().to_bytes(), bytes_of("-----BEGIN PUBLIC KEY-----"),
        bytes_of(std::string(130, 'a')), bytes_of("VSLED"), short_key}) {
    write(path, bytes);
    refuse_kept(path);
  }
}

}  // namespace
}  // namespace veilsum::test
