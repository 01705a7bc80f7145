#include "sim/engine/what_if.h"

#include <google/protobuf/util/message_differencer.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "models/spec/preset_traits.h"
#include "models/spec/run_plan.h"
#include "protocol/core/status_macros.h"
#include "protocol/wire/limits.h"

namespace consilium {
namespace {

using Mode = WhatIfSite::Mode;

std::string Names(const RunRecord& record) {
  return absl::StrJoin(record.sites, ", ", [](std::string* out, const auto& site) {
    absl::StrAppend(out, site.first.value());
  });
}

absl::Status CheckSites(const RunRecord& record, const WhatIfInput& input) {
  const auto check = [&record](absl::string_view what, const SiteId& site) {
    if (record.sites.contains(site)) return absl::OkStatus();
    return absl::InvalidArgumentError(absl::StrFormat(
        "%s %s: the recorded run has no such site; it has %s", what, site.value(), Names(record)));
  };
  for (const SiteId& site : input.without) {
    CONSILIUM_RETURN_IF_ERROR(check("--without", site));
  }
  for (const auto& [site, data] : input.data) {
    CONSILIUM_RETURN_IF_ERROR(check("--data", site));
  }
  if (record.sites.size() > limits::kSitesMax) {
    return absl::ResourceExhaustedError(
        absl::StrCat("the recorded run has more than ", limits::kSitesMax, " sites"));
  }
  if (input.without.size() == record.sites.size()) {
    return absl::InvalidArgumentError("--without: no site of the recorded run is left");
  }
  for (const std::string& listed : input.plan.config().participation().sites()) {
    CONSILIUM_RETURN_IF_ERROR(check("participation.sites:", SiteId(listed)));
  }
  const auto& transform = input.plan.config().aggregation().transform();
  const SiteId validator(transform.zeno().validator());
  if (transform.has_zeno() &&
      (!record.sites.contains(validator) || input.without.contains(validator))) {
    return absl::InvalidArgumentError(
        absl::StrFormat("aggregation.transform.zeno.validator: '%s' takes no part in the changed "
                        "run",
                        validator.value()));
  }
  return absl::OkStatus();
}

// What training hangs on, and a recorded update can not follow; without what is the aggregator's.
v1::TrainingConfig WhatTrains(v1::TrainingConfig training) {
  training.clear_task_duration_min_ms();
  training.clear_tasks_in_flight_max();
  return training;
}

absl::Status CheckUpdatesFit(const v1::RunPlan& before, const v1::RunPlan& after,
                             const SiteId& site) {
  const auto differ = [](const google::protobuf::Message& a, const google::protobuf::Message& b) {
    return !google::protobuf::util::MessageDifferencer::Equals(a, b);
  };
  const v1::RunConfig& was = before.config();
  const v1::RunConfig& is = after.config();
  absl::string_view field;
  if (differ(before.spec(), after.spec())) field = "spec";
  if (differ(was.model(), is.model())) field = "model";
  if (differ(was.data(), is.data())) field = "data";
  if (differ(WhatTrains(was.training()), WhatTrains(is.training()))) field = "training";
  if (was.seed() != is.seed()) field = "seed";
  if (KeptBySites(was) != KeptBySites(is)) field = "aggregation.preset";
  if (field.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrFormat(
      "%s: the recorded updates of '%s' were made as the recorded run had it; give --data %s=FILE "
      "to train them anew, or leave the site out (--without %s)",
      field, site.value(), site.value(), site.value()));
}

// The site's recorded updates, each after all the time since the one before.
std::vector<RecordedTask> Deliveries(const std::vector<RecordedTask>& tasks) {
  std::vector<RecordedTask> deliveries;
  absl::Duration before = absl::ZeroDuration();
  for (const RecordedTask& task : tasks) {
    if (task.update.delta == nullptr) {
      before += task.total();
      continue;
    }
    RecordedTask& delivery = deliveries.emplace_back(task);
    delivery.wait += std::exchange(before, absl::ZeroDuration());
  }
  return deliveries;
}

uint64_t AcceptedBy(const federation::Participant& participant) {
  return static_cast<uint64_t>(
      std::count_if(participant.tasks.begin(), participant.tasks.end(), [](const auto& task) {
        return task.second.accepted != Sequence() &&
               task.second.phase != federation::TaskPhase::kRefused;
      }));
}

class Planner {
 public:
  Planner(const RecordedRun& recorded, const WhatIfInput& input)
      : recorded_(recorded), input_(input) {}

