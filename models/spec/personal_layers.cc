#include "models/spec/personal_layers.h"

#include <algorithm>
#include <set>
#include <string>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace consilium {
namespace {

using Config = v1::AggregationConfig;

constexpr double kDittoLambda = 0.1;
constexpr size_t kNameCharsShown = 64;
constexpr char kLayersPath[] = "training.personal.layers";

bool Normalises(const v1::Layer& layer) {
  return layer.has_batch_norm() || layer.has_group_norm() || layer.has_layer_norm();
}

const GraphLayer* Find(const ModelGraph& graph, absl::string_view name) {
  const auto found = std::find_if(graph.layers.begin(), graph.layers.end(),
                                  [name](const GraphLayer& layer) { return layer.name == name; });
  return found == graph.layers.end() ? nullptr : &*found;
}

// Names that are layers of the graph with something to keep, each once.
std::set<std::string> CheckNames(const ModelGraph& graph, const v1::PersonalLayers& personal,
                                 Complaints& complaints) {
  std::set<std::string> named;
  for (const std::string& name : personal.layers()) {
    const std::string shown =
        absl::StrCat("\"", absl::CEscape(name).substr(0, kNameCharsShown), "\"");
    const GraphLayer* const layer = Find(graph, name);
    if (layer == nullptr) {
      complaints.Add(kLayersPath, "the spec has no layer " + shown);
    } else if (layer->tensors.empty()) {
      complaints.Add(kLayersPath, shown + " has nothing to train and nothing to keep; remove it");
    } else if (!named.insert(name).second) {
      complaints.Add(kLayersPath, "names " + shown + " twice");
    }
  }
  return named;
}

void CheckLayers(const ModelGraph& graph, const v1::PersonalLayers& personal,
                 Complaints& complaints) {
  const std::set<std::string> named = CheckNames(graph, personal, complaints);
  const bool shares =
      std::any_of(graph.layers.begin(), graph.layers.end(), [&named](const GraphLayer& layer) {
        return !layer.tensors.empty() && named.find(layer.name) == named.end();
      });
  complaints.Require(shares, kLayersPath,
                     "names every layer that is trained, so that nothing would be learnt "
                     "together; leave one out");
}

// FEDBN's are the spec's, as FillPersonal leaves them.
void CheckNormalises(const ModelGraph& graph, const v1::PersonalLayers& personal,
                     Complaints& complaints) {
  std::vector<std::string> of_spec;
  for (const GraphLayer& layer : graph.layers) {
    if (Normalises(layer.spec)) of_spec.push_back(layer.name);
  }
  if (of_spec.empty()) {
    complaints.Add("aggregation.preset",
                   "FEDBN keeps the layers that normalise, and the spec has none: it needs a "
                   "batch_norm, group_norm or layer_norm; take FEDPER, or FEDAVG");
    return;
  }
  const bool same = std::equal(of_spec.begin(), of_spec.end(), personal.layers().begin(),
                               personal.layers().end());
  complaints.Require(same, "training.personal",
                     "is every layer that normalises with FEDBN, which fills it in; remove it, or "
                     "take FEDPER");
}

void CheckLambda(const v1::RunConfig& config, Complaints& complaints) {
  const std::string path = "training.ditto_lambda";
  const double lambda = config.training().ditto_lambda();
  if (config.aggregation().preset() != Config::DITTO) {
    complaints.Require(lambda == 0, path, "belongs to DITTO only");
    return;
  }
  if (!IsPositive(lambda)) {
    complaints.Add(path, "must be above 0");
    return;
  }
  if (!config.training().optimizer().has_sgd()) return;
  // v ← (1 − ηλ)v + …: beyond it the pull alone throws v further away with every step.
  const v1::LocalSgd& sgd = config.training().optimizer().sgd();
  complaints.Require(sgd.learning_rate() * lambda < 2 * (1 + sgd.momentum()), path,
                     "times the learning rate must be below 2·(1 + momentum), or every step "
                     "overshoots the shared model further");
}

}  // namespace

void FillPersonal(const v1::ModelSpec& spec, v1::RunConfig& config) {
  v1::TrainingConfig& training = *config.mutable_training();
  if (config.aggregation().preset() == Config::DITTO && training.ditto_lambda() == 0) {
    training.set_ditto_lambda(kDittoLambda);
  }
  if (config.aggregation().preset() != Config::FEDBN || training.has_personal()) return;
  for (const v1::Layer& layer : spec.layers()) {
    if (Normalises(layer)) training.mutable_personal()->add_layers(layer.name());
  }
}

void CheckPersonal(const ModelGraph& graph, const v1::RunConfig& config, Complaints& complaints) {
  CheckLambda(config, complaints);
  const v1::PersonalLayers& personal = config.training().personal();
  switch (config.aggregation().preset()) {
    case Config::FEDPER:
      if (personal.layers().empty()) {
        complaints.Add("training.personal",
                       "must name the layers that stay at their site with "
                       "FEDPER; without them the rule is FEDAVG");
        return;
      }
      return CheckLayers(graph, personal, complaints);
    case Config::FEDBN:
      CheckNormalises(graph, personal, complaints);
      if (personal.layers().empty()) return;
      return CheckLayers(graph, personal, complaints);
    default:
      complaints.Require(!config.training().has_personal(), "training.personal",
                         "belongs to FEDPER, and FEDBN fills it in; remove it, or take FEDPER");
  }
}

void MarkPersonal(const v1::PersonalLayers& personal, ModelGraph& graph) {
  for (const std::string& name : personal.layers()) {
    const GraphLayer* const layer = Find(graph, name);
    if (layer == nullptr) continue;
    for (const int tensor : layer->tensors) {
      TensorGroup& group = graph.layout.tensors[static_cast<size_t>(tensor)].group;
      if (group == TensorGroup::kParameters) group = TensorGroup::kPersonal;
    }
  }
}

bool IsPersonal(const ModelGraph& graph, const GraphLayer& layer) {
  return std::any_of(layer.tensors.begin(), layer.tensors.end(), [&graph](int tensor) {
    return graph.layout.tensors[static_cast<size_t>(tensor)].group == TensorGroup::kPersonal;
  });
}

std::vector<ElementRange> PersonalRanges(const ModelGraph& graph) {
  std::vector<char> stays(graph.layout.tensors.size(), 0);
  for (const GraphLayer& layer : graph.layers) {
    if (!IsPersonal(graph, layer)) continue;
    for (const int tensor : layer.tensors) stays[static_cast<size_t>(tensor)] = 1;
  }
  std::vector<ElementRange> ranges;
  size_t begin = 0;
  for (size_t i = 0; i < stays.size(); ++i) {
    const size_t end = begin + static_cast<size_t>(graph.layout.tensors[i].elements());
    if (stays[i] != 0) ranges.push_back({begin, end});
    begin = end;
  }
  return ranges;
}

absl::Status CheckNothingPersonal(const ModelGraph& graph, std::span<const float> delta) {
  if (delta.size() != graph.layout.elements()) {
    return absl::InternalError("the update has another length than the run's layout");
  }
  for (const ElementRange& range : PersonalRanges(graph)) {
    const std::span<const float> part = delta.subspan(range.begin, range.end - range.begin);
    if (std::any_of(part.begin(), part.end(), [](float value) { return value != 0; })) {
      return absl::InternalError("the update has something of a layer that stays at its site");
    }
  }
  return absl::OkStatus();
}

}  // namespace consilium
