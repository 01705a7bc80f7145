#include "aggregator/core/admission.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "protocol/wire/limits.h"

namespace consilium::federation {
namespace {

constexpr uint64_t kStalenessMaxDefault = 50;

double NormMax(const RunState& run) {
  const double possible = kUpdateRmsMax * std::sqrt(static_cast<double>(run.elements));
  const double limit = run.plan->config().aggregation().limits().update_norm_max();
  return limit > 0 ? std::min(limit, possible) : possible;
}

}  // namespace

uint64_t StalenessMax(const RunState& run) {
  const v1::UpdateLimits& limits = run.plan->config().aggregation().limits();
  return limits.has_staleness_versions_max() ? limits.staleness_versions_max()
                                             : kStalenessMaxDefault;
}

uint64_t SiteExamplesMax(const RunState& run) {
  const uint64_t limit = run.plan->config().aggregation().limits().site_examples_max();
  return limit > 0 ? limit : limits::kSiteExamplesMax;
}

v1::Reason ReasonAgainst(const RunState& run, const TaskState& task, const UpdateStaged& update) {
  if (update.layout_hash != run.layout_hash) return v1::LAYOUT_MISMATCH;
  if (update.base > run.current() ||
      update.base_model_id != run.versions[update.base.value()].model_id) {
    return v1::BASE_UNKNOWN;
  }
  const uint64_t staleness = run.current().value() - update.base.value();
  if (update.base < task.base_min || staleness > StalenessMax(run)) return v1::TOO_STALE;
  if (update.values != UpdateStaged::Values::kFinite || !std::isfinite(update.norm) ||
      !std::isfinite(update.training_loss)) {
    return v1::NOT_FINITE;
  }
  if (update.norm > NormMax(run)) return v1::NORM_TOO_LARGE;
  // What divides by a number must not take it on trust.
  const bool steps_possible = update.steps > 0 && update.steps <= task.local_steps;
  if (UsesLocalSteps(run.stages) && !steps_possible) return v1::MALFORMED;
  if (update.examples == 0) return v1::TOO_FEW_EXAMPLES;
  if (update.examples > SiteExamplesMax(run)) return v1::TOO_MANY_EXAMPLES;
  return v1::REASON_UNSPECIFIED;
}

std::string SentenceFor(v1::Reason reason, const RunState* run, const TaskState* task) {
  switch (reason) {
    case v1::SITE_UNKNOWN:
      return "no site of this name was added to the federation";
    case v1::SITE_REVOKED:
      return "the site was removed from the federation";
    case v1::INCARNATION_FENCED:
      return "a newer process of this site has attached";
    case v1::NOT_ATTACHED:
      return "this process of the site has not opened its control stream yet";
    case v1::RUN_UNKNOWN:
      return "there is no such run";
    case v1::TASK_UNKNOWN:
      return "no such task was granted to this site";
    case v1::TASK_CONFLICT:
      return "this task's update is known with other content";
    case v1::RUN_ENDED:
      return "the run has stopped without this update";
    case v1::ROUND_CLOSED:
      return "the round went on without this update when its deadline was over";
    case v1::LAYOUT_MISMATCH:
      return "the update's tensors are not those of the run's model";
    case v1::TOO_STALE:
      return absl::StrCat("version ", task->base.value(), " is too old a base: the task needs ",
                          task->base_min.value(), " or newer, and at most ", StalenessMax(*run),
                          " versions may pass");
    case v1::BASE_UNKNOWN:
      return absl::StrCat("version ", task->base.value(),
                          " does not exist in this run, or is another model here");
    case v1::NOT_FINITE:
      return "the update holds a value that is no finite number";
    case v1::NORM_TOO_LARGE:
      return absl::StrCat("the update's norm ", task->norm, " is above the limit of ",
                          NormMax(*run));
    case v1::MALFORMED:
      return absl::StrCat("the update says that it took ", task->steps,
                          " local steps; its task has ", "from 1 to ", task->local_steps);
    case v1::TOO_FEW_EXAMPLES:
      return "the update was trained on no example";
    case v1::TOO_MANY_EXAMPLES:
      return absl::StrCat("the update was trained on more than the ", SiteExamplesMax(*run),
                          " examples that the run takes from one site");
    default:
      return v1::Reason_Name(reason);
  }
}

}  // namespace consilium::federation
