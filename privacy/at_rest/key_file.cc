#include "privacy/at_rest/key_file.h"

#include <errno.h>
#include <openssl/evp.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <filesystem>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "privacy/at_rest/hex.h"
#include "protocol/core/files.h"
#include "protocol/core/status_macros.h"

namespace consilium {
namespace {

constexpr size_t kKeyFileBytesMax = 4096;
constexpr size_t kSaltBytes = 16;
constexpr size_t kWrappedBytes = 1 + kNonceBytes + kKeyBytes + kTagBytes;
constexpr char kPassphrasePurpose[] = "kek";

struct ScryptCost {
  // N = 2^log2_n; the memory is 128·r·N bytes: 128 MiB.
  uint32_t log2_n = 17;
  uint32_t r = 8;
  uint32_t p = 1;
};

// A file could ask for any amount of memory and time.
bool CostIsBounded(const ScryptCost& cost) {
  return cost.log2_n >= 14 && cost.log2_n <= 20 && cost.r == 8 && cost.p >= 1 && cost.p <= 4;
}

absl::StatusOr<Kek> PassphraseKey(const SecretBytes& passphrase,
                                  std::span<const uint8_t, kSaltBytes> salt,
                                  const ScryptCost& cost) {
  SecretBytes key(kKeyBytes);
  constexpr uint64_t kMemoryBytesMax = uint64_t{2} << 30;
  if (EVP_PBE_scrypt(reinterpret_cast<const char*>(passphrase.data()), passphrase.size(),
                     salt.data(), salt.size(), uint64_t{1} << cost.log2_n, cost.r, cost.p,
                     kMemoryBytesMax, key.mutable_data(), key.size()) != 1) {
    return absl::ResourceExhaustedError("scrypt failed; it needs 128 MiB of memory");
  }
  return Kek::FromBytes(std::move(key));
}

absl::Status CheckOutsideStore(const KekLocation& location) {
  if (location.store_folder.empty()) return absl::OkStatus();
  std::error_code error;
  const auto store = std::filesystem::weakly_canonical(location.store_folder, error);
  const auto file = std::filesystem::weakly_canonical(location.file, error);
  const auto [end, unused] = std::mismatch(store.begin(), store.end(), file.begin(), file.end());
  if (error || end == store.end()) {
    return absl::InvalidArgumentError(
        absl::StrCat("the key file ", location.file, " must not lie inside the store ",
                     location.store_folder, ": a copy of the store would carry its key"));
  }
  return absl::OkStatus();
}

std::string CredentialPath(const KekLocation& location) {
  if (location.credentials_folder.empty()) return "";
  const std::string path = absl::StrCat(location.credentials_folder, "/", kKekCredentialName);
  return access(path.c_str(), F_OK) == 0 ? path : "";
}

// systemd owns a credential's file and gives this user access by an ACL, whose mask shows as the
// group's bits; so only "others" can be judged here.
absl::Status CheckCredential(const std::string& path) {
  struct stat info;
  if (stat(path.c_str(), &info) != 0) return SystemError("can not look at", path);
  if (!S_ISREG(info.st_mode) || (info.st_mode & 0007) != 0) {
    return absl::FailedPreconditionError(
        absl::StrCat("the credential ", path, " is not a regular file closed to others"));
  }
  return absl::OkStatus();
}

absl::Status NotAKeyFile(const std::string& path) {
  return absl::DataLossError(absl::StrCat(
      path, " is not a key file of consilium, or it is damaged; restore it from its copy"));
}

absl::StatusOr<Kek> ParsePlain(absl::string_view digits, const std::string& path) {
  SecretBytes key(kKeyBytes);
  if (!DecodeHex(digits, {key.mutable_data(), key.size()})) return NotAKeyFile(path);
  return Kek::FromBytes(std::move(key));
}

absl::StatusOr<Kek> ParseScrypt(std::span<const absl::string_view> fields,
                                const KekLocation& location, const std::string& path) {
  ScryptCost cost;
  std::array<uint8_t, kSaltBytes> salt;
  std::array<uint8_t, kWrappedBytes> wrapped;
  if (fields.size() != 5 || !absl::SimpleAtoi(fields[0], &cost.log2_n) ||
      !absl::SimpleAtoi(fields[1], &cost.r) || !absl::SimpleAtoi(fields[2], &cost.p) ||
      !CostIsBounded(cost) || !DecodeHex(fields[3], salt) || !DecodeHex(fields[4], wrapped)) {
    return NotAKeyFile(path);
  }
  if (location.passphrase == nullptr) {
    return absl::FailedPreconditionError(
        absl::StrCat("the key file ", path, " needs its passphrase (--passphrase-file)"));
  }
  CONSILIUM_ASSIGN_OR_RETURN(const Kek opener, PassphraseKey(*location.passphrase, salt, cost));
  absl::StatusOr<SecretBytes> key = UnwrapKey(opener, kPassphrasePurpose, wrapped);
  if (!key.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat("wrong passphrase for the key file ", path, " (or the file is damaged)"));
  }
  return Kek::FromBytes(*std::move(key));
}

absl::StatusOr<Kek> ReadKek(const std::string& path, const KekLocation& location) {
  CONSILIUM_ASSIGN_OR_RETURN(std::string content, ReadFile(path, kKeyFileBytesMax));
  const absl::Cleanup wiper = [&content] { explicit_bzero(content.data(), content.size()); };
  const std::vector<absl::string_view> fields =
      absl::StrSplit(absl::StripSuffix(content, "\n"), ' ');
  if (fields.size() < 4 || fields[0] != "consilium-kek" || fields[1] != "1") {
    return NotAKeyFile(path);
  }
  if (fields[2] == "plain" && fields.size() == 4) return ParsePlain(fields[3], path);
  if (fields[2] == "scrypt") {
    return ParseScrypt(std::span<const absl::string_view>(fields).subspan(3), location, path);
  }
  return NotAKeyFile(path);
}

absl::StatusOr<std::string> RenderPlain(const Kek& kek) {
  std::string content = "consilium-kek 1 plain ";
  const size_t at = content.size();
  content.resize(at + 2 * kKeyBytes + 1, '\n');
  EncodeHex(kek.key().span(), content.data() + at);
  return content;
}

absl::StatusOr<std::string> RenderScrypt(const Kek& kek, const SecretBytes& passphrase) {
  if (passphrase.size() < kPassphraseBytesMin || passphrase.size() > kPassphraseBytesMax) {
    return absl::InvalidArgumentError(absl::StrCat("a passphrase has ", kPassphraseBytesMin, " to ",
                                                   kPassphraseBytesMax, " bytes; this one has ",
                                                   passphrase.size()));
  }
  const ScryptCost cost;
  std::array<uint8_t, kSaltBytes> salt;
  CONSILIUM_RETURN_IF_ERROR(RandomFill(salt));
  CONSILIUM_ASSIGN_OR_RETURN(const Kek opener, PassphraseKey(passphrase, salt, cost));
  CONSILIUM_ASSIGN_OR_RETURN(const std::vector<uint8_t> wrapped,
                             WrapKey(opener, kPassphrasePurpose, kek.key()));
  return absl::StrCat("consilium-kek 1 scrypt ", cost.log2_n, " ", cost.r, " ", cost.p, " ",
                      Hex(salt), " ", Hex(wrapped), "\n");
}

// Two `init` at once must not overwrite each other's key, so the name is made by link(), which
// fails where it exists, instead of rename().
absl::Status WriteNewFile(const std::string& path, absl::string_view content) {
  const std::string candidate = absl::StrCat(path, ".", getpid());
  CONSILIUM_RETURN_IF_ERROR(WriteFileDurably(candidate, content));
  const absl::Cleanup remover = [&candidate] { unlink(candidate.c_str()); };
  if (link(candidate.c_str(), path.c_str()) != 0) {
    if (errno != EEXIST) return SystemError("can not make", path);
    return absl::AlreadyExistsError(absl::StrCat(
        "there is a key in ", path, " already; the store that it opens would be lost without it"));
  }
  return SyncFolder(std::filesystem::path(path).parent_path().string());
}

}  // namespace