  // What the site does in the changed run, out of what it did.
  absl::StatusOr<WhatIfSite> Take(const SiteId& site, SiteRecord& record) const {
    WhatIfSite out;
    out.site = site;
    if (!record.decision.has_value() || !record.decision->approved) return out;
    if (input_.data.contains(site)) {
      out.mode = Mode::kRetrained;
    } else {
      out.mode = Mode::kReaggregated;
      CONSILIUM_RETURN_IF_ERROR(PlayBack(site, record, out));
    }
    out.recorded = record.tasks.size();
    return out;
  }

 private:
  absl::Status PlayBack(const SiteId& site, SiteRecord& record, WhatIfSite& out) const {
    CONSILIUM_RETURN_IF_ERROR(CheckUpdatesFit(*recorded_.state().plan, input_.plan, site));
    const uint64_t accepted = AcceptedBy(recorded_.state().participants.at(site));
    record.updates = SiteRecord::Updates::kPlayedBack;
    record.tasks = Deliveries(record.tasks);
    out.not_at_hand = accepted - std::min<uint64_t>(accepted, record.tasks.size());
    if (accepted > 0 && record.tasks.empty()) {
      return absl::NotFoundError(absl::StrFormat(
          "the recording holds none of the %d updates of '%s': give --data %s=FILE, or leave the "
          "site out (--without %s)",
          accepted, site.value(), site.value(), site.value()));
    }
    for (const RecordedTask& task : record.tasks) {
      if (task.update.delta->size() == recorded_.state().elements) continue;
      return absl::InvalidArgumentError(absl::StrFormat(
          "an update of '%s' in the recording has another length than the model", site.value()));
    }
    return absl::OkStatus();
  }

  const RecordedRun& recorded_;
  const WhatIfInput& input_;
};

// The recorded durations have the least one in them. Held to it again, a task whose predecessor
// arrived late would take longer than it did.
void LeaveOutLeastDuration(const v1::RunPlan& recorded, v1::RunPlan& plan) {
  const v1::TrainingConfig& was = recorded.config().training();
  v1::TrainingConfig& is = *plan.mutable_config()->mutable_training();
  const bool is_recorded = was.task_duration_min_ms() == is.task_duration_min_ms() &&
                           was.local_steps() == is.local_steps();
  if (is_recorded) is.clear_task_duration_min_ms();
}

}  // namespace

absl::StatusOr<WhatIf> RunWhatIf(const RecordedRun& recorded, WhatIfInput input) {
  CONSILIUM_RETURN_IF_ERROR(CheckSites(recorded.record, input));
  WhatIf result;
  auto record = std::make_unique<RunRecord>(recorded.record);
  for (const SiteId& site : input.without) {
    record->sites.erase(site);
    input.data.erase(site);
  }
  const Planner planner(recorded, input);
  for (auto& [site, of_site] : record->sites) {
    CONSILIUM_ASSIGN_OR_RETURN(WhatIfSite planned, planner.Take(site, of_site));
    result.sites.push_back(std::move(planned));
  }
  auto data = std::make_unique<FederationData>(std::move(input.data));
  for (const auto& [site, of_site] : record->sites) data->try_emplace(site);
  result.record = std::move(record);
  result.data = std::move(data);

  SimulationInput simulated;
  simulated.plan = std::move(input.plan);
  LeaveOutLeastDuration(*recorded.state().plan, simulated.plan);
  simulated.data = result.data.get();
  simulated.trainer = input.trainer;
  simulated.trainings = input.trainings;
  simulated.record = result.record.get();
  simulated.on_version = std::move(input.on_version);
  CONSILIUM_ASSIGN_OR_RETURN(result.simulation, Simulation::Create(std::move(simulated)));
  CONSILIUM_RETURN_IF_ERROR(result.simulation->Run());
  for (WhatIfSite& site : result.sites) {
    site.done = result.simulation->TasksDoneBy(site.site);
    site.used_up = site.mode == Mode::kRetrained ? site.done > site.recorded
                                                 : result.simulation->HasFallenSilent(site.site);
  }
  return result;
}

double RelativeDistance(const std::vector<float>& a, const std::vector<float>& b) {
  double difference = 0;
  double length = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double apart = static_cast<double>(a[i]) - b[i];
    difference += apart * apart;
    length += static_cast<double>(b[i]) * b[i];
  }
  if (difference == 0) return 0;
  return length > 0 ? std::sqrt(difference / length) : std::numeric_limits<double>::infinity();
}

}  // namespace consilium
