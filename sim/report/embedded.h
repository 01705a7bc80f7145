// Files that are part of the program.

#ifndef CONSILIUM_SIM_REPORT_EMBEDDED_H_
#define CONSILIUM_SIM_REPORT_EMBEDDED_H_

#include "absl/strings/string_view.h"

namespace consilium::embedded {

absl::string_view ReportTemplate();   // sim/report/report_template.html
absl::string_view CompareTemplate();  // sim/report/compare_template.html
absl::string_view SearchTemplate();   // sim/search/search_template.html
absl::string_view ChartJs();          // Chart.js, minified, from Debian's libjs-chart.js.

}  // namespace consilium::embedded

#endif  // CONSILIUM_SIM_REPORT_EMBEDDED_H_
