// What `consilium-sim run` says of its runs in words, beside the tables of sim/report/summary.h.
//
// Threads: any.

#ifndef CONSILIUM_SIM_REPORT_RUN_TEXT_H_
#define CONSILIUM_SIM_REPORT_RUN_TEXT_H_

#include <string>
#include <vector>

#include "sim/report/summary.h"

namespace consilium {

// "FEDBUFF: target LOG_LOSS=0.1 reached at version 4, …" or "… not reached …", a line for each run
// that has a target.
std::string TargetText(const std::vector<RunSummary>& runs);

// One line a rule: mean and standard deviation (n − 1) over seeds of loss, AUROC or C-index, errors
// and seconds, and in how many the target was reached. `by_seed`: the same rules in the same order
// for each seed, two seeds or more. A score that a seed does not have is "-".
std::string SeedMeansTable(const std::vector<std::vector<RunSummary>>& by_seed);

}  // namespace consilium

#endif  // CONSILIUM_SIM_REPORT_RUN_TEXT_H_
