// Heads of the journal that the aggregator has signed and kept, so that entries cut off its end are
// noticed: one before the first entry, one at each start and each clean stop, and in between after
// kHeadEntriesMax entries, or after a new version where kHeadPause has gone by.
//
// The key, the head and the journal lie in one store: this shows a damaged or an old store, and
// nothing to who holds the key of all three (docs/threat_model.md).
//
// Threads: any.

#ifndef CONSILIUM_AGGREGATOR_SERVER_JOURNAL_HEAD_H_
#define CONSILIUM_AGGREGATOR_SERVER_JOURNAL_HEAD_H_

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "aggregator/server/store.h"
#include "privacy/at_rest/hash_chain.h"
#include "protocol/wire/signing_key.h"

namespace consilium {

// What is signed: H("consilium.journal_head.v1", sequence, digest).
Digest JournalHeadDigest(const ChainHead& head);

inline constexpr uint64_t kHeadEntriesMax = 1000;
inline constexpr absl::Duration kHeadPause = absl::Seconds(1);

// Signs the head and keeps it in place of the last one.
absl::Status KeepHead(Store& store, const SigningKey& key, const ChainHead& head);
// The same with the store's.
absl::Status KeepHead(Store& store, const SigningKey& key);

// The kept head; nothing where it is that of an empty journal, or where there is neither a head nor
// an entry. DATA_LOSS where it is not `key`'s, or there are entries and no head.
absl::StatusOr<std::vector<ChainHead>> KnownHeads(Store& store, const PublicKey& key);

}  // namespace consilium

#endif  // CONSILIUM_AGGREGATOR_SERVER_JOURNAL_HEAD_H_
