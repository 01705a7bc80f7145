// The federation's private public-key infrastructure, X.509 with P-256 keys:
//
//   root (10 years, kept offline) → intermediate (at the aggregator, may sign no further authority)
//     → aggregator, spiffe://<federation>/aggregator          server certificate
//     → site,       spiffe://<federation>/site/<id>           client certificate, 7 days
//     → operator,   spiffe://<federation>/operator/<name>     client certificate
//
// Who a peer is, is the one URI among its certificate's alternative names and nothing else. An
// authority signs names that it was told by its own program, never those that a request asks for.
//
// Ownership: values; a Certificate or TlsKey shares OpenSSL's immutable object. Threads: any.

#ifndef CONSILIUM_PROTOCOL_RPC_PKI_H_
#define CONSILIUM_PROTOCOL_RPC_PKI_H_

#include <openssl/x509.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "protocol/core/ids.h"
#include "protocol/core/secret_bytes.h"

namespace consilium {

inline constexpr absl::Duration kRootLifetime = absl::Hours(24 * 3653);
inline constexpr absl::Duration kIntermediateLifetime = absl::Hours(24 * 1096);
inline constexpr absl::Duration kServerCertificateLifetime = absl::Hours(24 * 30);
inline constexpr absl::Duration kOperatorCertificateLifetime = absl::Hours(24 * 90);
// Certificates are valid from so long before they are made: clocks of hospitals differ.
inline constexpr absl::Duration kCertificateBackdate = absl::Minutes(10);

enum class PeerKind { kSite, kAggregator, kOperator };
absl::string_view NameOf(PeerKind kind);

// What a certificate says its holder is.
struct PeerName {
  std::string federation;
  PeerKind kind = PeerKind::kSite;
  // The site's id or the operator's name; empty for the aggregator.
  std::string id;

  // spiffe://…
  std::string Uri() const;
  friend bool operator==(const PeerName&, const PeerName&) = default;
};
// INVALID_ARGUMENT where `uri` is not exactly one of the three forms, with ids of the form
// [a-z0-9][a-z0-9-]{0,62}.
absl::StatusOr<PeerName> ParsePeerUri(absl::string_view uri);

// [a-z0-9][a-z0-9-]{0,62}. INVALID_ARGUMENT says what is wrong with it.
absl::Status CheckFederationName(absl::string_view name);

bool IsP256(const EVP_PKEY* key);

// A P-256 private key.
class TlsKey {
 public:
  static absl::StatusOr<TlsKey> Generate();
  // PKCS #8 or SEC 1, not encrypted. INVALID_ARGUMENT where it is anything else;
  // RESOURCE_EXHAUSTED above limits::kCertificateBytesMax.
  static absl::StatusOr<TlsKey> FromPem(absl::string_view pem);
  // As FromPem, of a file that nobody else can read (CheckPrivate).
  static absl::StatusOr<TlsKey> Read(const std::string& path);

  // PKCS #8.
  SecretBytes ToPem() const;
  // Durably, mode 0600.
  absl::Status Write(const std::string& path) const;
  // A PKCS #10 request for a certificate of this key. Its subject is empty: names are the
  // authority's business.
  absl::StatusOr<std::string> MakeRequestPem() const;

  EVP_PKEY* get() const { return key_.get(); }

 private:
  explicit TlsKey(std::shared_ptr<EVP_PKEY> key) : key_(std::move(key)) {}
  std::shared_ptr<EVP_PKEY> key_;
};

class Certificate {
 public:
  // The first certificate of `pem`. INVALID_ARGUMENT, RESOURCE_EXHAUSTED as for keys.
  static absl::StatusOr<Certificate> FromPem(absl::string_view pem);
  // All of them, at least one and at most 8.
  static absl::StatusOr<std::vector<Certificate>> ChainFromPem(absl::string_view pem);

  std::string ToPem() const;
  // SHA-256 of its DER form: what people compare and revocation names.
  Digest Fingerprint() const;
  absl::Time not_before() const;
  absl::Time not_after() const;
  // Its one URI name. Refusal FOREIGN_CERTIFICATE where it has none, several, or another form.
  absl::StatusOr<PeerName> Name() const;
  // One line for logs: subject, issuer, end; control characters escaped, at most 400 characters.
  std::string Describe() const;
  // Of whom an authority is: its organisation name (root and intermediate).
  std::string Federation() const;
  bool Matches(const TlsKey& key) const;

  X509* get() const { return certificate_.get(); }

 private:
  friend class CertificateAuthority;
  explicit Certificate(std::shared_ptr<X509> certificate) : certificate_(std::move(certificate)) {}
  std::shared_ptr<X509> certificate_;
};

// The names under which the aggregator is reached.
struct ServerNames {
  std::vector<std::string> dns;
  std::vector<std::string> ip;  // Textual IPv4 or IPv6.
};

class CertificateAuthority {
 public:
  // A new root for `federation` ([a-z0-9][a-z0-9-]{0,62}).
  static absl::StatusOr<CertificateAuthority> CreateRoot(absl::string_view federation,
                                                         absl::Time now);
  // A root or intermediate that was written before. `chain_pem`: its own certificate first.
  // FAILED_PRECONDITION where key and certificate do not belong together.
  static absl::StatusOr<CertificateAuthority> FromPem(TlsKey key, absl::string_view chain_pem);

  // An authority for the aggregator, which may issue to peers and to no further authority.
  // FAILED_PRECONDITION where this one is not a root.
  absl::StatusOr<CertificateAuthority> CreateIntermediate(absl::Time now) const;

  // Each gives a PEM chain: the new certificate, then this authority's where it is not the root.
  // `request_pem` is the peer's PKCS #10 request: its signature is checked and its public key
  // taken, P-256 only; nothing else in it counts. INVALID_ARGUMENT where the request or a name is
  // refused, RESOURCE_EXHAUSTED where it is too long, FAILED_PRECONDITION where this authority
  // itself has ended. No certificate outlives its issuer.
  absl::StatusOr<std::string> IssueServer(absl::string_view request_pem, const ServerNames& names,
                                          absl::Time now) const;
  absl::StatusOr<std::string> IssueSite(absl::string_view request_pem, const SiteId& site,
                                        absl::Time now) const;
  absl::StatusOr<std::string> IssueOperator(absl::string_view request_pem, absl::string_view name,
                                            absl::Time now) const;

  const TlsKey& key() const { return key_; }
  const Certificate& certificate() const { return certificate_; }
  std::string federation() const { return certificate_.Federation(); }
  bool is_root() const;

 private:
  CertificateAuthority(TlsKey key, Certificate certificate)
      : key_(std::move(key)), certificate_(std::move(certificate)) {}

  struct LeafPlan;
  absl::StatusOr<std::string> IssueLeaf(absl::string_view request_pem, const LeafPlan& plan) const;

  TlsKey key_;
  Certificate certificate_;
};

}  // namespace consilium

#endif  // CONSILIUM_PROTOCOL_RPC_PKI_H_
