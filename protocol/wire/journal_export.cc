#include "protocol/wire/journal_export.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>

#include <array>
#include <cstring>
#include <fstream>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "protocol/core/files.h"
#include "protocol/core/status_macros.h"
#include "protocol/wire/limits.h"

namespace consilium {
namespace {

constexpr absl::string_view kMagic = "CONSILIUM EXPORT 1\n";
constexpr size_t kRecordBytes = 1 << 20;
constexpr size_t kTagBytes = 16;
constexpr size_t kFrameHeadBytes = 9;

constexpr char kHeaderFrame = 'H';
constexpr char kEntryFrame = 'J';
constexpr char kUpdateFrame = 'U';
constexpr char kSignatureFrame = 'S';

struct PkeyDeleter {
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
};
struct PkeyContextDeleter {
  void operator()(EVP_PKEY_CTX* context) const { EVP_PKEY_CTX_free(context); }
};
struct KdfContextDeleter {
  void operator()(EVP_KDF_CTX* context) const { EVP_KDF_CTX_free(context); }
};
struct KdfDeleter {
  void operator()(EVP_KDF* kdf) const { EVP_KDF_free(kdf); }
};
struct CipherContextDeleter {
  void operator()(EVP_CIPHER_CTX* context) const { EVP_CIPHER_CTX_free(context); }
};
using Pkey = std::unique_ptr<EVP_PKEY, PkeyDeleter>;
using CipherContext = std::unique_ptr<EVP_CIPHER_CTX, CipherContextDeleter>;

absl::StatusOr<RecipientKey> FromPrivate(SecretBytes bytes) {
  const Pkey pkey(
      EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, nullptr, bytes.data(), bytes.size()));
  RecipientKey key;
  size_t size = key.public_key.size();
  if (pkey == nullptr ||
      EVP_PKEY_get_raw_public_key(pkey.get(), key.public_key.data(), &size) != 1) {
    return absl::InvalidArgumentError("an X25519 key has 32 bytes");
  }
  key.private_key = std::move(bytes);
  return key;
}

// EVP_PKEY_derive refuses an all-zero result, as RFC 7748 asks.
absl::StatusOr<SecretBytes> SharedSecret(const SecretBytes& mine, const PublicKey& theirs) {
  const Pkey own(EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, nullptr, mine.data(), mine.size()));
  const Pkey peer(
      EVP_PKEY_new_raw_public_key(EVP_PKEY_X25519, nullptr, theirs.data(), theirs.size()));
  const std::unique_ptr<EVP_PKEY_CTX, PkeyContextDeleter> context(
      EVP_PKEY_CTX_new(own.get(), nullptr));
  SecretBytes secret(32);
  size_t size = secret.size();
  if (own == nullptr || peer == nullptr || EVP_PKEY_derive_init(context.get()) != 1 ||
      EVP_PKEY_derive_set_peer(context.get(), peer.get()) != 1 ||
      EVP_PKEY_derive(context.get(), secret.mutable_data(), &size) != 1) {
    return absl::InvalidArgumentError("the X25519 public key is not a usable one");
  }
  return secret;
}

struct KeyParties {
  const PublicKey& ephemeral;
  const PublicKey& recipient;
};

absl::StatusOr<SecretBytes> RecordKey(SecretBytes secret, const KeyParties& parties) {
  std::array<uint8_t, 64> salt;
  memcpy(salt.data(), parties.ephemeral.data(), 32);
  memcpy(salt.data() + 32, parties.recipient.data(), 32);
  char digest[] = "SHA256";
  char info[] = "consilium.export.v1";
  const OSSL_PARAM parameters[] = {
      OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0),
      OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, secret.mutable_data(), secret.size()),
      OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SALT, salt.data(), salt.size()),
      OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, info, sizeof(info) - 1),
      OSSL_PARAM_construct_end()};
  const std::unique_ptr<EVP_KDF, KdfDeleter> kdf(EVP_KDF_fetch(nullptr, "HKDF", nullptr));
  const std::unique_ptr<EVP_KDF_CTX, KdfContextDeleter> context(EVP_KDF_CTX_new(kdf.get()));
  SecretBytes key(32);
  if (context == nullptr ||
      EVP_KDF_derive(context.get(), key.mutable_data(), key.size(), parameters) != 1) {
    return absl::InternalError("OpenSSL derived no key");
  }
  return key;
}

enum class RecordPlace : uint8_t { kMiddle = 0, kLast = 1 };

std::array<uint8_t, 12> Nonce(uint64_t counter, RecordPlace place) {
  std::array<uint8_t, 12> nonce = {};
  for (int i = 0; i < 8; ++i) nonce[i] = static_cast<uint8_t>(counter >> (8 * i));
  nonce[11] = static_cast<uint8_t>(place);
  return nonce;
}

