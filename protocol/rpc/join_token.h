// Join tokens: what lets a site enrol once. A token is 256 random bits in a join file, bound to a
// site's id, federation and end; the aggregator keeps only its digest, so that its store does not
// let anyone enrol.
//
// Threads: any.

#ifndef CONSILIUM_PROTOCOL_RPC_JOIN_TOKEN_H_
#define CONSILIUM_PROTOCOL_RPC_JOIN_TOKEN_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "consilium/v1/enrolment.pb.h"
#include "protocol/core/ids.h"

namespace consilium {

// What an aggregator keeps of a token until it is spent. Whoever stores it spends it by removing
// the record in the transaction that records the new certificate.
struct JoinTokenRecord {
  SiteId site;
  Digest digest = {};
  absl::Time expires;
};

struct NewJoinToken {
  std::string token;  // 32 bytes.
  JoinTokenRecord record;
};
// Valid for limits::kJoinTokenLifetime from `now`. INVALID_ARGUMENT for a bad site id; INTERNAL
// where the system gives no random bytes.
absl::StatusOr<NewJoinToken> MakeJoinToken(const SiteId& site, absl::Time now);

// Whether `request` may spend the token of `record`: TOKEN_REFUSED where token or site are others
// (found out in constant time, and not told apart) or its time is over.
absl::Status CheckJoinToken(const v1::EnrolRequest& request, const JoinTokenRecord& record,
                            absl::Time now);

// What a site signs with the key whose public half it sends: every field of the request but the
// signature.
Digest EnrolmentDigest(const v1::EnrolRequest& request);

// A join file that a site was given (text format). INVALID_ARGUMENT names what is missing or wrong;
// TOKEN_REFUSED where its time is over.
absl::Status CheckJoinFile(const v1::JoinFile& file, absl::Time now);

}  // namespace consilium

#endif  // CONSILIUM_PROTOCOL_RPC_JOIN_TOKEN_H_
