// Which of a run's models are fetched, evaluated and dropped.
//
// Fetched, one at a time: the newest announced version, to train on, and those that an evaluation
// was asked for. Kept: the newest that is here, the base of the task in training, those with an
// evaluation to come, and the result. Evaluation never waits for training; it goes from old
// versions to new.
//
// An evaluation is a question about patients, so they are few: only versions that the approved plan
// has, each once; on validation patients, or on test patients for one version of the run, its
// result; never on training patients.
//
// Threads: the engine's.

#ifndef CONSILIUM_SITE_AGENT_CORE_MODELS_H_
#define CONSILIUM_SITE_AGENT_CORE_MODELS_H_

#include <optional>

#include "site_agent/core/events.h"
#include "site_agent/core/site_state.h"

namespace consilium::site {

void OnModelAvailable(StepContext& step, const ModelAvailable& event);
void OnModelFetched(StepContext& step, const ModelFetched& event);
void OnFetchFailed(StepContext& step, const FetchFailed& event);
void OnEvaluationComputed(StepContext& step, const EvaluationComputed& event);

// The newest version that is here.
std::optional<Version> NewestHere(const RunState& run);

// The run has ended: only its result is still to be evaluated, on test patients.
void EvaluateResult(RunState& run);

// The run goes on without this site: nothing of it is fetched or evaluated any more.
void ForgetEvaluations(StepContext& step, RunState& run);

// The process started: what was being fetched or evaluated is to be again.
void ResumeModels(StepContext& step, const RunId& id, RunState& run);

// Asks for what the run's models now need.
void SettleModels(StepContext& step, const RunId& id, RunState& run);

}  // namespace consilium::site

#endif  // CONSILIUM_SITE_AGENT_CORE_MODELS_H_
