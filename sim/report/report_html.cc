#include "sim/report/report_html.h"

#include <nlohmann/json.hpp>

#include "absl/strings/str_replace.h"
#include "sim/report/embedded.h"

namespace consilium {

std::string ReportHtml(const std::vector<RunSummary>& runs,
                       const std::map<std::string, std::string>& checks) {
  nlohmann::json data = {{"runs", nlohmann::json::array()}, {"checks", checks}};
  for (const RunSummary& run : runs) data["runs"].push_back(ToJson(run));
  // "</script>" inside a name must not end the script element.
  const std::string json = absl::StrReplaceAll(
      data.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace), {{"<", "\\u003c"}});
  return absl::StrReplaceAll(embedded::ReportTemplate(), {{"/*CHART_JS*/", embedded::ChartJs()},
                                                          {"/*DATA*/", absl::string_view(json)}});
}

}  // namespace consilium
