// What must be the same at every rank of a simulation: only then does it not show which of them
// has trained what.
//
// Threads: any.

#ifndef CONSILIUM_SIM_CLUSTER_RANK_IDENTITY_H_
#define CONSILIUM_SIM_CLUSTER_RANK_IDENTITY_H_

#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "consilium/v1/run_config.pb.h"
#include "consilium/v1/scenario.pb.h"
#include "protocol/core/ids.h"
#include "sim/engine/site_data.h"
#include "site_agent/core/trainer.h"

namespace consilium {

// A digest for each part, by the name that a refusal gives it: the program's file, run config,
// scenario, seed and trainer. Data is another matter: it is loaded for each seed.
using RankIdentity = std::map<std::string, std::string>;

// The part that ProbeTraining() is of, where it is one: it follows from the others, and is named
// only where they are the same.
inline constexpr char kArithmeticPart[] = "arithmetic";

// `trainer` as SimulationInput::trainer_name. NOT_FOUND and the like where the program's own file
// can not be read.
absl::StatusOr<RankIdentity> RankIdentityOf(const v1::RunPlan& plan, const v1::Scenario& scenario,
                                            absl::string_view trainer);

// Of the program's own file. NOT_FOUND and the like where it can not be read.
absl::StatusOr<std::string> DigestOfProgram();

// What two local steps from the initial model come to, on the rows of the first site that has some.
// Processors and libraries that compute otherwise are found by it before a model is made of both.
Digest ProbeTraining(const v1::RunPlan& plan, const FederationData& data, Trainer& trainer);

}  // namespace consilium

#endif  // CONSILIUM_SIM_CLUSTER_RANK_IDENTITY_H_
