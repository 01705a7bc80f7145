// A chain of SHA-256 digests over rows, so that none can be changed, left out, put in or moved
// without changing every digest after it:
//
//   head_n = SHA256("consilium.chain.v1" ‖ head_{n-1} ‖ n ‖ bytes of payload_n ‖ payload_n)
//
// with n and the length as 8 bytes, little-endian, and head_0 = 32 zero bytes (a linked
// time-stamping scheme: Haber and Stornetta, "How to time-stamp a digital document", 1991).
// Who can write all rows can also compute a new chain over them, or drop its end: a head that was
// signed or handed out earlier is what reveals that, so the verifier takes known heads.
//
// Ownership: values. Threads: functions from any; a verifier is one thread's.

#ifndef CONSILIUM_PRIVACY_AT_REST_HASH_CHAIN_H_
#define CONSILIUM_PRIVACY_AT_REST_HASH_CHAIN_H_

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "protocol/core/ids.h"

namespace consilium {

// A place in the chain: rows 1 to `sequence` are in `digest`. The default is the empty chain.
struct ChainHead {
  Sequence sequence;
  Digest digest{};
  friend bool operator==(const ChainHead&, const ChainHead&) = default;
};

// The head after one more row.
ChainHead Extend(const ChainHead& head, std::span<const uint8_t> payload);

// SHA-256 (FIPS 180-4).
Digest DigestOf(absl::string_view bytes);

struct ChainRow {
  Sequence sequence;
  std::span<const uint8_t> payload;
  Digest digest;
};

// Checks rows as they are read, in order.
class ChainVerifier {
 public:
  // `start` is where the rows to come begin; `known` are heads that the chain must pass through.
  // One before `start` can not be checked and is passed over; one at `start` must be equal to it.
  explicit ChainVerifier(ChainHead start = {}, const std::vector<ChainHead>& known = {});

  // DATA_LOSS, in words that name the row: changed, missing (the next number is another), or not
  // the one that a known head tells of. Stays failed.
  absl::Status Check(const ChainRow& row);

  // After the last row. DATA_LOSS where a known head lies beyond it: rows were cut off.
  absl::Status Finish();

  // The number of the first row that is wrong or missing, once there is one.
  std::optional<Sequence> first_wrong() const { return first_wrong_; }
  const ChainHead& head() const { return head_; }

 private:
  absl::Status Fail(Sequence sequence, absl::string_view why);

  ChainHead head_;
  std::map<uint64_t, Digest> known_;
  std::optional<Sequence> first_wrong_;
  absl::Status status_;
};

}  // namespace consilium

#endif  // CONSILIUM_PRIVACY_AT_REST_HASH_CHAIN_H_
