#include "cli/run_text.h"

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace consilium {
namespace {

uint64_t Included(const v1::RunReport& report) {
  uint64_t updates = 0;
  for (const v1::ParticipantReport& site : report.participants()) {
    updates += site.updates_included();
  }
  return updates;
}

}  // namespace

std::string ProgressText(const v1::RunReport& report) {
  return absl::StrFormat("%s: %s, version %d of at most %d, %d updates merged", report.run_id(),
                         report.phase(), report.current_version(),
                         report.plan().config().stop().versions_max(), Included(report));
}

std::string RunText(const v1::RunReport& report) {
  std::string text = absl::StrCat(ProgressText(report), "\n");
  if (!report.why_ended().empty()) absl::StrAppend(&text, "ended: ", report.why_ended(), "\n");
  if (report.has_result_version()) {
    absl::StrAppendFormat(&text, "result: version %d, model %s\n", report.result_version(),
                          absl::BytesToHexString(report.result_model_id()));
  }
  absl::StrAppendFormat(&text, "%-24s %-9s %8s %8s %8s %8s %9s\n", "SITE", "DECISION", "ROWS",
                        "ACCEPTED", "MERGED", "REFUSED", "INFLUENCE");
  for (const v1::ParticipantReport& site : report.participants()) {
    absl::StrAppendFormat(&text, "%-24s %-9s %8d %8d %8d %8d %9.3f %s\n", site.site_id(),
                          site.decision(), site.train_examples(), site.updates_accepted(),
                          site.updates_included(), site.updates_refused(), site.influence(),
                          site.refusal());
  }
  absl::StrAppend(&text, "staleness of merged updates:");
  for (int i = 0; i < report.staleness_histogram_size(); ++i) {
    if (report.staleness_histogram(i) == 0) continue;
    absl::StrAppendFormat(&text, " %d:%d", i, report.staleness_histogram(i));
  }
  absl::StrAppendFormat(&text, "\nduplicates absorbed: %d\n", report.duplicates_absorbed());
  for (const auto& [reason, count] : report.refusals()) {
    absl::StrAppendFormat(&text, "refused %s: %d\n", reason, count);
  }
  return text;
}

}  // namespace consilium
