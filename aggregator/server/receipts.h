// Receipts as bytes: what the engine decided, signed by the aggregator's Ed25519 key. A function of
// the decision alone, so the same update gets the same bytes however often it asks, also after a
// restart.
//
// Ownership: holds the key. Threads: any.

#ifndef CONSILIUM_AGGREGATOR_SERVER_RECEIPTS_H_
#define CONSILIUM_AGGREGATOR_SERVER_RECEIPTS_H_

#include <utility>

#include "aggregator/core/actions.h"
#include "consilium/v1/transfer.pb.h"
#include "protocol/wire/signing_key.h"

namespace consilium {

class ReceiptSigner {
 public:
  explicit ReceiptSigner(SigningKey key) : key_(std::move(key)) {}
  virtual ~ReceiptSigner() = default;

  // Virtual for tests that count.
  virtual v1::Receipt Sign(const federation::SendReceipt& receipt) const;
  const SigningKey& key() const { return key_; }

 private:
  SigningKey key_;
};

}  // namespace consilium

#endif  // CONSILIUM_AGGREGATOR_SERVER_RECEIPTS_H_
