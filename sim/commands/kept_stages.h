// What a run config keeps of its own although somebody else chooses the preset, or the K: a preset
// stands for all its stages, so such a run is not what its name says.
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

// Whether `overrides` give a K (aggregation.trigger.buffer.updates) and leave the config's own
// live_share_min as it is, which takes K's place where many sites are live.
bool LiveShareKeptBesideK(const v1::RunConfig& config, const std::vector<std::string>& overrides);

}  // namespace consilium

#endif  // CONSILIUM_SIM_COMMANDS_KEPT_STAGES_H_
