// A run as tables that other programs read (RFC 4180; "." as decimal point; empty: not known).
//
// Threads: any.

#ifndef CONSILIUM_SIM_REPORT_CSV_FILES_H_
#define CONSILIUM_SIM_REPORT_CSV_FILES_H_

#include <string>

#include "absl/strings/string_view.h"
#include "sim/report/summary.h"

namespace consilium {

// A text as a cell. One that a spreadsheet would take for a formula gets an apostrophe.
std::string CsvCell(absl::string_view text);

// version,seconds,updates,upload_bytes,validation_loss,score,worst_score
std::string VersionsCsv(const RunSummary& run);
// site,train_examples,updates,share,influence,idle_fraction and all scores (scores.h) of the three
// models on test patients, alone_examples,alone_log_loss,…,pooled_cox_loss
std::string SitesCsv(const RunSummary& run);
// version,site,task,base,staleness,coefficient,factors: every merged update
std::string UpdatesCsv(const RunSummary& run);
// site,version,seconds,score and all scores (scores.h) on its validation patients, where it tells;
// `score` is that of the curve
std::string SiteScoresCsv(const RunSummary& run);
// site,kind,begin_seconds,end_seconds: kind is train, download or upload
std::string ActivityCsv(const RunSummary& run);

}  // namespace consilium

#endif  // CONSILIUM_SIM_REPORT_CSV_FILES_H_
