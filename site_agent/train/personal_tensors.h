// The site's side of FEDPER (arXiv:1912.00818) and FEDBN (arXiv:2102.07623): the tensors of a model
// that are the site's own. What is kept of them is their elements alone, in the layout's order.
//
// A site that keeps nothing yet begins with what version 0 has there, drawn from the run's seed
// anew: whatever came to those places of a later version is of no honest site.
//
// Ownership: values. Threads: as any value.

#ifndef CONSILIUM_SITE_AGENT_TRAIN_PERSONAL_TENSORS_H_
#define CONSILIUM_SITE_AGENT_TRAIN_PERSONAL_TENSORS_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "models/spec/model_graph.h"
#include "models/spec/personal_layers.h"

namespace consilium {

class PersonalTensors {
 public:
  // Of a plan's graph (GraphOf); none where the plan has none.
  PersonalTensors(const ModelGraph& graph, uint64_t run_seed);

  bool empty() const { return ranges_.empty(); }

  // Puts the site's own in the place of the shared model's. INVALID_ARGUMENT where `kept` is
  // neither empty nor of their size. `weights` has the layout's length here and below.
  absl::Status PutInto(std::span<float> weights, std::span<const float> kept) const;
  // What is to be kept of a model.
  std::vector<float> TakeFrom(std::span<const float> weights) const;
  // Nothing of them is left in an update.
  void Erase(std::vector<float>& delta) const;

 private:
  std::vector<ElementRange> ranges_;
  std::vector<float> initial_;
};

}  // namespace consilium

#endif  // CONSILIUM_SITE_AGENT_TRAIN_PERSONAL_TENSORS_H_