void AppendLittleEndian(uint64_t value, int bytes, std::string& out) {
  for (int i = 0; i < bytes; ++i) out.push_back(static_cast<char>(value >> (8 * i)));
}

uint64_t LittleEndian(absl::string_view bytes) {
  uint64_t value = 0;
  for (size_t i = bytes.size(); i > 0; --i) {
    value = (value << 8) | static_cast<uint8_t>(bytes[i - 1]);
  }
  return value;
}

std::string FrameHead(char kind, uint64_t size) {
  std::string head(1, kind);
  AppendLittleEndian(size, 8, head);
  return head;
}

}  // namespace

absl::StatusOr<RecipientKey> GenerateRecipientKey() {
  const Pkey pkey(EVP_PKEY_Q_keygen(nullptr, nullptr, "X25519"));
  SecretBytes bytes(32);
  size_t size = bytes.size();
  if (pkey == nullptr ||
      EVP_PKEY_get_raw_private_key(pkey.get(), bytes.mutable_data(), &size) != 1) {
    return absl::InternalError("OpenSSL made no X25519 key");
  }
  return FromPrivate(std::move(bytes));
}

absl::Status WriteRecipientKey(const RecipientKey& key, const std::string& path) {
  return WriteFileDurably(path, absl::StrCat(ToHex(key.private_key.span()), "\n"), 0600);
}

absl::StatusOr<RecipientKey> ReadRecipientKey(const std::string& path) {
  CONSILIUM_RETURN_IF_ERROR(CheckPrivate(path));
  CONSILIUM_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, 256));
  const std::optional<Digest> bytes = DigestFromHex(absl::StripTrailingAsciiWhitespace(text));
  if (!bytes.has_value()) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, " is no recipient key: it must hold 64 hexadecimal digits"));
  }
  return FromPrivate(SecretBytes(*bytes));
}

// Gathers plaintext into sealed records.
class JournalExportWriter::Records {
 public:
  Records(SecretBytes key, Sink sink) : key_(std::move(key)), sink_(std::move(sink)) {}

  absl::Status Append(absl::string_view bytes) {
    while (!bytes.empty()) {
      // A full record is sealed only when more follows: the last one is known by its flag.
      if (plain_.size() == kRecordBytes) CONSILIUM_RETURN_IF_ERROR(Seal(RecordPlace::kMiddle));
      const size_t n = std::min(bytes.size(), kRecordBytes - plain_.size());
      plain_.append(bytes.data(), n);
      bytes.remove_prefix(n);
    }
    return absl::OkStatus();
  }
  absl::Status Finish() { return Seal(RecordPlace::kLast); }

 private:
  absl::Status Seal(RecordPlace place) {
    const auto nonce = Nonce(counter_++, place);
    const CipherContext context(EVP_CIPHER_CTX_new());
    std::string record;
    AppendLittleEndian(plain_.size() + kTagBytes, 4, record);
    const size_t head = record.size();
    record.resize(head + plain_.size() + kTagBytes);
    auto* out = reinterpret_cast<uint8_t*>(record.data()) + head;
    int size = 0;
    int tail = 0;
    if (EVP_EncryptInit_ex(context.get(), EVP_aes_256_gcm(), nullptr, key_.data(), nonce.data()) !=
            1 ||
        EVP_EncryptUpdate(context.get(), out, &size,
                          reinterpret_cast<const uint8_t*>(plain_.data()),
                          static_cast<int>(plain_.size())) != 1 ||
        EVP_EncryptFinal_ex(context.get(), out + size, &tail) != 1 ||
        EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_GCM_GET_TAG, kTagBytes, out + plain_.size()) !=
            1) {
      return absl::InternalError("OpenSSL sealed no record");
    }
    plain_.clear();
    return sink_(record);
  }

  const SecretBytes key_;
  const Sink sink_;
  std::string plain_;
  uint64_t counter_ = 0;
};

JournalExportWriter::JournalExportWriter(std::unique_ptr<Records> records, const SigningKey& signer)
    : records_(std::move(records)), signer_(signer) {}
JournalExportWriter::~JournalExportWriter() = default;

absl::StatusOr<std::unique_ptr<JournalExportWriter>> JournalExportWriter::Create(
    const v1::ExportHeader& header, const PublicKey& recipient, const SigningKey& signer,
    Sink sink) {
  CONSILIUM_ASSIGN_OR_RETURN(const RecipientKey ephemeral, GenerateRecipientKey());
  CONSILIUM_ASSIGN_OR_RETURN(SecretBytes secret, SharedSecret(ephemeral.private_key, recipient));
  CONSILIUM_ASSIGN_OR_RETURN(SecretBytes key,
                             RecordKey(std::move(secret), {ephemeral.public_key, recipient}));
  std::string begin(kMagic);
  begin.append(reinterpret_cast<const char*>(ephemeral.public_key.data()), 32);
  CONSILIUM_RETURN_IF_ERROR(sink(begin));
  std::unique_ptr<JournalExportWriter> writer(
      new JournalExportWriter(std::make_unique<Records>(std::move(key), std::move(sink)), signer));
  CONSILIUM_RETURN_IF_ERROR(writer->AddFrame(kHeaderFrame, header.SerializeAsString()));
  return writer;
}

