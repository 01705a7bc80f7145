#include "sim/cluster/rank_identity.h"

#include <algorithm>
#include <fstream>
#include <memory>
#include <utility>
#include <vector>

#include "models/spec/initial_values.h"
#include "models/spec/run_plan.h"
#include "protocol/core/files.h"
#include "protocol/core/status_macros.h"
#include "protocol/wire/hash.h"
#include "sim/engine/saved_simulation.h"
#include "sim/engine/site_work.h"

namespace consilium {
namespace {

constexpr char kProgram[] = "/proc/self/exe";
constexpr uint32_t kProbeSteps = 2;

absl::StatusOr<std::vector<float>> TrainProbe(const v1::RunPlan& plan, const SiteId& site,
                                              const FederationData& data, Trainer& trainer) {
  CONSILIUM_ASSIGN_OR_RETURN(v1::Standardisation standardisation, StandardisationOver(plan, data));
  CONSILIUM_ASSIGN_OR_RETURN(const ModelGraph graph, GraphOf(plan));
  SiteWork::TrainingTask task;
  task.plan = std::make_shared<const v1::RunPlan>(plan);
  task.standardisation = std::make_shared<const v1::Standardisation>(std::move(standardisation));
  task.id = TaskId(1);
  task.local_steps = std::min(kProbeSteps, plan.config().training().local_steps());
  task.payload =
      std::make_shared<const std::vector<float>>(InitialValues(graph, plan.config().seed()));
  SiteWork::Options options;
  options.id = site;
  ExamplesCache cache(0);
  const SiteWork work(std::move(options), data.at(site), trainer, cache);
  CONSILIUM_ASSIGN_OR_RETURN(SiteWork::Trained trained, work.ComputeTraining(task, trainer));
  return std::move(trained.output.delta);
}

}  // namespace

absl::StatusOr<std::string> DigestOfProgram() {
  std::ifstream file(kProgram, std::ios::binary);
  std::vector<char> piece(size_t{1} << 20);
  Sha256 hash;
  while (file) {
    file.read(piece.data(), static_cast<std::streamsize>(piece.size()));
    hash.Update(absl::string_view(piece.data(), static_cast<size_t>(file.gcount())));
  }
  if (!file.eof()) return SystemError("can not read", kProgram);
  return ToHex(hash.Finish());
}

absl::StatusOr<RankIdentity> RankIdentityOf(const v1::RunPlan& plan, const v1::Scenario& scenario,
                                            absl::string_view trainer) {
  const FederationData no_data;
  SimulationInput input;
  input.plan = plan;
  input.scenario = scenario;
  input.data = &no_data;
  input.trainer_name = std::string(trainer);
  RankIdentity identity = IdentityOf(input);
  identity.erase("data");
  CONSILIUM_ASSIGN_OR_RETURN(identity["program"], DigestOfProgram());
  return identity;
}

Digest ProbeTraining(const v1::RunPlan& plan, const FederationData& data, Trainer& trainer) {
  const auto site = std::find_if(data.begin(), data.end(), [](const auto& entry) {
    return CountPart(entry.second, v1::TRAIN) > 0;
  });
  if (site == data.end()) return Digest{};
  FieldHasher hash("consilium.sim.probe");
  const auto delta = TrainProbe(plan, site->first, data, trainer);
  // A plan that can not be trained fails alike at all ranks.
  if (!delta.ok()) return hash.Add(absl::string_view(delta.status().message())).Finish();
  const auto* bytes = reinterpret_cast<const uint8_t*>(delta->data());
  return hash.Add(MerkleRootOf({bytes, delta->size() * sizeof(float)})).Finish();
}

}  // namespace consilium
