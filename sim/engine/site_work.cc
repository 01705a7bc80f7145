#include "sim/engine/site_work.h"

#include <span>
#include <string>

#include "models/spec/run_plan.h"
#include "protocol/core/status_macros.h"
#include "protocol/wire/hash.h"
#include "protocol/wire/limits.h"
#include "protocol/wire/reasons.h"
#include "site_agent/core/fetched_model.h"
#include "site_agent/core/interval_patients.h"
#include "site_agent/ingest/encode.h"

namespace consilium {
namespace {

std::span<const uint8_t> AsBytes(std::span<const float> values) {
  return {reinterpret_cast<const uint8_t*>(values.data()), values.size_bytes()};
}

uint64_t BytesOf(const Examples& examples) {
  return (examples.values.size() + examples.labels.size()) * sizeof(float) +
         examples.patients.size() * sizeof(uint32_t);
}

}  // namespace

std::shared_ptr<const SplitExamples> ExamplesCache::Find(const SiteId& site) {
  absl::MutexLock lock(&mu_);
  const auto found = places_.find(site);
  if (found == places_.end()) return nullptr;
  entries_.splice(entries_.begin(), entries_, found->second);
  return found->second->examples;
}

void ExamplesCache::Keep(const SiteId& site, std::shared_ptr<const SplitExamples> examples) {
  const uint64_t bytes =
      BytesOf(examples->train) + BytesOf(examples->validation) + BytesOf(examples->test);
  absl::MutexLock lock(&mu_);
  if (places_.contains(site)) return;
  entries_.push_front({site, std::move(examples), bytes});
  places_[site] = entries_.begin();
  bytes_ += bytes;
  while (bytes_ > bytes_max_ && entries_.size() > 1) {
    bytes_ -= entries_.back().bytes;
    places_.erase(entries_.back().site);
    entries_.pop_back();
  }
}

SiteWork::SiteWork(Options options, const SiteData& data, Trainer& trainer, ExamplesCache& cache)
    : options_(std::move(options)), data_(data), trainer_(trainer), cache_(cache) {}

absl::StatusOr<site::PlanChecked> SiteWork::Check(const RunId& run, const v1::RunPlan& plan) const {
  site::PlanChecked checked;
  checked.run = run;
  if (options_.record != nullptr && options_.record->decision.has_value()) {
    const SiteRecord::Decision& said = *options_.record->decision;
    checked.answer =
        said.approved ? site::PlanChecked::Answer::kApproved : site::PlanChecked::Answer::kRefused;
    checked.reason = said.reason;
    checked.train_examples = PlaysBack() ? said.train_examples : CountPart(data_, v1::TRAIN);
    return checked;
  }
  checked.train_examples = CountPart(data_, v1::TRAIN);
  checked.answer = site::PlanChecked::Answer::kApproved;
  CONSILIUM_ASSIGN_OR_RETURN(const Examples labels, TrainingLabels({data_.rows, data_.parts}));
  const absl::Status intervals =
      site::CheckIntervals(plan, site::PatientsPerInterval(plan, labels), options_.minimum_count);
  if (checked.train_examples < options_.minimum_count || !intervals.ok()) {
    checked.answer = site::PlanChecked::Answer::kRefused;
    checked.reason = v1::TOO_FEW_EXAMPLES;
    checked.message = DetailOf(intervals).message();
    checked.train_examples = 0;
  }
  return checked;
}

absl::StatusOr<v1::StatisticsReport> SiteWork::Statistics(const RunId& run,
                                                          const v1::RunPlan& plan) const {
  if (PlaysBack()) return *options_.record->statistics;
  CONSILIUM_ASSIGN_OR_RETURN(v1::StatisticsReport report, StatisticsOfSite(plan, data_));
  CONSILIUM_ASSIGN_OR_RETURN(const std::vector<uint64_t> patients,
                             PatientsPerFeature(plan.contract(), {data_.rows, data_.parts}));
  site::WithholdSmallCounts(options_.minimum_count, patients, report);
  report.set_run_id(run.value());
  return report;
}

absl::StatusOr<std::shared_ptr<const SplitExamples>> SiteWork::ExamplesOf(
    const v1::RunPlan& plan, const v1::Standardisation& standardisation) const {
  if (auto found = cache_.Find(options_.id); found != nullptr) return found;
  CONSILIUM_ASSIGN_OR_RETURN(SplitExamples encoded, EncodeSite(plan, standardisation, data_));
  if (options_.attacker.has_value() && options_.attacker->poisons()) {
    const SiteData poisoned = options_.attacker->Poisoned(data_, plan.contract());
    CONSILIUM_ASSIGN_OR_RETURN(SplitExamples changed, EncodeSite(plan, standardisation, poisoned));
    encoded.train = std::move(changed.train);
  }
  auto examples = std::make_shared<const SplitExamples>(std::move(encoded));
  cache_.Keep(options_.id, examples);
  return examples;
}

absl::StatusOr<SiteWork::Trained> SiteWork::ComputeTraining(const TrainingTask& task,
                                                            Trainer& trainer) const {
  CONSILIUM_ASSIGN_OR_RETURN(const auto examples, ExamplesOf(*task.plan, *task.standardisation));
  CONSILIUM_ASSIGN_OR_RETURN(const ModelGraph graph, GraphOf(*task.plan));
  CONSILIUM_ASSIGN_OR_RETURN(const FetchedModel base,
                             PartsOf(*task.payload, graph.layout.elements()));
  TrainInput input;
  input.plan = task.plan.get();
  input.site = options_.id;
  input.task = task.id;
  input.base = base.weights;
  input.local_steps = task.local_steps;
  input.examples = &examples->train;
  input.control = base.control;
  if (task.kept != nullptr) input.kept = *task.kept;
  Trained trained;
  trained.examples = input.examples->count();
  CONSILIUM_ASSIGN_OR_RETURN(trained.output, trainer.Train(input));
  return trained;
}

SiteWork::Trained SiteWork::PlayedBack(const RecordedTask& task) {
  Trained trained;
  trained.output.delta = *task.update.delta;
  trained.output.steps = task.update.steps;
  trained.output.mean_loss = task.update.training_loss;
  trained.examples = task.update.examples;
  return trained;
}

SiteWork::Update SiteWork::UpdateOf(const site::RunState& run, const site::Train& action,
                                    Trained trained) {
  TrainOutput& output = trained.output;
  if (options_.attacker.has_value()) options_.attacker->Distort(action.task, output.delta);
  Update update;
  update.header = std::make_shared<v1::UpdateHeader>();
  v1::UpdateHeader& header = *update.header;
  header.set_wire_version(limits::kWireVersion);
  header.set_run_id(action.run.value());
  header.set_site_id(options_.id.value());
  header.set_task_id(action.task.value());
  header.set_base_version(action.base.value());
  header.set_base_model_id(ToBytes(action.base_model_id));
  header.set_layout_hash(ToBytes(run.layout_hash));
  header.set_encoding(v1::F32);
  header.set_payload_bytes(output.delta.size() * sizeof(float));
  header.set_payload_root(ToBytes(MerkleRootOf(AsBytes(output.delta))));
  header.set_steps(output.steps);
  header.set_examples(trained.examples);
  header.set_training_loss(output.mean_loss);
  update.delta = std::move(output.delta);
  update.kept = std::move(output.kept);
  return update;
}

absl::StatusOr<v1::MetricSums> SiteWork::ComputeEvaluation(const EvaluationTask& task,
                                                           Trainer& trainer) const {
  if (PlaysBack()) return v1::MetricSums();
  CONSILIUM_ASSIGN_OR_RETURN(const auto examples, ExamplesOf(*task.plan, *task.standardisation));
  const Examples& part = task.split == v1::VALIDATION ? examples->validation : examples->test;
  // Most of many small sites have nobody in the part.
  if (part.count() == 0) return v1::MetricSums();
  EvaluateInput input;
  input.plan = task.plan.get();
  CONSILIUM_ASSIGN_OR_RETURN(const ModelGraph graph, GraphOf(*task.plan));
  CONSILIUM_ASSIGN_OR_RETURN(const FetchedModel model,
                             PartsOf(*task.payload, graph.layout.elements()));
  input.weights = model.weights;
  if (task.kept != nullptr) input.kept = *task.kept;
  input.examples = &part;
  CONSILIUM_ASSIGN_OR_RETURN(v1::MetricSums sums, trainer.Evaluate(input));
  site::WithholdSmallCounts(options_.minimum_count, part, sums);
  site::WithholdFewEventsInIntervals(*task.plan, options_.minimum_count, part, sums);
  return sums;
}

std::map<SiteId, SiteWork::Options> WorkOptions(const v1::Scenario& scenario,
                                                const FederationData& data) {
  const std::map<SiteId, v1::Attack> attacks = AssignAttacks(scenario, data);
  std::map<SiteId, SiteWork::Options> all;
  for (const auto& entry : data) {
    SiteWork::Options& options = all[entry.first];
    options.id = entry.first;
    if (const uint32_t minimum = scenario.sites().minimum_count(); minimum != 0) {
      options.minimum_count = minimum;
    }
    if (const auto attack = attacks.find(entry.first); attack != attacks.end()) {
      options.attacker.emplace(attack->second, scenario.seed(), entry.first);
    }
  }
  return all;
}

}  // namespace consilium
