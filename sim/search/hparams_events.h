// Trials as TensorBoard's HParams page reads them: an event file of the whole search, and one of
// each trial with its parameters, its objectives and how it ended
// (tensorboard/plugins/hparams/{plugin_data,api}.proto).
//
// Threads: any.

#ifndef CONSILIUM_SIM_SEARCH_HPARAMS_EVENTS_H_
#define CONSILIUM_SIM_SEARCH_HPARAMS_EVENTS_H_

#include <string>

#include "consilium/v1/search_space.pb.h"
#include "sim/search/trial.h"

namespace consilium {

// Which parameters and objectives there are.
std::string SearchEventFile(const v1::SearchSpace& space);
// Numbers are numbers there, and other texts are texts. Objectives are scalars of step 0.
std::string TrialEventFile(const v1::SearchSpace& space, const Trial& trial);

}  // namespace consilium

#endif  // CONSILIUM_SIM_SEARCH_HPARAMS_EVENTS_H_
