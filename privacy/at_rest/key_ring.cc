#include "privacy/at_rest/key_ring.h"

#include <unistd.h>

#include <algorithm>
#include <array>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "privacy/at_rest/hex.h"
#include "protocol/core/files.h"
#include "protocol/core/status_macros.h"

namespace consilium {
namespace {

constexpr char kFirstLine[] = "consilium-keys 1";
constexpr size_t kWrappedBytes = 1 + kNonceBytes + kKeyBytes + kTagBytes;
constexpr size_t kNameBytesMax = 128;
constexpr size_t kRingBytesMax = kKeyRingKeysMax * (kNameBytesMax + 2 * kWrappedBytes + 8) + 256;

bool NameIsValid(absl::string_view name) {
  const auto alphanumeric = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); };
  return !name.empty() && name.size() <= kNameBytesMax && alphanumeric(name[0]) &&
         std::all_of(name.begin(), name.end(), [&](char c) {
           return alphanumeric(c) || c == '.' || c == '_' || c == '/' || c == '-';
         });
}

std::string Purpose(absl::string_view name) { return absl::StrCat("ring/", name); }

absl::StatusOr<Kek> Copy(const Kek& kek) { return Kek::FromBytes(kek.key().Clone()); }

}  // namespace

absl::StatusOr<KeyRing> KeyRing::Create(const Kek& kek, std::string path) {
  if (access(path.c_str(), F_OK) == 0) {
    return absl::AlreadyExistsError(absl::StrCat("there are keys in ", path, " already"));
  }
  CONSILIUM_ASSIGN_OR_RETURN(Kek own, Copy(kek));
  KeyRing ring(std::move(own), std::move(path));
  CONSILIUM_RETURN_IF_ERROR(ring.Write(ring.kek_, {}));
  return ring;
}

absl::StatusOr<KeyRing> KeyRing::Open(const Kek& kek, std::string path) {
  CONSILIUM_RETURN_IF_ERROR(CheckPrivate(path));
  CONSILIUM_ASSIGN_OR_RETURN(const std::string content, ReadFile(path, kRingBytesMax));
  CONSILIUM_ASSIGN_OR_RETURN(Kek own, Copy(kek));
  KeyRing ring(std::move(own), std::move(path));
  CONSILIUM_RETURN_IF_ERROR(ring.Parse(content));
  return ring;
}

absl::Status KeyRing::Parse(absl::string_view content) {
  const absl::Status damaged = absl::DataLossError(
      absl::StrCat(path_, " is not a file of wrapped keys, or it is damaged; restore it"));
  if (!absl::ConsumeSuffix(&content, "\n")) return damaged;
  const std::vector<absl::string_view> lines = absl::StrSplit(content, '\n');
  if (lines.size() < 2 || lines[0] != kFirstLine) return damaged;
  absl::string_view id = lines[1];
  if (!absl::ConsumePrefix(&id, "kek ") || id.size() != kek_.id().size()) return damaged;
  if (id != kek_.id()) {
    return absl::FailedPreconditionError(
        absl::StrCat("the keys in ", path_, " are wrapped by the KEK ", id, ", not by ", kek_.id(),
                     ": this is another store's key file"));
  }
  if (lines.size() - 2 > kKeyRingKeysMax) return damaged;
  for (size_t i = 2; i < lines.size(); ++i) {
    const std::vector<absl::string_view> fields = absl::StrSplit(lines[i], ' ');
    std::vector<uint8_t> wrapped(kWrappedBytes);
    if (fields.size() != 3 || fields[0] != "key" || !NameIsValid(fields[1]) ||
        !DecodeHex(fields[2], wrapped) ||
        !keys_.emplace(std::string(fields[1]), std::move(wrapped)).second) {
      return damaged;
    }
  }
  return absl::OkStatus();
}

absl::Status KeyRing::Write(const Kek& kek, const WrappedKeys& keys) const {
  std::string content = absl::StrCat(kFirstLine, "\nkek ", kek.id(), "\n");
  for (const auto& [name, wrapped] : keys) {
    absl::StrAppend(&content, "key ", name, " ", Hex(wrapped), "\n");
  }
  return WriteFileDurably(path_, content);
}

absl::StatusOr<SecretBytes> KeyRing::Get(absl::string_view name) const {
  const auto found = keys_.find(name);
  if (found == keys_.end()) {
    return absl::NotFoundError(absl::StrCat("there is no key ", name, " in ", path_,
                                            ": what it sealed was shredded, or never written"));
  }
  return UnwrapKey(kek_, Purpose(name), found->second);
}

absl::StatusOr<SecretBytes> KeyRing::GetOrCreate(absl::string_view name) {
  if (keys_.find(name) != keys_.end()) return Get(name);
  if (!NameIsValid(name)) {
    return absl::InvalidArgumentError(
        absl::StrCat("a key's name is [a-z0-9][a-z0-9._/-]{0,127}, not ", name));
  }
  if (keys_.size() >= kKeyRingKeysMax) {
    return absl::ResourceExhaustedError(absl::StrCat(path_, " holds ", kKeyRingKeysMax, " keys"));
  }
  CONSILIUM_ASSIGN_OR_RETURN(SecretBytes key, RandomKey());
  CONSILIUM_ASSIGN_OR_RETURN(std::vector<uint8_t> wrapped, WrapKey(kek_, Purpose(name), key));
  WrappedKeys keys = keys_;
  keys.emplace(std::string(name), std::move(wrapped));
  CONSILIUM_RETURN_IF_ERROR(Write(kek_, keys));
  keys_ = std::move(keys);
  return key;
}

absl::Status KeyRing::Remove(absl::string_view name) {
  WrappedKeys keys = keys_;
  const auto found = keys.find(name);
  if (found == keys.end()) return Get(name).status();
  keys.erase(found);
  CONSILIUM_RETURN_IF_ERROR(Write(kek_, keys));
  keys_ = std::move(keys);
  return absl::OkStatus();
}

absl::Status KeyRing::Rewrap(const Kek& next) {
  WrappedKeys keys;
  for (const auto& [name, wrapped] : keys_) {
    CONSILIUM_ASSIGN_OR_RETURN(const SecretBytes key, UnwrapKey(kek_, Purpose(name), wrapped));
    CONSILIUM_ASSIGN_OR_RETURN(keys[name], WrapKey(next, Purpose(name), key));
  }
  CONSILIUM_ASSIGN_OR_RETURN(Kek own, Copy(next));
  CONSILIUM_RETURN_IF_ERROR(Write(next, keys));
  kek_ = std::move(own);
  keys_ = std::move(keys);
  return absl::OkStatus();
}

std::vector<std::string> KeyRing::Names() const {
  std::vector<std::string> names;
  for (const auto& entry : keys_) names.push_back(entry.first);
  return names;
}

}  // namespace consilium
