// A folder of sealed blobs (sealed_blob.h), each named by the digest of its text:
//   <folder>/abcd...  (64 hex digits)    committed blobs
//   <folder>/tmp/     blobs that are being written; emptied by Open()
// All lie in one folder, which the file systems of today index: a fan-out would cost two more waits
// for the disk with each blob, as long again as the blob's own two.
//
//   CONSILIUM_ASSIGN_OR_RETURN(SealedBlobWriter writer, blobs.NewWriter());
//   CONSILIUM_RETURN_IF_ERROR(writer.Append(bytes));
//   CONSILIUM_RETURN_IF_ERROR(blobs.Seal(writer, digest));          // written
//   CONSILIUM_RETURN_IF_ERROR(writer.Sync());                       // durable, not yet found
//   CONSILIUM_RETURN_IF_ERROR(blobs.Commit(std::move(writer)));     // durable under its digest
//
// The digest is the caller's word: what it is a hash of is not looked at here.
//
// Ownership: holds the key. One process at a time: the store's Database holds the lock that sees to
// it, so it is opened first. Threads: any, each writer and reader one at a time.

#ifndef CONSILIUM_PRIVACY_AT_REST_BLOB_STORE_H_
#define CONSILIUM_PRIVACY_AT_REST_BLOB_STORE_H_

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "privacy/at_rest/sealed_blob.h"
#include "protocol/core/ids.h"
#include "protocol/core/secret_bytes.h"

namespace consilium {

// The name under which a store's ring keeps the key of its blobs.
inline constexpr char kBlobsKey[] = "blobs";

class BlobStore {
 public:
  // Makes the folder (0700) where there is none, and removes what unfinished writers left. The
  // disk's errors. `blob_key` comes from Database::keys()->GetOrCreate(kBlobsKey).
  static absl::StatusOr<std::unique_ptr<BlobStore>> Open(SecretBytes blob_key, std::string folder);

  absl::StatusOr<SealedBlobWriter> NewWriter() const;
  absl::Status Seal(SealedBlobWriter& writer, const Digest& digest) const;
  // A blob of the same digest that is there already is replaced. FAILED_PRECONDITION for a writer
  // that was not sealed by this store and synced.
  absl::Status Commit(SealedBlobWriter writer) const;

  // NOT_FOUND; DATA_LOSS as in sealed_blob.h.
  absl::StatusOr<SealedBlobReader> Read(const Digest& digest) const;

  bool Has(const Digest& digest) const;

  // Durable when it returns; a blob that is not there is no error. On most file systems its bytes
  // stay on the disk until they are overwritten: they stay sealed.
  absl::Status Remove(const Digest& digest);

  // Every committed blob, in the order of the digests. INTERNAL for a file that is none of ours.
  absl::StatusOr<std::vector<Digest>> List() const;

 private:
  BlobStore(SecretBytes blob_key, std::string folder)
      : blob_key_(std::move(blob_key)), folder_(std::move(folder)) {}
  std::string PathOf(const std::string& name) const;

  const SecretBytes blob_key_;
  const std::string folder_;
};

}  // namespace consilium

#endif  // CONSILIUM_PRIVACY_AT_REST_BLOB_STORE_H_
