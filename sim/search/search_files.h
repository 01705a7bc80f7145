// The files that a search sets fields of, read once before anything is tried: so that a path that
// names nothing, or a value of the wrong type, is refused at the start and not by every trial.
//
// Threads: any.

#ifndef CONSILIUM_SIM_SEARCH_SEARCH_FILES_H_
#define CONSILIUM_SIM_SEARCH_SEARCH_FILES_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "consilium/v1/model_spec.pb.h"
#include "consilium/v1/search_space.pb.h"
#include "sim/search/trials_log.h"

namespace consilium {

struct SearchFilesOptions {
  std::string run_file;
  std::string scenario_file;
  std::vector<std::string> overrides;
};

// The model spec that the run config names, after those of `overrides` that are of the run config.
absl::StatusOr<v1::ModelSpec> ReadBaseSpec(const std::string& run_file,
                                           const std::vector<std::string>& overrides);

// Sets, one parameter at a time, its least and its greatest value, or each of its choices.
// INVALID_ARGUMENT names the parameter; also where an override sets what is searched. Paths of the
// model spec are left to the trials where the spec itself is searched (model.spec_file); its files
// have to be there. Gives what tells this search from others.
absl::StatusOr<TrialsLog::Identity> CheckSearchFiles(const v1::SearchSpace& space,
                                                     const SearchFilesOptions& options);

}  // namespace consilium

#endif  // CONSILIUM_SIM_SEARCH_SEARCH_FILES_H_
