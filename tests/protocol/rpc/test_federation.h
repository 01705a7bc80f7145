// A federation for tests: root, intermediate, and folders with installed certificates of the
// aggregator, of sites and of impostors, all in a temporary folder that goes with the object.
//
// Threads: one.

#ifndef CONSILIUM_TESTS_PROTOCOL_RPC_TEST_FEDERATION_H_
#define CONSILIUM_TESTS_PROTOCOL_RPC_TEST_FEDERATION_H_

#include <stdlib.h>

#include <filesystem>
#include <string>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "protocol/rpc/certificate_folder.h"
#include "protocol/rpc/peer_check.h"
#include "protocol/rpc/pki.h"

namespace consilium::testing {

// The value of a StatusOr that must be there for a test to make sense.
template <typename T>
T Must(absl::StatusOr<T> value) {
  if (!value.ok()) {
    ADD_FAILURE() << value.status();
    abort();
  }
  return *std::move(value);
}

class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "consilium-XXXXXX").string();
    path_ = mkdtemp(name.data());
  }
  ~TemporaryFolder() {
    std::error_code error;
    std::filesystem::remove_all(path_, error);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

class TestFederation {
 public:
  explicit TestFederation(const std::string& name = "test")
      : root_(Must(CertificateAuthority::CreateRoot(name, absl::Now()))),
        intermediate_(Must(root_.CreateIntermediate(absl::Now()))) {}

  const CertificateAuthority& root() const { return root_; }
  const CertificateAuthority& intermediate() const { return intermediate_; }
  TrustAnchors anchors() const { return Must(TrustAnchors::FromPem(root_.certificate().ToPem())); }
  std::string Folder(const std::string& name) const {
    return absl::StrCat(folder_.path(), "/", name);
  }

  // Each installs a new pair in Folder(<name>) and gives that path. `now` is when the authority
  // believes to be issuing it.
  std::string InstallServer(absl::Time now = absl::Now()) const {
    const TlsKey key = Must(TlsKey::Generate());
    return Install(
        "server", key,
        intermediate_.IssueServer(Must(key.MakeRequestPem()), {{"localhost"}, {"127.0.0.1"}}, now));
  }
  std::string InstallSite(const std::string& site, absl::Time now = absl::Now()) const {
    const TlsKey key = Must(TlsKey::Generate());
    return Install(site, key,
                   intermediate_.IssueSite(Must(key.MakeRequestPem()), SiteId(site), now));
  }
  std::string InstallOperator(const std::string& name) const {
    const TlsKey key = Must(TlsKey::Generate());
    return Install(name, key,
                   intermediate_.IssueOperator(Must(key.MakeRequestPem()), name, absl::Now()));
  }

 private:
  std::string Install(const std::string& name, const TlsKey& key,
                      absl::StatusOr<std::string> chain) const {
    const absl::Status status = InstallCertificate(Folder(name), key, Must(std::move(chain)));
    EXPECT_TRUE(status.ok()) << status;
    return Folder(name);
  }

  TemporaryFolder folder_;
  CertificateAuthority root_;
  CertificateAuthority intermediate_;
};

}  // namespace consilium::testing

#endif  // CONSILIUM_TESTS_PROTOCOL_RPC_TEST_FEDERATION_H_
