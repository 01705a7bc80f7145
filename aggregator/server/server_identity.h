// Who the aggregator is: the federation's name and root, the intermediate authority by which it
// lets sites in, its signing key, and the certificate of its servers. The keys lie in the encrypted
// store; only the servers' own pair lies in a folder (0700), because gRPC reads it from there, and
// exchanges itself before it ends.
//
// Ownership: values. Threads: any.

#ifndef CONSILIUM_AGGREGATOR_SERVER_SERVER_IDENTITY_H_
#define CONSILIUM_AGGREGATOR_SERVER_SERVER_IDENTITY_H_

#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "aggregator/server/store.h"
#include "protocol/rpc/pki.h"
#include "protocol/wire/signing_key.h"

namespace consilium {

class ServerIdentity {
 public:
  // intermediate.key, intermediate.pem and root.pem, as `consilium pki init` wrote them.
  struct Authority {
    SecretBytes key_pem;
    std::string chain_pem;
    std::string root_pem;
  };
  // FAILED_PRECONDITION where they do not belong together or are another federation's; the files'
  // errors.
  static absl::StatusOr<Authority> ReadAuthority(const std::string& pki_folder,
                                                 absl::string_view federation);
  // Takes it into the store, and draws the signing key. The store's errors.
  static absl::Status Install(Store& store, const Authority& authority);
  // What was installed. DATA_LOSS where something is missing. `certificate_folder` is for the
  // servers' pair, `names` for its certificate.
  struct Servers {
    std::string certificate_folder;
    ServerNames names;
  };
  static absl::StatusOr<std::unique_ptr<ServerIdentity>> Load(Store& store, Servers servers);

  // Makes the servers' certificate where there is none, where less than half of its life is left,
  // or where it is for other names. To be called at the start and now and then.
  absl::Status RefreshServerCertificate(absl::Time now);

  const std::string& federation() const { return federation_; }
  const std::string& root_pem() const { return root_pem_; }
  const CertificateAuthority& authority() const { return authority_; }
  const SigningKey& signing_key() const { return signing_key_; }
  const std::string& certificate_folder() const { return servers_.certificate_folder; }

 private:
  ServerIdentity(Servers servers, std::string root_pem, CertificateAuthority authority,
                 SigningKey signing_key)
      : servers_(std::move(servers)),
        federation_(authority.federation()),
        root_pem_(std::move(root_pem)),
        authority_(std::move(authority)),
        signing_key_(std::move(signing_key)) {}
  std::string NamesText() const;

  const Servers servers_;
  const std::string federation_;
  const std::string root_pem_;
  const CertificateAuthority authority_;
  const SigningKey signing_key_;
};

// "host:port" of a flag or a config, host in brackets where it is an IPv6 address. Port 0 lets the
// system choose. INVALID_ARGUMENT.
struct HostPort {
  std::string host;
  int port = 0;
};
absl::StatusOr<HostPort> ParseHostPort(absl::string_view address);
std::string ToText(const HostPort& address);

// A name or an address, each in its list.
void AddName(const std::string& host, ServerNames& names);

}  // namespace consilium

#endif  // CONSILIUM_AGGREGATOR_SERVER_SERVER_IDENTITY_H_