absl::Status JournalExportWriter::AddFrame(char kind, absl::string_view bytes) {
  const std::string head = FrameHead(kind, bytes.size());
  signed_.Update(head);
  signed_.Update(bytes);
  CONSILIUM_RETURN_IF_ERROR(records_->Append(head));
  return records_->Append(bytes);
}

absl::Status JournalExportWriter::AddEntry(const v1::JournalEntry& entry) {
  return AddFrame(kEntryFrame, entry.SerializeAsString());
}

absl::Status JournalExportWriter::AddUpdate(const Digest& update, absl::string_view payload) {
  std::string bytes = ToBytes(update);
  bytes.append(payload.data(), payload.size());
  return AddFrame(kUpdateFrame, bytes);
}

absl::Status JournalExportWriter::Finish() {
  const std::string signature = signer_.Sign(signed_.Finish());
  CONSILIUM_RETURN_IF_ERROR(records_->Append(FrameHead(kSignatureFrame, signature.size())));
  CONSILIUM_RETURN_IF_ERROR(records_->Append(signature));
  return records_->Finish();
}

namespace {

// Opens record after record of a file.
class RecordReader {
 public:
  RecordReader(std::ifstream file, SecretBytes key)
      : file_(std::move(file)), key_(std::move(key)) {}

  // The next record's plaintext; empty at the end of a whole file.
  absl::StatusOr<std::string> Next() {
    char head[4];
    file_.read(head, sizeof(head));
    if (file_.gcount() != sizeof(head)) {
      if (ended_ && file_.gcount() == 0) return std::string();
      return absl::DataLossError("the export is cut off");
    }
    const uint64_t size = LittleEndian(absl::string_view(head, sizeof(head)));
    if (ended_ || size < kTagBytes || size > kRecordBytes + kTagBytes) {
      return absl::DataLossError("the export is damaged: a record has an impossible size");
    }
    std::string sealed(size, '\0');
    file_.read(sealed.data(), static_cast<std::streamsize>(size));
    if (static_cast<uint64_t>(file_.gcount()) != size) {
      return absl::DataLossError("the export is cut off");
    }
    // Whether it is the last record is part of the nonce, so a cut file can not pretend.
    for (RecordPlace place : {RecordPlace::kMiddle, RecordPlace::kLast}) {
      if (auto plain = Open(sealed, place); plain.has_value()) {
        ended_ = place == RecordPlace::kLast;
        ++counter_;
        return *std::move(plain);
      }
    }
    if (counter_ == 0) {
      return absl::PermissionDeniedError(
          "the export can not be opened with this key: it was made for another recipient, or was "
          "altered");
    }
    return absl::DataLossError(absl::StrFormat("record %d of the export was altered", counter_));
  }

 private:
  std::optional<std::string> Open(absl::string_view sealed, RecordPlace place) const {
    const auto nonce = Nonce(counter_, place);
    const CipherContext context(EVP_CIPHER_CTX_new());
    std::string plain(sealed.size() - kTagBytes, '\0');
    std::string tag(sealed.substr(plain.size()));
    auto* out = reinterpret_cast<uint8_t*>(plain.data());
    int size = 0;
    int tail = 0;
    if (EVP_DecryptInit_ex(context.get(), EVP_aes_256_gcm(), nullptr, key_.data(), nonce.data()) !=
            1 ||
        EVP_DecryptUpdate(context.get(), out, &size,
                          reinterpret_cast<const uint8_t*>(sealed.data()),
                          static_cast<int>(plain.size())) != 1 ||
        EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_GCM_SET_TAG, kTagBytes, tag.data()) != 1 ||
        EVP_DecryptFinal_ex(context.get(), out + size, &tail) != 1) {
      return std::nullopt;
    }
    return plain;
  }

  std::ifstream file_;
  SecretBytes key_;
  uint64_t counter_ = 0;
  bool ended_ = false;
};

// Cuts the plaintext into frames and checks the signature at their end.
class FrameReader {
 public:
  FrameReader(RecordReader records, const ReadExportOptions& options)
      : records_(std::move(records)), options_(options) {}

