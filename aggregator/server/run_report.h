// What people are shown of a run and of the sites: views on the engine's state.
//
// Threads: the engine's, as they read its state.

#ifndef CONSILIUM_AGGREGATOR_SERVER_RUN_REPORT_H_
#define CONSILIUM_AGGREGATOR_SERVER_RUN_REPORT_H_

#include "absl/strings/string_view.h"
#include "aggregator/core/run_state.h"
#include "consilium/v1/admin.pb.h"

namespace consilium {

// "offered", "drawing", "running", "closing-validation", "closing-test", "ended", "purged".
absl::string_view NameOf(federation::RunPhase phase);

v1::RunSummary SummaryOf(const federation::RunState& run);
v1::RunReport ReportOf(const federation::RunState& run);

}  // namespace consilium

#endif  // CONSILIUM_AGGREGATOR_SERVER_RUN_REPORT_H_
