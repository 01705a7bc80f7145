#include "aggregator/server/receipts.h"

#include "protocol/wire/hash.h"
#include "protocol/wire/identity.h"

namespace consilium {

v1::Receipt ReceiptSigner::Sign(const federation::SendReceipt& receipt) const {
  v1::Receipt out;
  out.set_kind(receipt.kind);
  out.set_run_id(receipt.run.value());
  out.set_site_id(receipt.site.value());
  out.set_task_id(receipt.task.value());
  out.set_update_id(ToBytes(receipt.update));
  out.set_sequence(receipt.sequence.value());
  if (receipt.kind == v1::Receipt::INCLUDED) {
    out.set_version(receipt.version.value());
    out.set_coefficient(receipt.coefficient);
  }
  out.set_signature(key_.Sign(ReceiptDigest(out)));
  return out;
}

}  // namespace consilium
