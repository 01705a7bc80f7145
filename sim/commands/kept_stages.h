// What a run config keeps of its own although somebody else chooses the preset: a preset stands for
// all its stages, so such a run is not what its name says.
//
// Threads: any.

#ifndef CONSILIUM_SIM_COMMANDS_KEPT_STAGES_H_
#define CONSILIUM_SIM_COMMANDS_KEPT_STAGES_H_

#include <string>
#include <vector>

#include "consilium/v1/run_config.pb.h"
#include "consilium/v1/search_space.pb.h"

namespace consilium {

// The fields of `aggregation` in the run config of a file that stay as they are there although
// `overrides` ("path=value", or whole blocks) name another preset.
std::vector<std::string> StagesKeptFrom(const v1::RunConfig& file,
                                        const std::vector<std::string>& overrides);

// The same of all trials of a search, over `overrides`: what any preset that it tries would keep.
// What the space itself gives values to is not kept. `space` is resolved.
std::vector<std::string> StagesKeptWhereSearched(const v1::RunConfig& file,
                                                 const std::vector<std::string>& overrides,
                                                 const v1::SearchSpace& space);

}  // namespace consilium

#endif  // CONSILIUM_SIM_COMMANDS_KEPT_STAGES_H_
