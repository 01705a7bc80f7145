#include "protocol/core/failpoint.h"

#include <signal.h>
#include <stdlib.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <string>

namespace consilium {
namespace {

// In the order in which one update passes them.
constexpr std::array<absl::string_view, 16> kNames = {
    "agent.outbox_blob_synced",        // the sealed update lies in the outbox; no record yet
    "agent.journal_committed",         // an input of the site's engine is durable; nothing sent yet
    "agent.before_send",               // the upload is about to start
    "agent.mid_send",                  // the upload's first chunk is on its way
    "agent.receipt_received",          // a receipt arrived; not yet recorded
    "agent.lease_stored",              // Welcome's lease is durable here; not yet confirmed
    "agent.model_fetched",             // a model came in whole; not yet recorded
    "aggregator.upload_half_spooled",  // half of an upload is on disk
    "aggregator.blob_written",         // all of it is written; not synced
    "aggregator.blob_synced",          // blob durable; the engine has not seen it
    "aggregator.before_commit",        // inputs are stepped; their journal records are not durable
    "aggregator.journal_committed",    // inputs durable; nothing has left yet
    "aggregator.receipt_sent",         // one receipt left
    "aggregator.compute_done",         // a program's result is on disk; not yet journalled
    "aggregator.model_synced",         // a new version's blob is durable; its version is not
    "aggregator.notice_sent",          // one site has heard of the new version, others have not
};

struct Target {
  std::string name;
  int passages = 1;
};

const Target* ReadTarget() {
  const char* value = getenv("CONSILIUM_FAILPOINT");
  if (value == nullptr || *value == '\0') return nullptr;
  auto* target = new Target;  // Lives as long as the process.
  target->name = value;
  if (size_t colon = target->name.find(':'); colon != std::string::npos) {
    target->passages = std::max(1, atoi(target->name.c_str() + colon + 1));
    target->name.resize(colon);
  }
  return target;
}

}  // namespace

void Failpoint(absl::string_view name) {
  static const Target* const target = ReadTarget();
  if (target == nullptr) return;
  if (std::find(kNames.begin(), kNames.end(), name) == kNames.end()) abort();
  static std::atomic<int> passed{0};
  if (target->name == name && ++passed == target->passages) raise(SIGKILL);
}

std::span<const absl::string_view> FailpointNames() { return kNames; }

}  // namespace consilium
