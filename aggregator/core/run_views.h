// Numbers that reports, status and tests ask of a run; views on its state, nothing of their own.
//
// Threads: any; the run must not change meanwhile.

#ifndef CONSILIUM_AGGREGATOR_CORE_RUN_VIEWS_H_
#define CONSILIUM_AGGREGATOR_CORE_RUN_VIEWS_H_

#include <cstdint>
#include <map>
#include <vector>

#include "aggregator/core/run_state.h"
#include "protocol/core/ids.h"

namespace consilium::federation {

struct SiteCounts {
  uint64_t granted = 0;   // All tasks ever.
  uint64_t accepted = 0;  // Of them, those that got an acceptance receipt.
  uint64_t included = 0;
  uint64_t not_included = 0;
  uint64_t refused = 0;
  double influence = 0;  // Sum of the coefficients of its updates over all versions.
};
std::map<SiteId, SiteCounts> CountsBySite(const RunState& run);

// How many updates were folded at each staleness; index: versions of staleness.
std::vector<uint64_t> StalenessHistogram(const RunState& run);

}  // namespace consilium::federation

#endif  // CONSILIUM_AGGREGATOR_CORE_RUN_VIEWS_H_
