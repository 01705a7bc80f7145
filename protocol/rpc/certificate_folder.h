// A key and its certificate on disk, exchanged together: the folder holds a link `current` to a
// folder of the two, and a new pair comes in by one rename of that link. A reader, gRPC's file
// watcher among them, never sees the key of one pair beside the certificate of another.
//
//   <folder>/current -> pair-<fingerprint>/   key.pem (0600)   chain.pem
//
// Threads: any; one writer of a folder at a time.

#ifndef CONSILIUM_PROTOCOL_RPC_CERTIFICATE_FOLDER_H_
#define CONSILIUM_PROTOCOL_RPC_CERTIFICATE_FOLDER_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "protocol/rpc/pki.h"

namespace consilium {

std::string InstalledKeyPath(const std::string& folder);
std::string InstalledChainPath(const std::string& folder);

// Makes (key, chain) the folder's pair, durably. The folder is made where it is missing (0700).
// FAILED_PRECONDITION where the chain's first certificate is not the key's; the file system's
// errors otherwise, and then the pair of before stays.
absl::Status InstallCertificate(const std::string& folder, const TlsKey& key,
                                absl::string_view chain_pem);

struct InstalledCertificate {
  TlsKey key;
  Certificate certificate;
  std::string chain_pem;
};
// NOT_FOUND where nothing was installed; FAILED_PRECONDITION where others can read the key, or the
// two do not belong together.
absl::StatusOr<InstalledCertificate> ReadInstalledCertificate(const std::string& folder);

}  // namespace consilium

#endif  // CONSILIUM_PROTOCOL_RPC_CERTIFICATE_FOLDER_H_
