// Layer: base. Whole files, read and written so that a crash leaves the old file or the new one,
// never a mixture, and secrets never stand in a file that others can read.
#pragma once

#include <span>
#include <string>

#include "base/bytes.h"

namespace veilsum {

enum class FileKind { kPublic, kSecret };

/// Writes through a temporary file in the same folder, fsync and rename. A link is followed. Secret
/// files have mode 0600; public ones that of the file they replace, or 0666 less the umask.
/// @throws std::system_error with the operating system's reason and the path
/// @throws ParameterError as find_destination(): outputs are files, no devices or pipes
void write_file(const std::string& path, std::span<const ByteView> parts, FileKind kind);

/// Reads a regular file whole.
/// @throws std::system_error when it cannot be read
/// @throws ParameterError when a secret file is readable or writable by group or others
Bytes read_file(const std::string& path, FileKind kind);

}  // namespace veilsum
