// The fairness contract in the plan: defaults, and what can not work, with a reason.
//
// Threads: any.

#ifndef CONSILIUM_MODELS_SPEC_FAIRNESS_CHECKS_H_
#define CONSILIUM_MODELS_SPEC_FAIRNESS_CHECKS_H_

#include "consilium/v1/run_config.pb.h"
#include "models/spec/complaints.h"

namespace consilium {

// Fills what a contract that is there leaves open, and gives a preset whose rates can be corrected
// its correction; after the trigger's default, and before the correction's.
void FillFairness(v1::AggregationConfig& config);

// Of a config with its defaults: complains of a rule that leaves a contract nothing to work with,
// and of values out of their range.
void CheckFairness(const v1::AggregationConfig& config, Complaints& complaints);

}  // namespace consilium

#endif  // CONSILIUM_MODELS_SPEC_FAIRNESS_CHECKS_H_
