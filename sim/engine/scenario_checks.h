// What a scenario may say: every number in its range, every name one that there is, nothing that
// contradicts something else. Each refusal begins with the field's path.
//
// Threads: any.

#ifndef CONSILIUM_SIM_ENGINE_SCENARIO_CHECKS_H_
#define CONSILIUM_SIM_ENGINE_SCENARIO_CHECKS_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "consilium/v1/run_config.pb.h"
#include "consilium/v1/scenario.pb.h"
#include "sim/engine/site_data.h"

namespace consilium {

// What can be said without data. INVALID_ARGUMENT.
absl::Status CheckScenario(const v1::Scenario& scenario);

// What names sites and columns. `data` are the scenario's sites. INVALID_ARGUMENT.
absl::Status CheckScenarioAgainst(const v1::Scenario& scenario, const v1::RunPlan& plan,
                                  const FederationData& data);

// What a federation on a wall clock can not have: faults, absences and traces, which are played on
// virtual time. INVALID_ARGUMENT.
absl::Status CheckScenarioOnWallClock(const v1::Scenario& scenario);

// Without what says how long sites and links take: on a wall clock they take what they take.
// `scenario` has passed the check above.
v1::Scenario WithoutDurations(v1::Scenario scenario);

// Reads the file, and the trace that it names, which lies in `folder` or has an absolute path; and
// checks all of it. The path of its split_file, which lies beside it, is made whole, and what it
// leaves out of a data set with a name is filled in. `overrides` are assignments
// (protocol/wire/text_path.h) over the file. Errors as ReadTextFormatFile, SetByPath,
// CompleteFromManifest, ReadTrace and CheckScenario.
absl::StatusOr<v1::Scenario> LoadScenario(const std::string& path, const std::string& folder,
                                          const std::vector<std::string>& overrides = {});

}  // namespace consilium

#endif  // CONSILIUM_SIM_ENGINE_SCENARIO_CHECKS_H_
