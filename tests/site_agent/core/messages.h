// The messages that the tests of the site's engine speak with.

#ifndef CONSILIUM_TESTS_SITE_AGENT_CORE_MESSAGES_H_
#define CONSILIUM_TESTS_SITE_AGENT_CORE_MESSAGES_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "protocol/wire/hash.h"
#include "protocol/wire/identity.h"
#include "site_agent/core/engine.h"

namespace consilium::site {

inline constexpr char kSiteName[] = "st-anna";
inline constexpr uint32_t kLocalSteps = 20;

struct PlanInput {
  uint32_t task_duration_min_ms = 0;
  uint32_t versions_max = 10000;
  enum class Trigger : uint8_t { kBuffer, kBarrier } trigger = Trigger::kBuffer;
  v1::AggregationConfig::Preset preset = v1::AggregationConfig::PRESET_UNSPECIFIED;
  v1::DataConfig::Standardise standardise = v1::DataConfig::FEDERATED;
  double local_steps_share_min = 0;  // Of a fairness contract; 0: there is none.
};

inline std::shared_ptr<const v1::RunPlan> PlanOf(const PlanInput& input) {
  auto plan = std::make_shared<v1::RunPlan>();
  v1::RunConfig& config = *plan->mutable_config();
  config.set_name("test");
  config.mutable_data()->set_standardise(input.standardise);
  config.mutable_training()->set_local_steps(kLocalSteps);
  config.mutable_stop()->set_versions_max(input.versions_max);
  config.mutable_training()->set_task_duration_min_ms(input.task_duration_min_ms);
  config.mutable_aggregation()->set_preset(input.preset);
  v1::Trigger& trigger = *config.mutable_aggregation()->mutable_trigger();
  if (input.trigger == PlanInput::Trigger::kBarrier) {
    trigger.mutable_barrier();
  } else {
    trigger.mutable_buffer()->set_updates(2);
  }
  if (input.local_steps_share_min > 0) {
    config.mutable_aggregation()->mutable_fairness()->set_local_steps_share_min(
        input.local_steps_share_min);
  }
  return plan;
}

inline Digest DigestOf(const std::string& text) { return Sha256Of(absl::string_view(text)); }

inline RunOffered OfferOf(const RunId& run, const std::shared_ptr<const v1::RunPlan>& plan) {
  return {run, plan, PlanHash(*plan)};
}

inline PlanChecked Approval(const RunId& run) {
  return {run, PlanChecked::Answer::kApproved, v1::REASON_UNSPECIFIED, "", 100};
}

inline StatisticsComputed StatisticsOf(const RunId& run) {
  auto report = std::make_shared<v1::StatisticsReport>();
  report->set_run_id(run.value());
  report->add_counts(100);
  report->add_sums(12.5);
  report->add_sums_of_squares(80);
  return {run, report};
}

inline RunStarted StartOf(const RunId& run) {
  auto standardisation = std::make_shared<v1::Standardisation>();
  standardisation->add_means(0.125);
  standardisation->add_deviations(2);
  return {run, DigestOf("layout"), standardisation};
}

struct AnnouncementInput {
  uint64_t version = 0;
  v1::Split evaluate = v1::SPLIT_UNSPECIFIED;
  std::string content = {};  // Differs: another model under the same number.
};
inline ModelAvailable Announcement(const RunId& run, const AnnouncementInput& input) {
  return {run, Version(input.version),
          DigestOf(run.value() + std::to_string(input.version) + input.content), 4096,
          input.evaluate};
}

// What this site's training of a task on a base comes to; a function of these alone.
inline TrainDone TrainedOf(const Train& train) {
  auto header = std::make_shared<v1::UpdateHeader>();
  header->set_run_id(train.run.value());
  header->set_site_id(kSiteName);
  header->set_task_id(train.task.value());
  header->set_base_version(train.base.value());
  header->set_base_model_id(ToBytes(train.base_model_id));
  header->set_steps(train.local_steps);
  return {train.run, train.task, UpdateIdOf(*header), header};
}

struct ReceiptInput {
  v1::Receipt::Kind kind = v1::Receipt::ACCEPTED;
  uint64_t sequence = 1;
  uint64_t version = 0;
};
inline ReceiptReceived ReceiptOf(const TrainDone& trained, const ReceiptInput& input) {
  auto receipt = std::make_shared<v1::Receipt>();
  receipt->set_kind(input.kind);
  receipt->set_run_id(trained.run.value());
  receipt->set_site_id(kSiteName);
  receipt->set_task_id(trained.task.value());
  receipt->set_update_id(ToBytes(trained.update));
  receipt->set_sequence(input.sequence);
  receipt->set_version(input.version);
  return {receipt};
}

inline v1::ErrorDetail ErrorOf(v1::Reason reason, uint32_t retry_after_ms) {
  v1::ErrorDetail error;
  error.set_reason(reason);
  error.set_retryable(reason == v1::BUSY || reason == v1::TRUNCATED);
  error.set_retry_after_ms(retry_after_ms);
  return error;
}

inline std::shared_ptr<const v1::MetricSums> SomeMetrics() {
  auto metrics = std::make_shared<v1::MetricSums>();
  metrics->set_examples(40);
  metrics->set_log_loss_sum(12.25);
  return metrics;
}

// The actions of one kind.
template <typename A>
std::vector<A> Of(const std::vector<Action>& actions) {
  std::vector<A> found;
  for (const Action& action : actions) {
    if (const A* one = std::get_if<A>(&action)) found.push_back(*one);
  }
  return found;
}

}  // namespace consilium::site

#endif  // CONSILIUM_TESTS_SITE_AGENT_CORE_MESSAGES_H_
