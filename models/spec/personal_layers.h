// Layers whose tensors stay at their site: trained and kept there, neither sent nor merged. FEDPER
// (arXiv:1912.00818) has those that training.personal names; FEDBN (arXiv:2102.07623) all that
// normalise, with their running statistics.
//
// A vector has the model's length everywhere: in an update the elements of personal tensors are
// zeros, so that a version has what version 0 drew, and a site reads its own instead
// (docs/adr/0008-personal-models.md). In the layout the trained tensors of such a layer are of the
// group kPersonal; its running statistics stay buffers, behind all that is trained.
//
// Threads: any.

#ifndef CONSILIUM_MODELS_SPEC_PERSONAL_LAYERS_H_
#define CONSILIUM_MODELS_SPEC_PERSONAL_LAYERS_H_

#include <cstddef>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "consilium/v1/model_spec.pb.h"
#include "consilium/v1/run_config.pb.h"
#include "models/spec/complaints.h"
#include "models/spec/model_graph.h"

namespace consilium {

// FEDBN's layers and DITTO's λ, where the config does not say.
void FillPersonal(const v1::ModelSpec& spec, v1::RunConfig& config);

// Of the words training.personal and training.ditto_lambda. `graph` is the plan's.
void CheckPersonal(const ModelGraph& graph, const v1::RunConfig& config, Complaints& complaints);

// Sets the groups of the named layers' tensors; a name that the graph does not have is passed over
// (CheckPersonal complains).
void MarkPersonal(const v1::PersonalLayers& personal, ModelGraph& graph);

bool IsPersonal(const ModelGraph& graph, const GraphLayer& layer);

// Elements of a vector in the layout's order, [begin, end).
struct ElementRange {
  size_t begin = 0;
  size_t end = 0;
};
// Those of personal tensors, ascending; empty where there are none.
std::vector<ElementRange> PersonalRanges(const ModelGraph& graph);

// INTERNAL where an update has anything but zeros in the place of a personal tensor, or not the
// layout's length: it must not leave.
absl::Status CheckNothingPersonal(const ModelGraph& graph, std::span<const float> delta);

}  // namespace consilium

#endif  // CONSILIUM_MODELS_SPEC_PERSONAL_LAYERS_H_
