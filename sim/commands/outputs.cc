#include "sim/commands/outputs.h"

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "protocol/core/files.h"
#include "protocol/core/status_macros.h"
#include "sim/report/report_html.h"

namespace consilium {

absl::Status WriteOutputs(const std::string& folder, const nlohmann::json& summary,
                          const std::vector<RunSummary>& runs,
                          const std::map<std::string, std::string>& checks) {
  if (folder.empty()) return absl::OkStatus();
  CONSILIUM_RETURN_IF_ERROR(MakeFolders(folder, 0755));
  CONSILIUM_RETURN_IF_ERROR(WriteFileDurably(absl::StrCat(folder, "/summary.json"),
                                             absl::StrCat(summary.dump(2), "\n"), 0644));
  return WriteFileDurably(absl::StrCat(folder, "/report.html"), ReportHtml(runs, checks), 0644);
}

}  // namespace consilium
