#include "site_agent/runtime/personal_export.h"

#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "models/spec/run_plan.h"
#include "models/spec/safetensors.h"
#include "protocol/core/status_macros.h"
#include "protocol/wire/hash.h"
#include "site_agent/core/fetched_model.h"
#include "site_agent/core/personal_model.h"
#include "site_agent/runtime/journal_codec.h"
#include "site_agent/runtime/stored_vector.h"

namespace consilium::site {
namespace {

// The plan that an entry offers the run with; null where it does not.
absl::StatusOr<std::shared_ptr<const v1::RunPlan>> PlanIn(const ChainRow& row, const RunId& run,
                                                          const Digest& plan_hash) {
  v1::SiteJournalEntry entry;
  const bool is_entry =
      entry.ParseFromArray(row.payload.data(), static_cast<int>(row.payload.size()));
  if (!is_entry || entry.has_release() || entry.has_policy()) return nullptr;
  CONSILIUM_ASSIGN_OR_RETURN(const TimedEvent input, EventOf(entry));
  const auto* offered = std::get_if<RunOffered>(&input.event);
  const bool is_it = offered != nullptr && offered->run == run && offered->plan_hash == plan_hash;
  return is_it ? offered->plan : nullptr;
}

// Of a run that is over, the site's state has forgotten it; the journal has not.
absl::StatusOr<v1::RunPlan> PlanOf(SiteStore& store, const PersonalParts& parts) {
  if (parts.plan != nullptr && parts.plan->has_config()) return *parts.plan;
  return OfferedPlan([&store](JournalVisit visit) { return store.ReadJournal(visit); }, parts.run,
                     parts.plan_hash);
}

}  // namespace

absl::StatusOr<v1::RunPlan> OfferedPlan(absl::FunctionRef<absl::Status(JournalVisit)> read,
                                        const RunId& run, const Digest& plan_hash) {
  std::shared_ptr<const v1::RunPlan> plan;
  const absl::Status status = read([&](const ChainRow& row) -> absl::Status {
    CONSILIUM_ASSIGN_OR_RETURN(plan, PlanIn(row, run, plan_hash));
    // An error ends the reading, for which the store is held.
    return plan == nullptr ? absl::OkStatus() : absl::CancelledError("found");
  });
  if (plan != nullptr) return *plan;
  CONSILIUM_RETURN_IF_ERROR(status);
  return absl::DataLossError("the journal has no plan of the run");
}

absl::StatusOr<PersonalParts> FindPersonalParts(const SiteEngine& engine, const RunId& run) {
  const auto found = engine.runs().find(run);
  if (found == engine.runs().end()) {
    return absl::NotFoundError("no such run was offered here: consilium-agent runs list");
  }
  const RunState& state = found->second;
  if (!IsPersonal(state.keeps)) {
    return absl::FailedPreconditionError(
        absl::StrCat("the run ", run.value(),
                     " leaves a hospital no model of its own: the presets FEDPER, FEDBN and DITTO "
                     "do. `consilium model export` at the aggregator writes the shared one"));
  }
  if (state.kept.empty()) {
    return absl::FailedPreconditionError(absl::StrCat("this site has no model of its own of ",
                                                      run.value(),
                                                      " yet: no version includes an update of it"));
  }
  std::optional<Version> version = state.result;
  for (const auto& [candidate, model] : state.models) {
    if (!state.ended() && model.where == ModelState::Where::kHere) version = candidate;
  }
  const auto model = version.has_value() ? state.models.find(*version) : state.models.end();
  if (model == state.models.end() || model->second.where != ModelState::Where::kHere) {
    return absl::FailedPreconditionError(
        absl::StrCat("the shared model of ", run.value(),
                     " is not here: the agent has to run until it has fetched it"));
  }
  return PersonalParts{.run = run,
                       .keeps = state.keeps,
                       .plan_hash = state.plan_hash,
                       .plan = state.plan,
                       .version = *version,
                       .model_id = model->second.model_id,
                       .update = state.kept.rbegin()->second,
                       .kept_with = state.kept.rbegin()->first};
}

absl::StatusOr<nlohmann::json> WritePersonalModel(SiteStore& store, const PersonalParts& parts,
                                                  const SiteId& site, int file) {
  // What may be gone comes first: whoever looks again reads no journal twice.
  CONSILIUM_ASSIGN_OR_RETURN(const std::vector<float> payload,
                             ReadStoredVector(store.blobs(), parts.model_id));
  CONSILIUM_ASSIGN_OR_RETURN(const std::vector<float> kept,
                             ReadStoredVector(store.blobs(), KeptBlobOf(parts.update)));
  CONSILIUM_ASSIGN_OR_RETURN(const v1::RunPlan plan, PlanOf(store, parts));
  CONSILIUM_ASSIGN_OR_RETURN(const ModelGraph graph, GraphOf(plan));
  CONSILIUM_ASSIGN_OR_RETURN(const FetchedModel shared, PartsOf(payload, graph.layout.elements()));
  CONSILIUM_ASSIGN_OR_RETURN(const std::vector<float> model,
                             PersonalModelOf(graph, parts.keeps, shared.weights, kept));
  TensorFileContent content;
  content.layout = &graph.layout;
  content.values = model;
  content.metadata = {{"run", parts.run.value()},
                      {"site", site.value()},
                      {"version", absl::StrCat(parts.version.value())},
                      {"kept_with", absl::StrCat(parts.kept_with.value())},
                      {"model_id", ToHex(parts.model_id)},
                      {"spec", graph.name}};
  CONSILIUM_RETURN_IF_ERROR(store.RecordExport(parts.run, parts.version));
  CONSILIUM_RETURN_IF_ERROR(WriteTensors(file, "the file", content));
  return nlohmann::json{{"run", parts.run.value()},
                        {"site", site.value()},
                        {"version", parts.version.value()},
                        {"kept_with", parts.kept_with.value()}};
}

}  // namespace consilium::site
