// A run's plan in words: what a person at a hospital reads before they approve it.
//
// Threads: any.

#ifndef CONSILIUM_SITE_AGENT_RUNTIME_DESCRIBE_PLAN_H_
#define CONSILIUM_SITE_AGENT_RUNTIME_DESCRIBE_PLAN_H_

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "consilium/v1/run_config.pb.h"
#include "protocol/core/ids.h"
#include "site_agent/core/run_state.h"

namespace consilium::site {

// What would leave this site, a sentence for each kind; and what is not protected. `resolved` is a
// plan with its defaults filled in, whether sound or not.
std::vector<std::string> DescribeReleases(const v1::RunPlan& resolved, uint64_t minimum_count);

// {"run", "plan_sha256", "reads", "releases": [sentence], "plan": text format}. "plan" is absent
// where the run was refused or is over, and its plan not kept.
nlohmann::json DescribePlan(const RunId& id, const RunState& run, uint64_t minimum_count);

}  // namespace consilium::site

#endif  // CONSILIUM_SITE_AGENT_RUNTIME_DESCRIBE_PLAN_H_
