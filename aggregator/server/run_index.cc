#include "aggregator/server/run_index.h"

#include "absl/strings/str_cat.h"
#include "aggregator/core/strategies/control_variates.h"
#include "consilium/v1/errors.pb.h"
#include "models/spec/run_plan.h"
#include "protocol/wire/hash.h"
#include "protocol/wire/reasons.h"

namespace consilium {
namespace {

absl::Status RunUnknown(const RunId& run) {
  return Refusal(v1::RUN_UNKNOWN, absl::StrCat("there is no run \"", run.value(), "\" here"));
}

RunIndex::Standing StandingOf(const federation::Participant& participant) {
  return {.decision = participant.decision,
          .newest_task = participant.newest_task,
          .open_tasks = participant.open};
}

}  // namespace

void RunIndex::Refresh(const federation::RunState& run, const std::set<SiteId>& sites) {
  absl::MutexLock lock(&mu_);
  const auto [found, is_new] = runs_.try_emplace(run.run);
  Entry& entry = found->second;
  if (is_new) {
    entry.facts = {.layout_hash = run.layout_hash,
                   .elements = run.elements,
                   .payload_bytes = run.elements * sizeof(float),
                   .features = FeatureCount(run.plan->contract()),
                   .plan_hash = run.plan_hash};
    for (const auto& [site, participant] : run.participants) {
      entry.participants[site] = StandingOf(participant);
    }
  }
  entry.facts.phase = run.phase;
  for (const SiteId& site : sites) {
    const auto participant = run.participants.find(site);
    if (participant != run.participants.end()) {
      entry.participants[site] = StandingOf(participant->second);
    }
  }
  for (size_t i = entry.models.size(); i < run.versions.size(); ++i) {
    entry.models.push_back({run.versions[i].model_id, run.versions[i].payload_root,
                            federation::PayloadElements(run, Version(i)) * sizeof(float)});
  }
  entry.facts.versions = entry.models.size();
}

void RunIndex::NoteChange(const RunId& run) {
  absl::MutexLock lock(&mu_);
  if (const auto it = runs_.find(run); it != runs_.end()) ++it->second.changes;
}

absl::StatusOr<RunIndex::Facts> RunIndex::Find(const RunId& run) const {
  absl::MutexLock lock(&mu_);
  const auto it = runs_.find(run);
  if (it == runs_.end()) return RunUnknown(run);
  return it->second.facts;
}

absl::StatusOr<RunIndex::Standing> RunIndex::FindParticipant(const RunId& run,
                                                             const SiteId& site) const {
  absl::MutexLock lock(&mu_);
  const auto it = runs_.find(run);
  if (it == runs_.end()) return RunUnknown(run);
  const auto participant = it->second.participants.find(site);
  if (participant == it->second.participants.end()) return RunUnknown(run);
  return participant->second;
}

absl::StatusOr<v1::ModelHeader> RunIndex::FindModel(const RunId& run, Version version) const {
  absl::MutexLock lock(&mu_);
  const auto it = runs_.find(run);
  if (it == runs_.end()) return RunUnknown(run);
  const Entry& entry = it->second;
  if (entry.facts.phase == federation::RunPhase::kPurged) {
    return Refusal(v1::RUN_ENDED, absl::StrCat("the run ", run.value(), " was purged"));
  }
  if (version.value() >= entry.models.size()) {
    return Refusal(v1::VERSION_UNKNOWN, absl::StrCat("the run ", run.value(), " has no version ",
                                                     version.value(), " yet"));
  }
  const Model& model = entry.models[version.value()];
  v1::ModelHeader header;
  header.set_run_id(run.value());
  header.set_version(version.value());
  header.set_model_id(ToBytes(model.model_id));
  header.set_layout_hash(ToBytes(entry.facts.layout_hash));
  header.set_encoding(v1::F32);
  header.set_payload_bytes(model.payload_bytes);
  header.set_payload_root(ToBytes(model.payload_root));
  return header;
}

uint64_t RunIndex::Changes(const RunId& run) const {
  absl::MutexLock lock(&mu_);
  return Count(run);
}

uint64_t RunIndex::AwaitChange(const RunId& run, uint64_t seen, absl::Duration timeout) const {
  absl::MutexLock lock(&mu_);
  const auto changed = [this, &run, seen] {
    mu_.AssertReaderHeld();
    return Count(run) != seen;
  };
  mu_.AwaitWithTimeout(absl::Condition(&changed), timeout);
  return Count(run);
}

uint64_t RunIndex::Count(const RunId& run) const {
  const auto it = runs_.find(run);
  return it == runs_.end() ? 0 : it->second.changes;
}

}  // namespace consilium
