// report.html: one self-contained file with tables and curves, no network. Chart.js (MIT) is
// inside.
//
// Threads: any.

#ifndef CONSILIUM_SIM_REPORT_REPORT_HTML_H_
#define CONSILIUM_SIM_REPORT_REPORT_HTML_H_

#include <map>
#include <string>
#include <vector>

#include "sim/report/summary.h"

namespace consilium {

// The first run is the subject; the others are drawn beside it. `checks`: what was verified, and
// the finding, as rows of a table.
std::string ReportHtml(const std::vector<RunSummary>& runs,
                       const std::map<std::string, std::string>& checks);

}  // namespace consilium

#endif  // CONSILIUM_SIM_REPORT_REPORT_HTML_H_
