// The canonical digest of the whole state: every field in a fixed order, every list with its
// length, so that two engines that differ anywhere differ here.

#include <map>
#include <memory>
#include <optional>

#include "aggregator/core/federation.h"
#include "protocol/wire/hash.h"
#include "protocol/wire/text_format.h"

namespace consilium::federation {
namespace {

template <typename Enum>
uint64_t Number(Enum value) {
  return static_cast<uint64_t>(value);
}

void Add(FieldHasher& hash, absl::Time time) {
  hash.Add(static_cast<uint64_t>(absl::ToUnixNanos(time)));
}

void Add(FieldHasher& hash, const std::optional<Version>& version) {
  hash.Add(uint64_t{version.has_value()}).Add(version.value_or(Version(0)).value());
}

void Add(FieldHasher& hash, const std::shared_ptr<const v1::StatisticsReport>& message) {
  hash.Add(absl::string_view(message == nullptr ? "" : DeterministicBytes(*message)));
}

void Add(FieldHasher& hash,
         const std::map<SiteId, std::shared_ptr<const v1::MetricSums>>& reports) {
  hash.Add(uint64_t{reports.size()});
  for (const auto& [site, sums] : reports) {
    hash.Add(absl::string_view(site.value())).Add(absl::string_view(DeterministicBytes(*sums)));
  }
}

void Add(FieldHasher& hash, const TaskState& task) {
  hash.Add(Number(task.phase))
      .Add(task.base_min.value())
      .Add(uint64_t{task.local_steps})
      .Add(task.update)
      .Add(task.accepted.value())
      .Add(task.base.value())
      .Add(task.examples)
      .Add(uint64_t{task.steps})
      .Add(task.training_loss)
      .Add(task.norm)
      .Add(task.staleness)
      .Add(task.ended.value())
      .Add(task.included_in.value())
      .Add(task.coefficient)
      .Add(Number(task.reason));
}

void Add(FieldHasher& hash, const FairShare& fair) {
  hash.Add(fair.since.value()).Add(fair.influence).Add(fair.updates).Add(fair.deviation);
  hash.Add(fair.lacking).Add(fair.of_a_version).Add(Number(fair.rate));
  hash.Add(uint64_t{fair.worked.has_value()})
      .Add(static_cast<uint64_t>(absl::ToInt64Nanoseconds(fair.worked.value_or(absl::Duration()))))
      .Add(uint64_t{fair.rest.has_value()})
      .Add(fair.rest.value_or(0));
  Add(hash, fair.broken_since);
  Add(hash, fair.told);
}

void Add(FieldHasher& hash, const Participant& participant) {
  hash.Add(Number(participant.decision))
      .Add(Number(participant.refusal_reason))
      .Add(participant.train_examples);
  Add(hash, participant.statistics);
  hash.Add(uint64_t{participant.tasks.size()});
  for (const auto& [id, task] : participant.tasks) {
    hash.Add(id.value());
    Add(hash, task);
  }
  hash.Add(uint64_t{participant.open.size()});
  for (const TaskId task : participant.open) hash.Add(task.value());
  hash.Add(participant.newest_task.value())
      .Add(uint64_t{participant.latest_folded.has_value()})
      .Add(participant.latest_folded.value_or(TaskId(0)).value())
      .Add(uint64_t{participant.replaced_ages.size()});
  for (const uint64_t age : participant.replaced_ages) hash.Add(age);
  hash.Add(participant.folded_decayed).Add(participant.answered).Add(participant.influence);
  Add(hash, participant.fair);
  Add(hash, participant.granted_at);
  hash.Add(uint64_t{participant.seconds_per_step.has_value()})
      .Add(participant.seconds_per_step.value_or(0))
      .Add(participant.group.value_or(0));
}

void Add(FieldHasher& hash, const std::vector<Contribution>& contributions) {
  hash.Add(uint64_t{contributions.size()});
  for (const Contribution& entry : contributions) {
    hash.Add(absl::string_view(entry.site.value()))
        .Add(entry.task.value())
        .Add(entry.update)
        .Add(entry.base.value())
        .Add(entry.staleness)
        .Add(uint64_t{entry.factors.size()});
    for (const WeightFactor& factor : entry.factors) {
      hash.Add(Number(factor.kind)).Add(factor.value);
    }
    hash.Add(entry.coefficient).Add(Number(entry.role));
  }
}

void Add(FieldHasher& hash, const VersionState& version) {
  hash.Add(version.version.value())
      .Add(version.model_id)
      .Add(version.payload_root)
      .Add(version.committed.value());
  Add(hash, version.committed_at);
  Add(hash, version.contributions);
  hash.Add(version.server_learning_rate).Add(std::span<const double>(version.scalars));
  Add(hash, version.validation);
  Add(hash, version.test);
  hash.Add(uint64_t{version.validation_score.has_value()})
      .Add(version.validation_score.value_or(0))
      .Add(Number(version.stored));
}

void Add(FieldHasher& hash, const std::optional<PendingProgram>& pending) {
  hash.Add(uint64_t{pending.has_value()});
  if (!pending.has_value()) return;
  hash.Add(pending->program).Add(pending->makes.value()).Add(pending->server_learning_rate);
  hash.Add(Number(pending->stage)).Add(uint64_t{pending->empty_buckets});
  Add(hash, pending->contributions);
}

void Add(FieldHasher& hash, const std::set<SiteId>& sites) {
  hash.Add(uint64_t{sites.size()});
  for (const SiteId& site : sites) hash.Add(absl::string_view(site.value()));
}

void Add(FieldHasher& hash, const std::vector<std::pair<SiteId, TaskId>>& updates) {
  hash.Add(uint64_t{updates.size()});
  for (const auto& [site, task] : updates) {
    hash.Add(absl::string_view(site.value())).Add(task.value());
  }
}

void Add(FieldHasher& hash, const ArrivalGroup& group) {
  Add(hash, group.expected);
  Add(hash, group.latest);
  hash.Add(group.fastest);
  Add(hash, group.awaited);
  Add(hash, group.arrived);
}

// The stages follow from the plan.
void Add(FieldHasher& hash, const RunState& run) {
  hash.Add(run.plan_hash).Add(run.layout_hash).Add(run.elements).Add(Number(run.phase));
  Add(hash, run.submitted_at);
  Add(hash, run.ended_at);
  hash.Add(absl::string_view(run.why_ended)).Add(run.standardisation_hash);
  hash.Add(uint64_t{run.participants.size()});
  for (const auto& [site, participant] : run.participants) {
    hash.Add(absl::string_view(site.value()));
    Add(hash, participant);
  }
  Add(hash, run.members);
  hash.Add(uint64_t{run.versions.size()});
  for (const VersionState& version : run.versions) Add(hash, version);
  Add(hash, run.buffer);
  hash.Add(run.groups_made).Add(uint64_t{run.groups.size()});
  for (const auto& [number, group] : run.groups) {
    hash.Add(number);
    Add(hash, group);
  }
  Add(hash, run.pending);
  hash.Add(run.programs);
  Add(hash, run.awaited);
  hash.Add(uint64_t{run.timers.size()});
  for (const auto& [timer, at] : run.timers) {
    hash.Add(Number(timer.kind)).Add(timer.number);
    Add(hash, at);
  }
  hash.Add(run.rests).Add(uint64_t{run.resting.size()});
  for (const auto& [number, site] : run.resting) {
    hash.Add(number).Add(absl::string_view(site.value()));
  }
  // A run without concurrency has the digest that it had before there was any.
  if (run.slots_given > 0) {
    hash.Add(run.slots_given).Add(uint64_t{run.slots.size()});
    for (const auto& [number, site] : run.slots) {
      hash.Add(number).Add(absl::string_view(site.value()));
    }
  }
  hash.Add(run.optimizer_steps);
  Add(hash, run.best);
  Add(hash, run.scored);
  Add(hash, run.result);
  hash.Add(run.duplicates_absorbed).Add(uint64_t{run.refusals.size()});
  for (const auto& [reason, count] : run.refusals) hash.Add(Number(reason)).Add(count);
}

}  // namespace

Digest StateDigestOf(const Federation& federation) {
  FieldHasher hash("consilium.federation.state.v1");
  hash.Add(federation.sequence.value());
  Add(hash, federation.now);
  hash.Add(uint64_t{federation.sites.size()});
  for (const auto& [id, site] : federation.sites) {
    hash.Add(absl::string_view(id.value()))
        .Add(Number(site.link))
        .Add(site.incarnation.value())
        .Add(site.lease_current)
        .Add(site.lease_pending);
  }
  hash.Add(uint64_t{federation.runs.size()});
  for (const auto& [id, run] : federation.runs) {
    hash.Add(absl::string_view(id.value()));
    Add(hash, run);
  }
  return hash.Finish();
}

}  // namespace consilium::federation
