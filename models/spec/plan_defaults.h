// The defaults that the comments of run_config.proto and data_contract.proto promise, and the
// presets of aggregation as tables of stages.
//
// Threads: any.

#ifndef CONSILIUM_MODELS_SPEC_PLAN_DEFAULTS_H_
#define CONSILIUM_MODELS_SPEC_PLAN_DEFAULTS_H_

#include "consilium/v1/run_config.pb.h"

namespace consilium {

// Fills in everything that the plan leaves open, also where its values make no sense: checking
// comes after, so that it sees what would happen. Idempotent.
void FillPlanDefaults(v1::RunPlan& plan);

}  // namespace consilium

#endif  // CONSILIUM_MODELS_SPEC_PLAN_DEFAULTS_H_
