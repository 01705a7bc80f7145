// Where the key-encryption key of a store comes from: a 0600 file in a 0700 folder outside the
// store, or a systemd credential, or such a file that a passphrase opens (scrypt, RFC 7914).
//
// A key file is one line of text, so that it can be printed and locked away:
//   consilium-kek 1 plain <64 hex>
//   consilium-kek 1 scrypt <log2 N> <r> <p> <32 hex: salt> <122 hex: wrapped key>
// The passphrase wraps a random KEK rather than being one: a wrong one is told apart from a damaged
// store, and it can be changed without touching the store.
//
// Ownership: values. Threads: any.

#ifndef CONSILIUM_PRIVACY_AT_REST_KEY_FILE_H_
#define CONSILIUM_PRIVACY_AT_REST_KEY_FILE_H_

#include <string>

#include "absl/status/statusor.h"
#include "privacy/at_rest/key_wrap.h"
#include "protocol/core/secret_bytes.h"

namespace consilium {

// The name of the credential, as in systemd's LoadCredentialEncrypted=consilium-kek:...
inline constexpr char kKekCredentialName[] = "consilium-kek";
inline constexpr size_t kPassphraseBytesMin = 12;
inline constexpr size_t kPassphraseBytesMax = 1024;

struct KekLocation {
  // The key file; its folder is made by CreateKek.
  std::string file;
  // The value of $CREDENTIALS_DIRECTORY; empty: none. A credential in it wins over the file.
  std::string credentials_folder = "";
  // The folder in which the KEK must not lie; empty: not checked.
  std::string store_folder = "";
  // Borrowed for the call; null: the key lies in the file as it is.
  const SecretBytes* passphrase = nullptr;
};

// Draws a KEK and writes it durably to `file`; where a credential is given, that is the KEK and
// nothing is written. ALREADY_EXISTS: an existing key is never overwritten (its store would be
// lost). INVALID_ARGUMENT: a passphrase under 12 or over 1,024 bytes, or a file inside the store.
// RESOURCE_EXHAUSTED, PERMISSION_DENIED, UNAVAILABLE: the disk.
absl::StatusOr<Kek> CreateKek(const KekLocation& location);

// Reads it. NOT_FOUND: no such file. FAILED_PRECONDITION: others may read it (names the command
// that mends it), or it needs a passphrase. INVALID_ARGUMENT: wrong passphrase, or inside the
// store. DATA_LOSS: not a key file, or a damaged one.
absl::StatusOr<Kek> LoadKek(const KekLocation& location);

// What a KEK kept like this protects against and what it does not, in words for whom `init` serves.
std::string DescribeProtection(const KekLocation& location);

}  // namespace consilium

#endif  // CONSILIUM_PRIVACY_AT_REST_KEY_FILE_H_
