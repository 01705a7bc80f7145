// Whether a run config is in range and fits its model spec and its data contract.
//
// Threads: any.

#ifndef CONSILIUM_MODELS_SPEC_PLAN_CHECKS_H_
#define CONSILIUM_MODELS_SPEC_PLAN_CHECKS_H_

#include "consilium/v1/run_config.pb.h"
#include "models/spec/complaints.h"

namespace consilium {

// `plan` has its defaults filled in. All of it is checked, contract, spec and aggregation too.
void CheckPlan(const v1::RunPlan& plan, Complaints& complaints);

}  // namespace consilium

#endif  // CONSILIUM_MODELS_SPEC_PLAN_CHECKS_H_
