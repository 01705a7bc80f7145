#include "privacy/at_rest/blob_store.h"

#include <errno.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "privacy/at_rest/hex.h"
#include "protocol/core/files.h"
#include "protocol/core/status_macros.h"

namespace consilium {
namespace {

namespace fs = std::filesystem;

std::string TemporaryFolder(const std::string& folder) { return absl::StrCat(folder, "/tmp"); }

absl::Status ListError(const std::string& folder, const std::error_code& error) {
  return absl::UnavailableError(absl::StrCat("can not list ", folder, ": ", error.message()));
}

}  // namespace

absl::StatusOr<std::unique_ptr<BlobStore>> BlobStore::Open(SecretBytes blob_key,
                                                           std::string folder) {
  const std::string temporary = TemporaryFolder(folder);
  CONSILIUM_RETURN_IF_ERROR(MakeFolders(temporary, 0700));
  CONSILIUM_RETURN_IF_ERROR(SyncFolder(folder));
  std::error_code error;
  for (auto at = fs::directory_iterator(temporary, error); !error && at != fs::directory_iterator();
       at.increment(error)) {
    if (unlink(at->path().c_str()) != 0) return SystemError("can not remove", at->path().string());
  }
  if (error) return ListError(temporary, error);
  return std::unique_ptr<BlobStore>(new BlobStore(std::move(blob_key), std::move(folder)));
}

std::string BlobStore::PathOf(const std::string& name) const {
  return absl::StrCat(folder_, "/", name);
}

absl::StatusOr<SealedBlobWriter> BlobStore::NewWriter() const {
  std::array<uint8_t, 16> unique;
  CONSILIUM_RETURN_IF_ERROR(RandomFill(unique));
  return SealedBlobWriter::Create(blob_key_,
                                  absl::StrCat(TemporaryFolder(folder_), "/", Hex(unique)));
}

absl::Status BlobStore::Seal(SealedBlobWriter& writer, const Digest& digest) const {
  return writer.Seal(Hex(digest));
}

absl::Status BlobStore::Commit(SealedBlobWriter writer) const {
  Digest digest;
  if (!DecodeHex(writer.name(), digest)) {
    return absl::FailedPreconditionError(
        "a blob is sealed under its digest before it is committed");
  }
  return writer.Commit(PathOf(writer.name()));
}

absl::StatusOr<SealedBlobReader> BlobStore::Read(const Digest& digest) const {
  const std::string name = Hex(digest);
  return SealedBlobReader::Open(blob_key_, name, PathOf(name));
}

bool BlobStore::Has(const Digest& digest) const {
  return access(PathOf(Hex(digest)).c_str(), F_OK) == 0;
}

absl::Status BlobStore::Remove(const Digest& digest) {
  const std::string name = Hex(digest);
  if (unlink(PathOf(name).c_str()) != 0) {
    if (errno == ENOENT) return absl::OkStatus();
    return SystemError("can not remove", PathOf(name));
  }
  return SyncFolder(folder_);
}

absl::StatusOr<std::vector<Digest>> BlobStore::List() const {
  std::vector<Digest> digests;
  const std::string temporary = TemporaryFolder(folder_);
  std::error_code error;
  for (auto at = fs::directory_iterator(folder_, error); !error && at != fs::directory_iterator();
       at.increment(error)) {
    if (at->path() == temporary) continue;
    Digest digest;
    if (!DecodeHex(at->path().filename().string(), digest)) {
      return absl::InternalError(absl::StrCat("not a blob: ", at->path().string()));
    }
    digests.push_back(digest);
  }
  if (error) return ListError(folder_, error);
  std::sort(digests.begin(), digests.end());
  return digests;
}

}  // namespace consilium