absl::StatusOr<Kek> CreateKek(const KekLocation& given) {
  KekLocation location = given;
  location.file = std::filesystem::absolute(given.file).string();
  if (const std::string credential = CredentialPath(location); !credential.empty()) {
    return LoadKek(location);
  }
  CONSILIUM_RETURN_IF_ERROR(CheckOutsideStore(location));
  CONSILIUM_ASSIGN_OR_RETURN(const Kek kek, Kek::Random());
  CONSILIUM_ASSIGN_OR_RETURN(std::string content, location.passphrase == nullptr
                                                      ? RenderPlain(kek)
                                                      : RenderScrypt(kek, *location.passphrase));
  const absl::Cleanup wiper = [&content] { explicit_bzero(content.data(), content.size()); };
  CONSILIUM_RETURN_IF_ERROR(
      MakeFolders(std::filesystem::path(location.file).parent_path().string(), 0700));
  CONSILIUM_RETURN_IF_ERROR(WriteNewFile(location.file, content));
  // As every later start will read it: a folder that others may enter is refused now.
  absl::StatusOr<Kek> read = LoadKek(location);
  if (!read.ok()) unlink(location.file.c_str());
  return read;
}

absl::StatusOr<Kek> LoadKek(const KekLocation& location) {
  if (const std::string credential = CredentialPath(location); !credential.empty()) {
    CONSILIUM_RETURN_IF_ERROR(CheckCredential(credential));
    return ReadKek(credential, location);
  }
  CONSILIUM_RETURN_IF_ERROR(CheckOutsideStore(location));
  if (access(location.file.c_str(), F_OK) != 0 && errno == ENOENT) {
    return absl::NotFoundError(absl::StrCat("there is no key file ", location.file,
                                            ", and no credential ", kKekCredentialName,
                                            " in $CREDENTIALS_DIRECTORY"));
  }
  CONSILIUM_RETURN_IF_ERROR(CheckPrivate(location.file));
  return ReadKek(location.file, location);
}

std::string DescribeProtection(const KekLocation& location) {
  if (!CredentialPath(location).empty()) {
    return "The store's key comes from systemd's credential and lies in no file of ours. Who takes "
           "the disk or a backup can not read the store; who is root on the running machine can.";
  }
  if (location.passphrase != nullptr) {
    return absl::StrCat(
        "The store's key lies in ", location.file,
        ", closed by the passphrase. Who takes the disk or a backup, this file included, must "
        "guess "
        "the passphrase; who is root on the running machine can read the store. Without the file "
        "or "
        "without the passphrase the store is lost: keep a copy of both, apart from the store.");
  }
  return absl::StrCat(
      "The store's key lies in ", location.file,
      ". A copy of the store without this file can not be read. Who has both (the whole disk, a "
      "backup of all, root) can; given as an encrypted systemd credential named ",
      kKekCredentialName,
      ", the key lies on no disk in the clear. Without the file the store is lost: keep a "
      "copy of it, apart from the store's backups.");
}

}  // namespace consilium
