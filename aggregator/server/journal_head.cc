#include "aggregator/server/journal_head.h"

#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "protocol/core/status_macros.h"
#include "protocol/wire/hash.h"

namespace consilium {
namespace {

constexpr char kHeadValue[] = "journal_head";

absl::Status Damaged() {
  return absl::DataLossError("the journal's signed head is not the aggregator's");
}

}  // namespace

Digest JournalHeadDigest(const ChainHead& head) {
  return FieldHasher("consilium.journal_head.v1")
      .Add(head.sequence.value())
      .Add(head.digest)
      .Finish();
}

absl::Status KeepHead(Store& store, const SigningKey& key) {
  CONSILIUM_ASSIGN_OR_RETURN(const ChainHead head, store.Head());
  return KeepHead(store, key, head);
}

absl::Status KeepHead(Store& store, const SigningKey& key, const ChainHead& head) {
  return store.PutValue(kHeadValue, absl::StrCat(head.sequence.value(), " ", ToHex(head.digest),
                                                 " ", key.Sign(JournalHeadDigest(head))));
}

absl::StatusOr<std::vector<ChainHead>> KnownHeads(Store& store, const PublicKey& key) {
  CONSILIUM_ASSIGN_OR_RETURN(const std::optional<std::string> value, store.Value(kHeadValue));
  if (!value.has_value()) {
    CONSILIUM_ASSIGN_OR_RETURN(const ChainHead last, store.Head());
    if (last.sequence == Sequence(0)) return std::vector<ChainHead>();
    return absl::DataLossError("the journal has entries, and its signed head is missing");
  }
  const std::vector<std::string> parts = absl::StrSplit(*value, absl::MaxSplits(' ', 2));
  uint64_t sequence = 0;
  if (parts.size() != 3 || !absl::SimpleAtoi(parts[0], &sequence)) return Damaged();
  const std::optional<Digest> digest = DigestFromHex(parts[1]);
  if (!digest.has_value()) return Damaged();
  const ChainHead head{Sequence(sequence), *digest};
  if (!VerifySignature(key, JournalHeadDigest(head), parts[2]).ok()) return Damaged();
  if (head.sequence == Sequence(0)) return std::vector<ChainHead>();
  return std::vector<ChainHead>{head};
}

}  // namespace consilium
