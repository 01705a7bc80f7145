// ZENO in the plan: its defaults, and what can not work, with a reason.
//
// Threads: any.

#ifndef CONSILIUM_MODELS_SPEC_ZENO_CHECKS_H_
#define CONSILIUM_MODELS_SPEC_ZENO_CHECKS_H_

#include "consilium/v1/run_config.pb.h"
#include "models/spec/complaints.h"

namespace consilium {

// γ and ρ, where the preset is ZENO.
void FillZeno(v1::AggregationConfig& config);

// Of a config with its defaults: complains of a validator that is not named or not asked to take
// part, of nobody beside it, of values out of their range, and of stages that ZENO has no place
// for.
void CheckZeno(const v1::RunConfig& config, Complaints& complaints);

}  // namespace consilium

#endif  // CONSILIUM_MODELS_SPEC_ZENO_CHECKS_H_