  absl::StatusOr<JournalExport> Read() {
    while (true) {
      CONSILIUM_ASSIGN_OR_RETURN(const std::string head, Take(kFrameHeadBytes));
      const uint64_t size = LittleEndian(absl::string_view(head).substr(1));
      if (size > options_.file_bytes_max) {
        return absl::InvalidArgumentError("a frame of the export is larger than the export may be");
      }
      CONSILIUM_ASSIGN_OR_RETURN(const std::string bytes, Take(size));
      if (head[0] == kSignatureFrame) {
        CONSILIUM_RETURN_IF_ERROR(CheckSignature(bytes));
        return std::move(out_);
      }
      signed_.Update(head);
      signed_.Update(bytes);
      CONSILIUM_RETURN_IF_ERROR(Add(head[0], bytes));
    }
  }

 private:
  // Grows with what really came, never with what a length field claims.
  absl::StatusOr<std::string> Take(uint64_t size) {
    std::string out;
    while (out.size() < size) {
      if (at_ == plain_.size()) {
        CONSILIUM_ASSIGN_OR_RETURN(plain_, records_.Next());
        at_ = 0;
        if (plain_.empty()) return absl::DataLossError("the export ends before its signature");
      }
      const size_t n = std::min<uint64_t>(size - out.size(), plain_.size() - at_);
      out.append(plain_, at_, n);
      at_ += n;
    }
    return out;
  }

  absl::Status Add(char kind, const std::string& bytes) {
    if ((kind == kHeaderFrame) != !have_header_) {
      return absl::InvalidArgumentError("the export does not begin with one header");
    }
    switch (kind) {
      case kHeaderFrame:
        have_header_ = true;
        if (!out_.header.ParseFromString(bytes)) break;
        return absl::OkStatus();
      case kEntryFrame:
        if (out_.entries.size() == options_.entries_max) {
          return absl::ResourceExhaustedError(
              absl::StrCat("the export has more than ", options_.entries_max, " entries"));
        }
        if (!out_.entries.emplace_back().ParseFromString(bytes)) break;
        return absl::OkStatus();
      case kUpdateFrame:
        if (bytes.size() < sizeof(Digest)) break;
        if (out_.updates.size() == options_.entries_max) {
          return absl::ResourceExhaustedError(
              absl::StrCat("the export has more than ", options_.entries_max, " updates"));
        }
        out_.updates[*DigestFromBytes(absl::string_view(bytes).substr(0, sizeof(Digest)))] =
            bytes.substr(sizeof(Digest));
        return absl::OkStatus();
      default:
        break;
    }
    return absl::InvalidArgumentError("the export holds a frame that is none");
  }

  absl::Status CheckSignature(absl::string_view signature) {
    const std::optional<Digest> stated = DigestFromBytes(out_.header.aggregator_signing_key());
    if (!stated.has_value()) {
      return absl::InvalidArgumentError("the export names no signing key");
    }
    if (options_.aggregator_key.has_value() && *options_.aggregator_key != *stated) {
      return absl::PermissionDeniedError("the export is signed by another aggregator");
    }
    return VerifySignature(*stated, signed_.Finish(), signature);
  }

  RecordReader records_;
  const ReadExportOptions& options_;
  JournalExport out_;
  Sha256 signed_;
  std::string plain_;
  size_t at_ = 0;
  bool have_header_ = false;
};

}  // namespace

absl::StatusOr<JournalExport> ReadJournalExport(const std::string& path,
                                                const RecipientKey& recipient,
                                                const ReadExportOptions& options) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return absl::NotFoundError(absl::StrCat("can not open ", path));
  file.seekg(0, std::ios::end);
  if (static_cast<uint64_t>(file.tellg()) > options.file_bytes_max) {
    return absl::ResourceExhaustedError(absl::StrFormat("%s has %d bytes; at most %d are read",
                                                        path, static_cast<uint64_t>(file.tellg()),
                                                        options.file_bytes_max));
  }
  file.seekg(0);
  std::string begin(kMagic.size() + 32, '\0');
  file.read(begin.data(), static_cast<std::streamsize>(begin.size()));
  if (static_cast<size_t>(file.gcount()) != begin.size() ||
      absl::string_view(begin).substr(0, kMagic.size()) != kMagic) {
    return absl::InvalidArgumentError(absl::StrCat(path, " is no journal export"));
  }
  const PublicKey ephemeral = *DigestFromBytes(absl::string_view(begin).substr(kMagic.size()));
  CONSILIUM_ASSIGN_OR_RETURN(SecretBytes secret, SharedSecret(recipient.private_key, ephemeral));
  CONSILIUM_ASSIGN_OR_RETURN(SecretBytes key,
                             RecordKey(std::move(secret), {ephemeral, recipient.public_key}));
  return FrameReader(RecordReader(std::move(file), std::move(key)), options).Read();
}

}  // namespace consilium
