// Whether a data contract makes sense by itself, before a row is held against it.
//
// Threads: any.

#ifndef CONSILIUM_MODELS_SPEC_CONTRACT_CHECKS_H_
#define CONSILIUM_MODELS_SPEC_CONTRACT_CHECKS_H_

#include "consilium/v1/data_contract.pb.h"
#include "models/spec/complaints.h"

namespace consilium {

// `contract` has its defaults filled in. Paths begin with "contract.".
void CheckContract(const v1::DataContract& contract, Complaints& complaints);

}  // namespace consilium

#endif  // CONSILIUM_MODELS_SPEC_CONTRACT_CHECKS_H_
