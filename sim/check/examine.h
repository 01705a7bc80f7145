// Runs one federation with fake vectors and holds it to the invariants (sim/check/invariants.h).
//
// Threads: one.

#ifndef CONSILIUM_SIM_CHECK_EXAMINE_H_
#define CONSILIUM_SIM_CHECK_EXAMINE_H_

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "sim/check/federation_case.h"
#include "site_agent/core/trainer.h"

namespace consilium {

struct Verdict {
  enum class Kind : uint8_t {
    kHolds,
    kBroken,   // `what` begins with the invariant's name and a colon.
    kRefused,  // The run config or the scenario; `what` says why.
  } kind = Kind::kHolds;
  std::string what;
  uint64_t events = 0;
  uint64_t versions = 0;
  uint64_t updates = 0;  // Included.

  // "exactly once" of "exactly once: task 3 of …".
  std::string invariant() const { return what.substr(0, what.find(':')); }
};

// `folder` holds the table (WriteCaseTable). Errors are those of reading it.
absl::StatusOr<Verdict> Examine(const FederationCase& federation, const std::string& folder);
// With another trainer than FakeTrainer.
absl::StatusOr<Verdict> ExamineWith(Trainer& trainer, const FederationCase& federation,
                                    const std::string& folder);

}  // namespace consilium

#endif  // CONSILIUM_SIM_CHECK_EXAMINE_H_
