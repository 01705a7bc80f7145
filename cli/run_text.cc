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

bool HasEnded(const v1::RunReport& report) {
  return report.phase() == "ended" || report.phase() == "purged";
}

std::string Value(const char* name, bool is_there, double value) {
  return is_there ? absl::StrFormat("%s %.3f", name, value) : absl::StrCat(name, " -");
}

std::string ScoresText(v1::Loss::Kind loss, const v1::Scores& scores) {
  std::string text;
  switch (loss) {
    case v1::Loss::BCE_WITH_LOGITS:
      text = absl::StrCat(Value("log-loss", scores.has_log_loss(), scores.log_loss()), ", ",
                          Value("AUROC", scores.has_auroc(), scores.auroc()));
      break;
    case v1::Loss::MSE:
      text = Value("MSE", scores.has_mse(), scores.mse());
      break;
    case v1::Loss::COX:
      text = absl::StrCat(Value("Cox loss", scores.has_cox_loss(), scores.cox_loss()), ", ",
                          Value("C", scores.has_c_index(), scores.c_index()));
      break;
    case v1::Loss::DISCRETE_HAZARD:
      text = absl::StrCat(Value("log-loss", scores.has_log_loss(), scores.log_loss()), ", ",
                          Value("C", scores.has_c_index(), scores.c_index()));
      break;
    default:
      text = absl::StrCat(Value("log-loss", scores.has_log_loss(), scores.log_loss()), ", ",
                          Value("accuracy", scores.has_accuracy(), scores.accuracy()));
  }
  return absl::StrCat(text, " (n ", scores.examples(), ")");
}

// The version that the scores are shown of: the result, or the newest that has some.
const v1::VersionReport* ScoredVersion(const v1::RunReport& report) {
  if (report.has_result_version()) {
    return report.result_version() < static_cast<uint64_t>(report.versions_size())
               ? &report.versions(static_cast<int>(report.result_version()))
               : nullptr;
  }
  for (int v = report.versions_size() - 1; v >= 0; --v) {
    if (report.versions(v).has_validation_scores()) return &report.versions(v);
  }
  return nullptr;
}

std::string ScoresLine(const v1::RunReport& report, const v1::VersionReport& version) {
  std::string line = absl::StrCat("version ", version.version());
  const v1::SplitConfig& split = report.plan().config().data().split();
  if (split.validation() > 0) {
    absl::StrAppend(&line, ": validation ", ValidationText(report, version));
  }
  if (version.has_test_scores()) {
    absl::StrAppend(&line, split.validation() > 0 ? "; " : ": ", "test ",
                    ScoresText(report.plan().spec().loss().kind(), version.test_scores()));
  }
  return absl::StrCat(line, "\n");
}

uint64_t SitesThatApproved(const v1::RunReport& report) {
  uint64_t sites = 0;
  for (const v1::ParticipantReport& site : report.participants()) {
    sites += site.decision() == "approved" ? 1 : 0;
  }
  return sites;
}

}  // namespace

std::string ValidationText(const v1::RunReport& report, const v1::VersionReport& version) {
  if (!version.has_validation_scores()) return "-";
  return ScoresText(report.plan().spec().loss().kind(), version.validation_scores());
}

std::string VersionLines::Next(const v1::RunReport& report) {
  std::string lines;
  const uint64_t sites = SitesThatApproved(report);
  for (; next_ < static_cast<uint64_t>(report.versions_size()); ++next_) {
    const v1::VersionReport& version = report.versions(static_cast<int>(next_));
    // A site that is away does not hold up what is shown.
    const bool is_old = next_ + 2 <= report.current_version();
    const bool is_whole = version.validation_scores().sites() >= sites;
    if (!HasEnded(report) && !is_old && !is_whole) break;
    absl::StrAppend(&lines, ScoresLine(report, version));
  }
  return lines;
}

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
  if (const v1::VersionReport* version = ScoredVersion(report); version != nullptr) {
    absl::StrAppend(&text, ScoresLine(report, *version));
  }
  absl::StrAppendFormat(&text, "%-24s %-9s %8s %8s %8s %8s %9s\n", "SITE", "DECISION", "ROWS",
                        "ACCEPTED", "MERGED", "REFUSED", "INFLUENCE");
  for (const v1::ParticipantReport& site : report.participants()) {
    absl::StrAppendFormat(&text, "%-24s %-9s %8d %8d %8d %8d %8.1f%% %s\n", site.site_id(),
                          site.decision(), site.train_examples(), site.updates_accepted(),
                          site.updates_included(), site.updates_refused(), 100 * site.influence(),
                          site.refusal());
  }
  absl::StrAppend(&text,
                  "INFLUENCE: the site's part of all weights with which updates were merged\n"
                  "staleness of merged updates (versions behind: updates):");
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
