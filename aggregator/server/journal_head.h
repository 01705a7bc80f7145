// Heads of the journal that the aggregator has signed and kept, so that entries cut off its end are
// noticed: one at each start and each clean stop.
//
// Threads: any.

#ifndef CONSILIUM_AGGREGATOR_SERVER_JOURNAL_HEAD_H_
#define CONSILIUM_AGGREGATOR_SERVER_JOURNAL_HEAD_H_

#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "aggregator/server/store.h"
#include "privacy/at_rest/hash_chain.h"
#include "protocol/wire/signing_key.h"

namespace consilium {

// What is signed: H("consilium.journal_head.v1", sequence, digest).
Digest JournalHeadDigest(const ChainHead& head);

// Signs the store's head and keeps it in place of the last one.
absl::Status KeepHead(Store& store, const SigningKey& key);

// The kept head, or nothing where there is none yet. DATA_LOSS where it is not `key`'s.
absl::StatusOr<std::vector<ChainHead>> KnownHeads(Store& store, const PublicKey& key);

}  // namespace consilium

#endif  // CONSILIUM_AGGREGATOR_SERVER_JOURNAL_HEAD_H_
