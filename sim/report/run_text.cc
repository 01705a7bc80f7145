#include "sim/report/run_text.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "aggregator/core/stopping.h"

namespace consilium {
namespace {

using ByScore = std::function<std::optional<double>(const RunSummary&)>;

std::optional<double> LossOf(const RunSummary& run) {
  const Scores& scores = run.federated;
  if (scores.cox_loss.has_value()) return scores.cox_loss;
  return scores.log_loss.has_value() ? scores.log_loss : scores.mse;
}
std::optional<double> PairsOf(const RunSummary& run) {
  return run.federated.c_index.has_value() ? run.federated.c_index : run.federated.auroc;
}
std::optional<double> ErrorsOf(const RunSummary& run) { return run.federated.errors_per_100; }
std::optional<double> SecondsOf(const RunSummary& run) { return run.seconds; }

// "0.123 ± 0.004" of one rule; "-" where a seed lacks it.
std::string MeanCell(const std::vector<std::vector<RunSummary>>& by_seed, size_t rule,
                     const ByScore& score, int decimals) {
  const auto n = static_cast<double>(by_seed.size());
  double mean = 0;
  for (const std::vector<RunSummary>& runs : by_seed) {
    const std::optional<double> value = score(runs[rule]);
    if (!value.has_value()) return "-";
    mean += *value / n;
  }
  double squares = 0;
  for (const std::vector<RunSummary>& runs : by_seed) {
    squares += std::pow(*score(runs[rule]) - mean, 2);
  }
  return absl::StrFormat("%.*f ± %.*f", decimals, mean, decimals, std::sqrt(squares / (n - 1)));
}

std::string ReachedCell(const std::vector<std::vector<RunSummary>>& by_seed, size_t rule) {
  if (!by_seed[0][rule].target.has_value()) return "";
  const auto reached = std::count_if(by_seed.begin(), by_seed.end(), [rule](const auto& runs) {
    return runs[rule].reached.has_value();
  });
  return absl::StrCat(reached, " of ", by_seed.size());
}

// Columns count characters, "±" is one of two bytes.
std::string Padded(const std::string& cell, size_t width) {
  const auto characters = static_cast<size_t>(std::count_if(cell.begin(), cell.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  }));
  return std::string(width > characters ? width - characters : 0, ' ') + cell;
}

// Of the scores at hand; nothing where there are none.
std::optional<double> BestOf(const RunSummary& run) {
  std::optional<double> best;
  for (const CurvePoint& point : run.curve) {
    if (!point.score.has_value()) continue;
    const bool is_better =
        !best.has_value() ||
        federation::IsBetter(run.target->metric(), {.candidate = *point.score, .incumbent = *best});
    if (is_better) best = point.score;
  }
  return best;
}

}  // namespace

std::string TargetText(const std::vector<RunSummary>& runs) {
  std::string text;
  for (const RunSummary& run : runs) {
    if (!run.target.has_value()) continue;
    absl::StrAppend(&text, run.title, ": target ", v1::Metric_Name(run.target->metric()), "=",
                    run.target->value());
    if (run.reached.has_value()) {
      absl::StrAppendFormat(&text, " reached at version %d, after %d updates and %.1f s\n",
                            run.reached->version, run.reached->updates, run.reached->seconds);
      continue;
    }
    const std::optional<double> best = BestOf(run);
    absl::StrAppend(&text, " not reached",
                    best.has_value() ? absl::StrFormat("; the best was %.4f", *best) : "", "\n");
  }
  return text;
}

std::string SeedMeansTable(const std::vector<std::vector<RunSummary>>& by_seed) {
  const Scores& first = by_seed[0][0].federated;
  const char* const loss = first.cox_loss.has_value()                             ? "Cox loss"
                           : first.log_loss.has_value() || !first.mse.has_value() ? "log-loss"
                                                                                  : "MSE";
  const char* const pairs = first.c_index.has_value() ? "C" : "AUROC";
  const bool has_target = by_seed[0][0].target.has_value();
  std::string text = absl::StrFormat(
      "%-33s %17s %15s %13s %17s%s\n", absl::StrCat("mean ± deviation, ", by_seed.size(), " seeds"),
      loss, pairs, "err %", "seconds", has_target ? "   reached" : "");
  for (size_t rule = 0; rule < by_seed[0].size(); ++rule) {
    absl::StrAppendFormat(&text, "%-32s %s %s %s %s%s\n", by_seed[0][rule].title,
                          Padded(MeanCell(by_seed, rule, LossOf, 4), 17),
                          Padded(MeanCell(by_seed, rule, PairsOf, 3), 15),
                          Padded(MeanCell(by_seed, rule, ErrorsOf, 1), 13),
                          Padded(MeanCell(by_seed, rule, SecondsOf, 1), 17),
                          has_target ? Padded(ReachedCell(by_seed, rule), 10) : "");
  }
  return text;
}

}  // namespace consilium
