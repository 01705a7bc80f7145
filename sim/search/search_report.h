// A search as people and programs read it: a table for the terminal, CSV, JSON, and one page with a
// table that sorts and a plot of any two columns.
//
// Threads: any.

#ifndef CONSILIUM_SIM_SEARCH_SEARCH_REPORT_H_
#define CONSILIUM_SIM_SEARCH_SEARCH_REPORT_H_

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "consilium/v1/search_space.pb.h"
#include "sim/search/trial.h"

namespace consilium {

// Keys are an interface: name, algorithm, parameters, objectives, best (numbers of trials), trials.
nlohmann::json SearchJson(const v1::SearchSpace& space, const std::vector<Trial>& trials);

// A line a trial, those too that were not run again (same_as).
std::string SearchCsv(const v1::SearchSpace& space, const std::vector<Trial>& trials);

// The best trials, at most `rows_max`, and how many there were.
std::string SearchText(const v1::SearchSpace& space, const std::vector<Trial>& trials,
                       size_t rows_max);

// One self-contained file; Chart.js is inside.
std::string SearchHtml(const v1::SearchSpace& space, const std::vector<Trial>& trials);

}  // namespace consilium

#endif  // CONSILIUM_SIM_SEARCH_SEARCH_REPORT_H_
