// How much one site may add to the journal of its own accord: by attaching, and by sending what was
// decided already once more. Each such input is kept for ever, so a site has an allowance of inputs
// and of bytes that fills up again with time: far more than an honest agent uses, far less than a
// line carries. Who has used it up hears BUSY, and when to come again. What a run asked a site for
// (a decision, statistics, an update, an evaluation of each version) costs it nothing: of that
// there is no more than the run made room for.
//
// Ownership: values. Threads: any.

#ifndef CONSILIUM_AGGREGATOR_SERVER_INPUT_BUDGET_H_
#define CONSILIUM_AGGREGATOR_SERVER_INPUT_BUDGET_H_

#include <cstddef>
#include <map>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "protocol/core/ids.h"

namespace consilium {

// Of one site; BUSY beyond.
inline constexpr double kSiteInputsPerSecond = 1;
inline constexpr double kSiteInputsAtOnceMax = 250;
inline constexpr double kSiteInputBytesPerSecond = 4 << 10;
inline constexpr double kSiteInputBytesAtOnceMax = 32 << 20;
inline constexpr absl::Duration kBudgetRetryAfter = absl::Seconds(10);

class InputBudget {
 public:
  // Takes one input of `bytes` from the site's allowance. Refusal BUSY where it does not hold so
  // much; nothing is taken then. An input larger than the whole allowance is never let in.
  absl::Status Take(const SiteId& site, size_t bytes, absl::Time now) ABSL_LOCKS_EXCLUDED(mu_);
  // What was taken for an input that a run had asked for.
  void GiveBack(const SiteId& site, size_t bytes) ABSL_LOCKS_EXCLUDED(mu_);

 private:
  struct Allowance {
    double inputs = kSiteInputsAtOnceMax;
    double bytes = kSiteInputBytesAtOnceMax;
    absl::Time filled = absl::InfinitePast();
  };

  absl::Mutex mu_;
  // At most limits::kSitesMax: only sites that were let in have one.
  std::map<SiteId, Allowance> sites_ ABSL_GUARDED_BY(mu_);
};

}  // namespace consilium

#endif  // CONSILIUM_AGGREGATOR_SERVER_INPUT_BUDGET_H_
