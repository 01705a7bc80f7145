#include "tests/aggregator/core/paced_federation.h"

#include <algorithm>

namespace consilium::federation {
namespace {

std::vector<uint64_t> ExamplesOf(const std::vector<PacedFederation::SiteOptions>& sites) {
  std::vector<uint64_t> examples;
  examples.reserve(sites.size());
  for (const auto& site : sites) examples.push_back(site.examples);
  return examples;
}

}  // namespace

PacedFederation::PacedFederation(std::shared_ptr<const v1::RunPlan> plan,
                                 const std::vector<SiteOptions>& sites)
    : f_(ExamplesOf(sites)) {
  for (size_t i = 0; i < sites.size(); ++i) {
    paces_[Site(static_cast<int>(i))] = sites[i].seconds_per_step;
  }
  f_.StartRun(std::move(plan));
}

bool PacedFederation::RunTo(Version version) {
  while (run().current() < version) {
    if (!StepOnce()) return false;
  }
  return true;
}

void PacedFederation::Step(const Event& event) {
  for (const Alarm& alarm : Of<Alarm>(f_.Step(event))) alarms_.push_back(alarm);
  while (run().pending.has_value()) {
    for (const Alarm& alarm : Of<Alarm>(f_.Answer())) alarms_.push_back(alarm);
  }
}

void PacedFederation::BeginWork() {
  for (const SiteId& site : run().members) {
    const Participant& participant = f_.participant(site);
    if (participant.open.empty() || silent_[site]) {
      working_.erase(site);
      continue;
    }
    const TaskId task = participant.open.front();
    const auto found = working_.find(site);
    if (found != working_.end() && found->second.task == task) continue;
    const uint32_t steps = participant.tasks.at(task).local_steps;
    working_[site] = {task, run().current(), f_.now + absl::Seconds(steps * paces_.at(site))};
  }
}

bool PacedFederation::StepOnce() {
  BeginWork();
  std::optional<SiteId> first;
  for (const auto& [site, work] : working_) {
    if (!first.has_value() || work.done < working_.at(*first).done) first = site;
  }
  std::optional<Timer> timer;
  for (const auto& [candidate, at] : run().timers) {
    if (!timer.has_value() || at < run().timers.at(*timer)) timer = candidate;
  }
  if (timer.has_value() &&
      (!first.has_value() || run().timers.at(*timer) <= working_.at(*first).done)) {
    f_.now = std::max(f_.now, run().timers.at(*timer));
    Step(TimerFired{*timer});
    return true;
  }
  if (!first.has_value()) return false;
  const Work work = working_.at(*first);
  working_.erase(*first);
  f_.now = std::max(f_.now, work.done);
  UpdateStaged update = f_.Update(*first, work.base);
  update.steps = f_.participant(*first).tasks.at(work.task).local_steps;
  Step(update);
  return true;
}

bool PacedFederation::ReplaysAlike() const {
  FederationEngine again;
  for (const JournalledEvent& input : f_.journal) {
    auto bytes = SerializeJournalEntry(input);
    v1::JournalEntry entry;
    if (!bytes.ok() || !entry.ParseFromString(*bytes)) return false;
    const auto read = DecodeJournalEntry(std::move(entry));
    if (!read.ok()) return false;
    again.Step(read->now, read->event);
  }
  return again.StateDigest() == f_.engine.StateDigest();
}

}  // namespace consilium::federation
