// Curves as TensorBoard reads them: an event file of scalars (sim/report/event_records.h).
//
// Threads: any.

#ifndef CONSILIUM_SIM_REPORT_EVENT_FILES_H_
#define CONSILIUM_SIM_REPORT_EVENT_FILES_H_

#include <string>

#include "sim/report/summary.h"

namespace consilium {

// The content of an event file of one run: loss, score and worst site's score on validation
// patients, merged updates and uploaded bytes, each over versions. An event's wall time is the
// run's own clock, so that TensorBoard's relative time is virtual time.
std::string EventFile(const RunSummary& run);

}  // namespace consilium

#endif  // CONSILIUM_SIM_REPORT_EVENT_FILES_H_
