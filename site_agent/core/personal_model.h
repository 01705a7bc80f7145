// The model that serves one site, where a run leaves each a model of its own (FEDPER, FEDBN, DITTO;
// docs/adr/0008-personal-models.md).
//
// Ownership: values. Threads: any.

#ifndef CONSILIUM_SITE_AGENT_CORE_PERSONAL_MODEL_H_
#define CONSILIUM_SITE_AGENT_CORE_PERSONAL_MODEL_H_

#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "models/spec/model_graph.h"
#include "models/spec/preset_traits.h"

namespace consilium {

// `shared` with the site's own elements in the places of personal tensors (kPersonalLayers), or
// `kept` itself (kPersonalModel). `graph` is the plan's (GraphOf), `shared` a version in its
// layout's order, `kept` TrainOutput::kept. FAILED_PRECONDITION where sites keep nothing personal;
// DATA_LOSS where a vector has not its length.
absl::StatusOr<std::vector<float>> PersonalModelOf(const ModelGraph& graph, SiteKeeps keeps,
                                                   std::span<const float> shared,
                                                   std::span<const float> kept);

}  // namespace consilium

#endif  // CONSILIUM_SITE_AGENT_CORE_PERSONAL_MODEL_H_
