#include <memory>

#include "protocol/wire/hash.h"
#include "site_agent/core/site_state.h"

namespace consilium::site {
namespace {

template <typename Enum>
uint64_t Number(Enum value) {
  return static_cast<uint64_t>(value);
}

uint64_t Number(absl::Time time) { return static_cast<uint64_t>(absl::ToUnixNanos(time)); }

// Messages without map fields serialize the same within one build, which is all that a digest of
// the state is compared over. (A plan has one; it enters by its canonical hash.)
template <typename Message>
void AddMessage(FieldHasher& hash, const std::shared_ptr<const Message>& message) {
  hash.Add(uint64_t{message != nullptr});
  if (message != nullptr) hash.Add(absl::string_view(message->SerializeAsString()));
}

void AddSplits(FieldHasher& hash, const std::set<v1::Split>& splits) {
  hash.Add(uint64_t{splits.size()});
  for (const v1::Split split : splits) hash.Add(Number(split));
}

void AddVersion(FieldHasher& hash, const std::optional<Version>& version) {
  hash.Add(uint64_t{version.has_value()}).Add(version.value_or(Version()).value());
}

void AddTask(FieldHasher& hash, const TaskState& task) {
  hash.Add(Number(task.phase)).Add(task.granted.value()).Add(task.base_min.value());
  hash.Add(uint64_t{task.local_steps}).Add(uint64_t{task.trainings_failed});
  hash.Add(Number(task.retry_at)).Add(task.base.value()).Add(Number(task.training_started));
  hash.Add(Number(task.release_at)).Add(task.update).Add(uint64_t{task.sends_failed});
  hash.Add(Number(task.blob));
  AddMessage(hash, task.header);
  AddMessage(hash, task.acceptance);
  AddMessage(hash, task.ending);
}

void AddModel(FieldHasher& hash, const ModelState& model) {
  hash.Add(model.model_id).Add(model.payload_bytes).Add(Number(model.where));
  AddSplits(hash, model.evaluations_wanted);
  AddSplits(hash, model.evaluations_running);
  hash.Add(uint64_t{model.fetches_failed}).Add(Number(model.retry_at));
}

void AddAnnounced(FieldHasher& hash, const AnnouncedVersion& announced) {
  hash.Add(announced.model_id).Add(announced.payload_bytes);
  hash.Add(uint64_t{announced.reports.size()});
  for (const auto& [split, report] : announced.reports) {
    hash.Add(Number(split));
    AddMessage(hash, report);
  }
}

void AddRun(FieldHasher& hash, const RunState& run) {
  hash.Add(run.plan_hash).Add(run.layout_hash);
  AddMessage(hash, run.decision);
  hash.Add(absl::string_view(run.refusal)).Add(absl::string_view(run.missing_data));
  hash.Add(uint64_t{run.plan->has_config()});
  AddMessage(hash, run.statistics);
  AddMessage(hash, run.standardisation);
  AddVersion(hash, run.forgotten);
  AddVersion(hash, run.newest);
  AddVersion(hash, run.tested);
  AddVersion(hash, run.result);
  hash.Add(uint64_t{run.announced.size()});
  for (const auto& [version, announced] : run.announced) {
    hash.Add(version.value());
    AddAnnounced(hash, announced);
  }
  hash.Add(uint64_t{run.models.size()});
  for (const auto& [version, model] : run.models) {
    hash.Add(version.value());
    AddModel(hash, model);
  }
  hash.Add(uint64_t{run.kept.size()});
  for (const auto& [version, update] : run.kept) hash.Add(version.value()).Add(update);
  hash.Add(uint64_t{run.evaluated_with.has_value()});
  hash.Add(run.evaluated_with.value_or(Digest{}));
  hash.Add(uint64_t{run.tasks.size()});
  for (const auto& [id, task] : run.tasks) {
    hash.Add(id.value());
    AddTask(hash, task);
  }
}

}  // namespace

Digest StateDigestOf(const SiteState& site) {
  FieldHasher hash("consilium.site_state.v1");
  hash.Add(absl::string_view(site.id.value())).Add(site.sequence.value()).Add(Number(site.now));
  hash.Add(site.incarnation.value()).Add(Number(site.link));
  hash.Add(static_cast<uint64_t>(absl::ToInt64Nanoseconds(site.options.task_duration_min)));
  hash.Add(site.plan_bytes_taken).Add(uint64_t{site.runs.size()});
  for (const auto& [id, run] : site.runs) {
    hash.Add(absl::string_view(id.value()));
    AddRun(hash, run);
  }
  return hash.Finish();
}

}  // namespace consilium::site
