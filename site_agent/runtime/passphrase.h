// The passphrase that opens a store's key file: out of a file, or asked for at the terminal.
//
// Threads: one.

#ifndef CONSILIUM_SITE_AGENT_RUNTIME_PASSPHRASE_H_
#define CONSILIUM_SITE_AGENT_RUNTIME_PASSPHRASE_H_

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "protocol/core/secret_bytes.h"

namespace consilium::site {

// The first line of `file`, without its end; "-": of standard input, not shown where that is a
// terminal. Nothing where `file` is empty. FAILED_PRECONDITION where others may read the file;
// INVALID_ARGUMENT where the line is empty; the system's errors.
absl::StatusOr<std::optional<SecretBytes>> ReadPassphrase(const std::string& file);

}  // namespace consilium::site

#endif  // CONSILIUM_SITE_AGENT_RUNTIME_PASSPHRASE_H_
