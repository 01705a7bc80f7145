// The file in which a run leaves its aggregator: journal entries, and the updates where asked for.
// Encrypted to one recipient, because single updates can be inverted into patients: they never lie
// about in the clear. Signed by the aggregator: a reader that knows its key (ReadExportOptions)
// knows where the file comes from; one that does not, only that it was not altered since.
//
//   file      = magic ‖ ephemeral X25519 public key (32) ‖ record*
//   record    = length (u32, little endian) ‖ AES-256-GCM(key, nonce = counter ‖ last flag)
//   key       = HKDF-SHA256(X25519(ephemeral, recipient), salt = ephemeral ‖ recipient)
//   plaintext = frame*;  frame = kind (1) ‖ length (u64, little endian) ‖ bytes
//   frames    = header, then entries and updates, then the Ed25519 signature over the SHA-256 of
//               all plaintext before it
//
// A truncated, reordered or altered file fails at the first wrong record, before anything of it is
// used.
//
// Threads: one object per thread.

#ifndef CONSILIUM_PROTOCOL_WIRE_JOURNAL_EXPORT_H_
#define CONSILIUM_PROTOCOL_WIRE_JOURNAL_EXPORT_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "consilium/v1/journal.pb.h"
#include "consilium/v1/journal_export.pb.h"
#include "protocol/core/ids.h"
#include "protocol/core/secret_bytes.h"
#include "protocol/wire/hash.h"
#include "protocol/wire/signing_key.h"

namespace consilium {

// An X25519 key pair of someone who may read exports.
struct RecipientKey {
  SecretBytes private_key;  // 32 bytes.
  PublicKey public_key = {};
};
absl::StatusOr<RecipientKey> GenerateRecipientKey();
// The private key as 64 hexadecimal digits in a file that only its owner reads (CheckPrivate).
absl::Status WriteRecipientKey(const RecipientKey& key, const std::string& path);
absl::StatusOr<RecipientKey> ReadRecipientKey(const std::string& path);

class JournalExportWriter {
 public:
  using Sink = std::function<absl::Status(absl::string_view bytes)>;

  // Writes the beginning of the file to `sink`. `signer` outlives the writer.
  static absl::StatusOr<std::unique_ptr<JournalExportWriter>> Create(const v1::ExportHeader& header,
                                                                     const PublicKey& recipient,
                                                                     const SigningKey& signer,
                                                                     Sink sink);
  ~JournalExportWriter();

  absl::Status AddEntry(const v1::JournalEntry& entry);
  // The payload of an update: little-endian f32.
  absl::Status AddUpdate(const Digest& update, absl::string_view payload);
  // Signature and last record. Without it the file is worth nothing.
  absl::Status Finish();

 private:
  class Records;
  JournalExportWriter(std::unique_ptr<Records> records, const SigningKey& signer);
  absl::Status AddFrame(char kind, absl::string_view bytes);

  std::unique_ptr<Records> records_;
  const SigningKey& signer_;
  Sha256 signed_;
};

struct JournalExport {
  v1::ExportHeader header;
  std::vector<v1::JournalEntry> entries;
  std::map<Digest, std::string> updates;
};

struct ReadExportOptions {
  uint64_t file_bytes_max = uint64_t{8} << 30;
  // Of entries, and of updates: one of a few bytes takes some hundred in memory.
  uint64_t entries_max = uint64_t{1} << 24;
  // Where given, the export must be signed by this key; else by the one in its header.
  std::optional<PublicKey> aggregator_key;
};

// INVALID_ARGUMENT: no export, or not what the format says. PERMISSION_DENIED: encrypted to
// another key, or signed by another aggregator. DATA_LOSS: altered or cut off.
// RESOURCE_EXHAUSTED: larger than the options allow.
absl::StatusOr<JournalExport> ReadJournalExport(const std::string& path,
                                                const RecipientKey& recipient,
                                                const ReadExportOptions& options);

}  // namespace consilium

#endif  // CONSILIUM_PROTOCOL_WIRE_JOURNAL_EXPORT_H_
