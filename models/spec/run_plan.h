// From the files that a person writes to a plan that every part can trust: defaults filled in,
// ranges checked, spec, contract and config made to fit each other. One place decides what a run
// config means; `consilium run validate`, submission, the agents and the simulator all call it.
//
// Threads: any.

#ifndef CONSILIUM_MODELS_SPEC_RUN_PLAN_H_
#define CONSILIUM_MODELS_SPEC_RUN_PLAN_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "consilium/v1/run_config.pb.h"
#include "models/spec/model_graph.h"

namespace consilium {

// Reads the config at `path` and the spec and contract that it names (relative to it), fills in
// every default (also those of the preset's stages, so that a resolved plan says everything that
// will happen) and checks. INVALID_ARGUMENT holds every complaint, one sentence a line, each
// beginning with the field's path ("aggregation.trigger.buffer.updates: …").
// `overrides` are assignments as SetByPath takes them (protocol/wire/text_path.h), over the config
// or, behind "spec.", over the spec, before anything is filled in: "training.local_steps=10",
// "spec.layers.drop.dropout.probability=0.5". One that names no field is refused like an unknown
// field.
absl::StatusOr<v1::RunPlan> LoadRunPlan(const std::string& path,
                                        const std::vector<std::string>& overrides = {});

// `overrides`, as LoadRunPlan has them, over a plan that is at hand, which is not resolved after
// it.
absl::Status SetInPlan(const std::vector<std::string>& overrides, v1::RunPlan& plan);

// As LoadRunPlan for a plan from a peer or a test. Idempotent: a resolved plan comes back
// unchanged. What is not built yet (privacy) is refused here, never ignored.
absl::StatusOr<v1::RunPlan> ResolvePlan(v1::RunPlan plan);

// All complaints about a plan, empty where there are none.
std::vector<std::string> ComplaintsAbout(const v1::RunPlan& resolved);

// The graph of a resolved plan: parameters from the config, interval_ends from the contract.
absl::StatusOr<ModelGraph> GraphOf(const v1::RunPlan& resolved);

// Number of encoded features of a contract: numbers count 1, categories their one-hot width.
size_t FeatureCount(const v1::DataContract& contract);

}  // namespace consilium

#endif  // CONSILIUM_MODELS_SPEC_RUN_PLAN_H_
