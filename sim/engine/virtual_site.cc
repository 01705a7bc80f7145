#include "sim/engine/virtual_site.h"

#include <utility>
#include <variant>
#include <vector>

#include "aggregator/merge/update_findings.h"
#include "protocol/wire/hash.h"
#include "protocol/wire/identity.h"
#include "protocol/wire/limits.h"
#include "protocol/wire/reasons.h"
#include "sim/engine/overloaded.h"
#include "site_agent/ingest/encode.h"
#include "spdlog/spdlog.h"

namespace consilium {
namespace {

std::span<const uint8_t> AsBytes(std::span<const float> values) {
  return {reinterpret_cast<const uint8_t*>(values.data()), values.size_bytes()};
}

Digest LeaseHash(const SiteId& site, uint64_t count) {
  return FieldHasher("consilium.sim.lease")
      .Add(absl::string_view(site.value()))
      .Add(count)
      .Finish();
}

federation::UpdateStaged StagedOf(const v1::UpdateHeader& header, const Digest& update,
                                  std::span<const float> delta) {
  UpdateFindings findings;
  findings.Add(delta);
  federation::UpdateStaged staged;
  staged.site = SiteId(header.site_id());
  staged.run = RunId(header.run_id());
  staged.task = TaskId(header.task_id());
  staged.incarnation = Incarnation(header.incarnation());
  staged.base = Version(header.base_version());
  staged.base_model_id = *DigestFromBytes(header.base_model_id());
  staged.layout_hash = *DigestFromBytes(header.layout_hash());
  staged.update = update;
  staged.examples = header.examples();
  staged.steps = header.steps();
  staged.training_loss = header.training_loss();
  staged.norm = findings.norm();
  staged.values = findings.finite() ? federation::UpdateStaged::Values::kFinite
                                    : federation::UpdateStaged::Values::kNotFinite;
  return staged;
}

}  // namespace

VirtualSite::VirtualSite(VirtualSiteOptions options, const SiteData& data, World& world,
                         const VirtualAggregator& aggregator, Trainer& trainer)
    : options_(std::move(options)),
      data_(data),
      world_(world),
      aggregator_(aggregator),
      trainer_(trainer),
      engine_(options_.id, site::SiteOptions{options_.task_duration_min}),
      faults_(SeedPath{options_.seed, "faults", options_.id.value()}) {}

void VirtualSite::Start() {
  incarnation_ = incarnation_.next();
  world_.queue.Schedule(world_.queue.now(), ToAggregator{federation::SiteAdded{
                                                options_.id, LeaseHash(options_.id, leases_)}});
  Handle(site::Started{incarnation_});
  Attach();
}

void VirtualSite::Attach() {
  federation::SiteAttached attached;
  attached.site = options_.id;
  attached.incarnation = incarnation_;
  attached.lease_presented_hash = LeaseHash(options_.id, leases_);
  attached.lease_next_hash = LeaseHash(options_.id, leases_ + 1);
  for (const v1::HeldReceipt& held : engine_.HeldReceipts()) {
    attached.held_receipts.push_back({RunId(held.run_id()), TaskId(held.task_id()),
                                      DigestFromBytes(held.update_id()).value_or(Digest{})});
  }
  for (const v1::RunProgress& run : engine_.Progress()) {
    attached.runs.push_back({RunId(run.run_id()), TaskId(run.newest_task_id())});
  }
  world_.SendToAggregator(std::move(attached));
}

void VirtualSite::Handle(const site::Event& event) {
  if (std::holds_alternative<site::LinkUp>(event)) {
    link_up_ = true;
    ++leases_;
    world_.SendToAggregator(
        federation::LeaseConfirmed{options_.id, LeaseHash(options_.id, leases_)});
  }
  std::vector<site::Action> actions = engine_.Step(world_.queue.now(), event);
  barrier_.Hold(engine_.sequence(), std::move(actions));
  for (const site::Action& action : barrier_.Release(engine_.sequence())) Execute(action);
}

void VirtualSite::After(absl::Duration delay, site::Event event) {
  world_.queue.Schedule(world_.queue.now() + delay, ToSite{options_.index, std::move(event)});
}

void VirtualSite::CheckPlan(const site::CheckPlan& action) {
  site::PlanChecked checked;
  checked.run = action.run;
  checked.train_examples = CountPart(data_, v1::TRAIN);
  checked.answer = site::PlanChecked::Answer::kApproved;
  if (checked.train_examples < options_.minimum_count) {
    checked.answer = site::PlanChecked::Answer::kRefused;
    checked.reason = v1::TOO_FEW_EXAMPLES;
    checked.train_examples = 0;
  }
  After(absl::ZeroDuration(), std::move(checked));
}

void VirtualSite::ComputeStatistics(const site::ComputeStatistics& action) {
  const v1::RunPlan& plan = *engine_.runs().at(action.run).plan;
  absl::StatusOr<v1::StatisticsReport> report = StatisticsOfSite(plan, data_);
  const absl::StatusOr<std::vector<uint64_t>> patients =
      PatientsPerFeature(plan.contract(), {data_.rows, data_.parts});
  if (!report.ok() || !patients.ok()) {
    world_.failure.Update(report.ok() ? patients.status() : report.status());
    return;
  }
  site::WithholdSmallCounts(options_.minimum_count, *patients, *report);
  report->set_run_id(action.run.value());
  After(absl::ZeroDuration(),
        site::StatisticsComputed{action.run,
                                 std::make_shared<const v1::StatisticsReport>(*std::move(report))});
}

void VirtualSite::Fetch(const site::Fetch& action) {
  // There and back; the bytes themselves are the aggregator's.
  After(2 * world_.latency, site::ModelFetched{action.run, action.version});
}

absl::StatusOr<const SplitExamples*> VirtualSite::ExamplesOf(const RunId& run) {
  auto found = examples_.find(run);
  if (found == examples_.end()) {
    const site::RunState& state = engine_.runs().at(run);
    absl::StatusOr<SplitExamples> encoded = EncodeSite(*state.plan, *state.standardisation, data_);
    if (!encoded.ok()) return encoded.status();
    found = examples_.emplace(run, *std::move(encoded)).first;
  }
  return &found->second;
}

void VirtualSite::Train(const site::Train& action) {
  const site::RunState& run = engine_.runs().at(action.run);
  absl::StatusOr<const SplitExamples*> examples = ExamplesOf(action.run);
  absl::StatusOr<Weights> base = aggregator_.ModelOf(action.run, action.base);
  if (!examples.ok() || !base.ok()) {
    world_.failure.Update(examples.ok() ? base.status() : examples.status());
    return;
  }
  TrainInput input;
  input.plan = run.plan.get();
  input.site = options_.id;
  input.task = action.task;
  input.base = **base;
  input.local_steps = action.local_steps;
  input.examples = &(*examples)->train;
  absl::StatusOr<TrainOutput> output = trainer_.Train(input);
  if (!output.ok()) {
    After(options_.task_duration,
          site::TrainFailed{action.run, action.task, std::string(output.status().message())});
    return;
  }
  auto header = std::make_shared<v1::UpdateHeader>();
  header->set_wire_version(limits::kWireVersion);
  header->set_run_id(action.run.value());
  header->set_site_id(options_.id.value());
  header->set_task_id(action.task.value());
  header->set_incarnation(incarnation_.value());
  header->set_base_version(action.base.value());
  header->set_base_model_id(ToBytes(action.base_model_id));
  header->set_layout_hash(ToBytes(run.layout_hash));
  header->set_encoding(v1::F32);
  header->set_payload_bytes(output->delta.size() * sizeof(float));
  header->set_payload_root(ToBytes(MerkleRootOf(AsBytes(output->delta))));
  header->set_steps(output->steps);
  header->set_examples(input.examples->count());
  header->set_training_loss(output->mean_loss);
  const Digest update = UpdateIdOf(*header);
  world_.updates[update] = std::make_shared<const std::vector<float>>(std::move(output->delta));
  After(options_.task_duration, site::TrainDone{action.run, action.task, update, header});
}

void VirtualSite::Evaluate(const site::Evaluate& action) {
  const site::RunState& run = engine_.runs().at(action.run);
  absl::StatusOr<const SplitExamples*> examples = ExamplesOf(action.run);
  absl::StatusOr<Weights> weights = aggregator_.ModelOf(action.run, action.version);
  if (!examples.ok() || !weights.ok()) {
    world_.failure.Update(examples.ok() ? weights.status() : examples.status());
    return;
  }
  const Examples& part =
      action.split == v1::VALIDATION ? (*examples)->validation : (*examples)->test;
  EvaluateInput input;
  input.plan = run.plan.get();
  input.weights = **weights;
  input.examples = &part;
  absl::StatusOr<v1::MetricSums> sums = trainer_.Evaluate(input);
  if (!sums.ok()) {
    world_.failure.Update(sums.status());
    return;
  }
  site::WithholdSmallCounts(options_.minimum_count, part, *sums);
  After(absl::ZeroDuration(),
        site::EvaluationComputed{action.run, action.version, action.split,
                                 std::make_shared<const v1::MetricSums>(*std::move(sums))});
}

void VirtualSite::Send(const site::Send& action) {
  if (faults_.NextUnit() < options_.faults.upload_loss_rate()) {
    v1::ErrorDetail lost;
    lost.set_reason(v1::TRUNCATED);
    lost.set_retryable(true);
    lost.set_message("the simulated network lost the upload");
    After(world_.latency, site::SendFailed{action.run, action.task, lost, faults_.NextUnit()});
    return;
  }
  // The incarnation is of the process that sends, not of the one that trained.
  v1::UpdateHeader header = *action.header;
  header.set_incarnation(incarnation_.value());
  auto found = world_.updates.find(action.update);
  if (found == world_.updates.end()) {
    // Its end is known and the vector dropped: a repeated send needs only the receipt.
    return;
  }
  const federation::UpdateStaged staged = StagedOf(header, action.update, *found->second);
  world_.SendToAggregator(staged);
  if (faults_.NextUnit() < options_.faults.duplicate_rate()) world_.SendToAggregator(staged);
  if (faults_.NextUnit() < options_.faults.link_drop_rate()) DropLink();
}

// The stream breaks: both sides notice, and the site attaches again after a while.
void VirtualSite::DropLink() {
  if (!link_up_) return;
  link_up_ = false;
  world_.SendToAggregator(federation::SiteLost{options_.id, incarnation_});
  After(absl::ZeroDuration(), site::LinkDown{});
  world_.queue.Schedule(world_.queue.now() + absl::Milliseconds(options_.faults.link_down_ms()),
                        AttachSite{options_.index});
}

void VirtualSite::Execute(const site::Action& action) {
  std::visit(
      Overloaded{
          [&](const site::CheckPlan& a) { CheckPlan(a); },
          [&](const site::ComputeStatistics& a) { ComputeStatistics(a); },
          [&](const site::Fetch& a) { Fetch(a); },
          [&](const site::Train& a) { Train(a); },
          // A virtual task is computed at once; its TrainDone comes too late and is ignored.
          [&](const site::StopTraining&) {},
          [&](const site::Evaluate& a) { Evaluate(a); },
          [&](const site::Send& a) { Send(a); },
          [&](const site::ReportDecision& a) {
            federation::RunDecided decided;
            decided.site = options_.id;
            decided.run = RunId(a.decision->run_id());
            decided.plan_hash = DigestFromBytes(a.decision->plan_hash()).value_or(Digest{});
            decided.answer = a.decision->approved() ? federation::RunDecided::Answer::kApproved
                                                    : federation::RunDecided::Answer::kRefused;
            decided.reason = a.decision->reason();
            decided.message = a.decision->message();
            decided.train_examples = a.decision->train_examples();
            world_.SendToAggregator(std::move(decided));
          },
          [&](const site::ReportStatistics& a) {
            world_.SendToAggregator(federation::StatisticsReported{options_.id, a.report});
          },
          [&](const site::ReportEvaluation& a) {
            world_.SendToAggregator(federation::EvaluationReported{
                options_.id, RunId(a.report->run_id()), Version(a.report->version()),
                a.report->split(), std::make_shared<const v1::MetricSums>(a.report->metrics())});
          },
          [&](const site::DropUpdate& a) { world_.updates.erase(a.update); },
          [&](const site::DropModel&) {},
          [&](const site::SetTimer& a) {
            world_.queue.Schedule(a.at, ToSite{options_.index, site::TimerFired{a.timer}});
          },
          [&](const site::Alarm& a) {
            spdlog::warn("alarm at {}: {}", options_.id.value(), a.message);
          },
      },
      action);
}

}  // namespace consilium
