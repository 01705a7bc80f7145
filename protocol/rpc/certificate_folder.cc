#include "protocol/rpc/certificate_folder.h"

#include <stdio.h>
#include <unistd.h>

#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "protocol/core/files.h"
#include "protocol/core/status_macros.h"
#include "protocol/wire/hash.h"
#include "protocol/wire/limits.h"

namespace consilium {
namespace {

constexpr char kLink[] = "current";
constexpr char kPairPrefix[] = "pair-";

// All pairs but the two named. The one that was current until now stays: a reader may have resolved
// the link already. What can not be removed is only clutter.
void RemoveOtherPairs(const std::string& folder, const std::string& now,
                      const std::string& before) {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    const std::string name = entry.path().filename().string();
    if (absl::StartsWith(name, kPairPrefix) && name != now && name != before) {
      std::filesystem::remove_all(entry.path(), error);
    }
  }
}

}  // namespace

std::string InstalledKeyPath(const std::string& folder) {
  return absl::StrCat(folder, "/", kLink, "/key.pem");
}

std::string InstalledChainPath(const std::string& folder) {
  return absl::StrCat(folder, "/", kLink, "/chain.pem");
}

absl::Status InstallCertificate(const std::string& folder, const TlsKey& key,
                                absl::string_view chain_pem) {
  CONSILIUM_ASSIGN_OR_RETURN(const Certificate certificate, Certificate::FromPem(chain_pem));
  if (!certificate.Matches(key)) {
    return absl::FailedPreconditionError(
        absl::StrCat("the certificate is not for this key: ", certificate.Describe()));
  }
  const std::string pair =
      absl::StrCat(kPairPrefix, ToHex(certificate.Fingerprint()).substr(0, 32));
  const std::string pair_folder = absl::StrCat(folder, "/", pair);
  CONSILIUM_RETURN_IF_ERROR(MakeFolders(pair_folder, 0700));
  CONSILIUM_RETURN_IF_ERROR(key.Write(absl::StrCat(pair_folder, "/key.pem")));
  CONSILIUM_RETURN_IF_ERROR(
      WriteFileDurably(absl::StrCat(pair_folder, "/chain.pem"), chain_pem, 0600));

  const std::string link = absl::StrCat(folder, "/", kLink);
  const std::string link_new = absl::StrCat(link, ".new");
  std::error_code error;
  const std::string before = std::filesystem::read_symlink(link, error).string();
  unlink(link_new.c_str());
  if (symlink(pair.c_str(), link_new.c_str()) != 0) return SystemError("can not link", link_new);
  if (rename(link_new.c_str(), link.c_str()) != 0) return SystemError("can not rename to", link);
  CONSILIUM_RETURN_IF_ERROR(SyncFolder(folder));
  RemoveOtherPairs(folder, pair, before);
  return absl::OkStatus();
}

absl::StatusOr<InstalledCertificate> ReadInstalledCertificate(const std::string& folder) {
  // The link is followed once: between two looks at it, a new pair may have come in.
  const std::string link = absl::StrCat(folder, "/", kLink);
  std::error_code error;
  const std::string pair = std::filesystem::read_symlink(link, error).string();
  if (error) {
    return error == std::errc::no_such_file_or_directory
               ? absl::NotFoundError(absl::StrCat("no certificate is installed in ", folder))
               : absl::UnavailableError(
                     absl::StrCat("can not follow ", link, ": ", error.message()));
  }
  const std::string pair_folder = absl::StrCat(folder, "/", pair);
  CONSILIUM_ASSIGN_OR_RETURN(TlsKey key, TlsKey::Read(absl::StrCat(pair_folder, "/key.pem")));
  CONSILIUM_ASSIGN_OR_RETURN(std::string chain, ReadFile(absl::StrCat(pair_folder, "/chain.pem"),
                                                         limits::kCertificateBytesMax));
  CONSILIUM_ASSIGN_OR_RETURN(Certificate certificate, Certificate::FromPem(chain));
  if (!certificate.Matches(key)) {
    return absl::FailedPreconditionError(
        absl::StrCat("key and certificate in ", folder, " do not belong together"));
  }
  return InstalledCertificate{std::move(key), std::move(certificate), std::move(chain)};
}

}  // namespace consilium
