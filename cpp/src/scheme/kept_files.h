// Layer: scheme. Files that no output replaces, because nobody can make them again: secret keys and
// identities, the ledgers of what was opened, and the journals of runs that are not finished. A
// file is known by how it begins, whatever it is called.
#pragma once

#include <initializer_list>
#include <span>
#include <string>

#include "base/bytes.h"
#include "base/file_io.h"

namespace veilsum::scheme {

/// Refuses an output in the place of such a file; a link is followed, and no file at all is fine.
/// @param same what may stand there all the same: a secret key is saved again where it is
/// @throws ParameterError when it is such a file
/// @throws std::system_error when it cannot be read, and so may be one
void refuse_kept(const std::string& path, ByteView same = {});

/// write_file() for everything that is saved: after refuse_kept().
void write_object(const std::string& path, std::span<const ByteView> parts, FileKind kind);

}  // namespace veilsum::scheme
