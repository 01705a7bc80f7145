#include "privacy/at_rest/hash_chain.h"

#include <openssl/evp.h>
#include <stdlib.h>

#include <array>
#include <memory>

#include "absl/strings/str_cat.h"

namespace consilium {
namespace {

constexpr absl::string_view kDomain = "consilium.chain.v1";

class Hasher {
 public:
  Hasher() : context_(EVP_MD_CTX_new()) {
    // Fails only without memory, or where OpenSSL is configured to have no SHA-256.
    if (context_ == nullptr || EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr) != 1)
      abort();
  }
  Hasher& Add(const void* bytes, size_t size) {
    if (EVP_DigestUpdate(context_.get(), bytes, size) != 1) abort();
    return *this;
  }
  Hasher& AddNumber(uint64_t number) {
    std::array<uint8_t, 8> bytes;
    for (uint8_t& byte : bytes) {
      byte = static_cast<uint8_t>(number);
      number >>= 8;
    }
    return Add(bytes.data(), bytes.size());
  }
  Digest Finish() {
    Digest digest;
    if (EVP_DigestFinal_ex(context_.get(), digest.data(), nullptr) != 1) abort();
    return digest;
  }

 private:
  struct Free {
    void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
  };
  std::unique_ptr<EVP_MD_CTX, Free> context_;
};

}  // namespace

ChainHead Extend(const ChainHead& head, std::span<const uint8_t> payload) {
  const Sequence sequence = head.sequence.next();
  return {.sequence = sequence,
          .digest = Hasher()
                        .Add(kDomain.data(), kDomain.size())
                        .Add(head.digest.data(), head.digest.size())
                        .AddNumber(sequence.value())
                        .AddNumber(payload.size())
                        .Add(payload.data(), payload.size())
                        .Finish()};
}

Digest DigestOf(absl::string_view bytes) {
  return Hasher().Add(bytes.data(), bytes.size()).Finish();
}

ChainVerifier::ChainVerifier(ChainHead start, const std::vector<ChainHead>& known) : head_(start) {
  for (const ChainHead& head : known) {
    if (head.sequence < start.sequence) continue;
    const auto [at, is_new] = known_.emplace(head.sequence.value(), head.digest);
    if ((!is_new && at->second != head.digest) ||
        (head.sequence == start.sequence && head != start)) {
      Fail(head.sequence, "two known heads contradict each other here").IgnoreError();
    }
  }
}

absl::Status ChainVerifier::Fail(Sequence sequence, absl::string_view why) {
  if (!first_wrong_.has_value()) {
    first_wrong_ = sequence;
    status_ =
        absl::DataLossError(absl::StrCat("chain broken at row ", sequence.value(), ": ", why));
  }
  return status_;
}

absl::Status ChainVerifier::Check(const ChainRow& row) {
  if (!status_.ok()) return status_;
  const Sequence expected = head_.sequence.next();
  if (row.sequence != expected) {
    return Fail(expected, absl::StrCat("it is missing; row ", row.sequence.value(), " comes next"));
  }
  const ChainHead next = Extend(head_, row.payload);
  if (next.digest != row.digest) return Fail(expected, "its content does not match its digest");
  const auto known = known_.find(expected.value());
  if (known != known_.end() && known->second != next.digest) {
    return Fail(expected,
                "it is not the row that a known head was made of, or one before it is not");
  }
  head_ = next;
  return absl::OkStatus();
}

absl::Status ChainVerifier::Finish() {
  if (!status_.ok()) return status_;
  if (!known_.empty() && known_.rbegin()->first > head_.sequence.value()) {
    return Fail(head_.sequence.next(), absl::StrCat("rows were cut off; a known head tells of row ",
                                                    known_.rbegin()->first));
  }
  return absl::OkStatus();
}

}  // namespace consilium
