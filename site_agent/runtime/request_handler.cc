#include "site_agent/runtime/request_handler.h"

#include <spdlog/spdlog.h>
#include <sys/stat.h>

#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "protocol/core/status_macros.h"
#include "protocol/wire/hash.h"
#include "site_agent/runtime/agent_status.h"
#include "site_agent/runtime/data_import.h"
#include "site_agent/runtime/describe_plan.h"
#include "site_agent/runtime/engine_loop.h"
#include "site_agent/runtime/journal_codec.h"
#include "site_agent/runtime/personal_export.h"

namespace consilium::site {
namespace {

using nlohmann::json;

// Of a site whose agent does not run: the state that it would start from.
absl::StatusOr<json> StatusAtRest(SiteStore& store) {
  if (!store.is_enrolled()) return json{{"running", false}, {"enrolled", false}};
  CONSILIUM_ASSIGN_OR_RETURN(const SiteIdentity identity, store.Identity());
  json status = DescribeSite(store, identity);
  CONSILIUM_ASSIGN_OR_RETURN(const SiteEngine engine,
                             EngineLoop::Recover(&store, identity.site, SiteOptions()));
  status["running"] = false;
  status["attached"] = false;
  status["runs"] = DescribeRuns(engine);
  return status;
}

std::string Text(const json& request, const char* name) {
  const auto field = request.find(name);
  return field != request.end() && field->is_string() ? field->get<std::string>() : "";
}

// Looks at the engine of the running agent, or at the one that it would start with.
absl::Status WithEngine(SiteStore& store, Agent* agent,
                        const std::function<void(const SiteEngine&)>& look) {
  if (agent != nullptr) {
    if (agent->Ask(look)) return absl::OkStatus();
    return absl::UnavailableError("the agent is stopping");
  }
  CONSILIUM_ASSIGN_OR_RETURN(const SiteIdentity identity, store.Identity());
  CONSILIUM_ASSIGN_OR_RETURN(const SiteEngine engine,
                             EngineLoop::Recover(&store, identity.site, SiteOptions()));
  look(engine);
  return absl::OkStatus();
}

struct NamedRun {
  RunId run;
  Digest plan_hash = {};
};

// The run that a request names: by its id, by its plan's hash where only one run with that plan
// waits, or by both, which must then agree.
absl::StatusOr<NamedRun> RunOf(SiteStore& store, Agent* agent, const json& request) {
  const std::string id = Text(request, "run");
  const std::string hash_text = Text(request, "plan_sha256");
  const std::optional<Digest> hash = DigestFromHex(hash_text);
  if (!hash_text.empty() && !hash.has_value()) {
    return absl::InvalidArgumentError("a plan's hash is 64 lower-case hexadecimal digits");
  }
  if (id.empty() && !hash.has_value()) return absl::InvalidArgumentError("no run is named");
  std::vector<NamedRun> found;
  CONSILIUM_RETURN_IF_ERROR(WithEngine(store, agent, [&](const SiteEngine& engine) {
    for (const auto& [run_id, run] : engine.runs()) {
      if (!id.empty() && run_id.value() != id) continue;
      if (hash.has_value() && run.plan_hash != *hash) continue;
      if (id.empty() && run.decision != nullptr) continue;
      found.push_back({run_id, run.plan_hash});
    }
  }));
  if (found.size() == 1) return found[0];
  if (found.empty()) {
    return absl::NotFoundError(hash.has_value()
                                   ? "no run with this plan waits here: consilium-agent runs list"
                                   : "no such run was offered here: consilium-agent runs list");
  }
  return absl::FailedPreconditionError(
      "more than one run with this plan waits; approve it by its id: consilium-agent runs list");
}

// An approval that can change nothing any more is refused, with what can.
absl::Status CheckOpen(SiteStore& store, Agent* agent, const RunId& id) {
  std::string closed;
  CONSILIUM_RETURN_IF_ERROR(WithEngine(store, agent, [&](const SiteEngine& engine) {
    const auto found = engine.runs().find(id);
    if (found == engine.runs().end()) return;
    const RunState& run = found->second;
    if (run.ended()) {
      closed = "is over";
    } else if (run.decision != nullptr && !run.approved()) {
      closed = absl::StrCat("was refused here (", run.refusal,
                            "); a refusal is final for a run: ask the aggregator's operator to "
                            "submit it again");
    }
  }));
  if (closed.empty()) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat("the run ", id.value(), " ", closed));
}

absl::StatusOr<json> ApproveOne(SiteStore& store, Agent* agent, const json& request) {
  CONSILIUM_ASSIGN_OR_RETURN(const NamedRun named, RunOf(store, agent, request));
  CONSILIUM_RETURN_IF_ERROR(CheckOpen(store, agent, named.run));
  CONSILIUM_RETURN_IF_ERROR(agent != nullptr ? agent->ApproveRun(named.run, named.plan_hash)
                                             : store.ApproveRun(named.run, named.plan_hash));
  return json{{"run", named.run.value()}, {"plan_sha256", ToHex(named.plan_hash)}};
}

absl::StatusOr<json> Withdraw(SiteStore& store, Agent* agent, const json& request) {
  CONSILIUM_ASSIGN_OR_RETURN(const NamedRun named, RunOf(store, agent, request));
  if (agent != nullptr) {
    CONSILIUM_RETURN_IF_ERROR(agent->WithdrawRun(named.run));
  } else {
    const std::string entry =
        EntryOf({absl::Now(), RunWithdrawn{named.run, kWithdrawnByPerson}}).SerializeAsString();
    CONSILIUM_RETURN_IF_ERROR(store.AppendJournal(std::span<const std::string>(&entry, 1)));
    CONSILIUM_RETURN_IF_ERROR(store.WithdrawRun(named.run));
  }
  return json{{"run", named.run.value()}};
}

absl::StatusOr<json> ListRuns(SiteStore& store, Agent* agent) {
  json runs = json::array();
  CONSILIUM_RETURN_IF_ERROR(
      WithEngine(store, agent, [&](const SiteEngine& engine) { runs = DescribeRuns(engine); }));
  return json{{"runs", std::move(runs)}};
}

absl::StatusOr<json> ShowRun(SiteStore& store, Agent* agent, const json& request) {
  CONSILIUM_ASSIGN_OR_RETURN(const NamedRun named, RunOf(store, agent, request));
  CONSILIUM_ASSIGN_OR_RETURN(const uint64_t minimum_count, store.MinimumCount());
  json shown = json::object();
  CONSILIUM_RETURN_IF_ERROR(WithEngine(store, agent, [&](const SiteEngine& engine) {
    const auto run = engine.runs().find(named.run);
    if (run != engine.runs().end()) shown = DescribePlan(run->first, run->second, minimum_count);
  }));
  return shown;
}

absl::StatusOr<json> SetAllRuns(SiteStore& store, Agent* agent, AllRuns all_runs) {
  CONSILIUM_RETURN_IF_ERROR(agent != nullptr ? agent->SetAllRuns(all_runs)
                                             : store.SetAllRuns(all_runs));
  return json::object();
}

absl::StatusOr<json> Policy(SiteStore& store, const json& request) {
  if (const auto count = request.find("minimum_count"); count != request.end()) {
    if (!count->is_number_unsigned()) {
      return absl::InvalidArgumentError("the minimum count is a number");
    }
    CONSILIUM_RETURN_IF_ERROR(store.SetMinimumCount(count->get<uint64_t>()));
  }
  CONSILIUM_ASSIGN_OR_RETURN(const uint64_t minimum_count, store.MinimumCount());
  CONSILIUM_ASSIGN_OR_RETURN(const AllRuns all_runs, store.ApprovalOfAllRuns());
  return json{{"minimum_count", minimum_count},
              {"all_runs_approved", all_runs == AllRuns::kApproved}};
}

absl::StatusOr<json> Import(SiteStore& store, Agent* agent, const json& request,
                            const TellProgress& tell) {
  CONSILIUM_ASSIGN_OR_RETURN(const ImportOptions options, ImportOptionsOf(request));
  const auto may_replace = [agent](const std::vector<Digest>& contracts) {
    return agent != nullptr ? agent->CheckNoLiveRunUses(contracts) : absl::OkStatus();
  };
  absl::StatusOr<json> imported = ImportInto(store, options, may_replace, tell);
  if (absl::IsCancelled(imported.status())) {
    imported =
        absl::CancelledError(absl::StrCat("nothing was imported: ", imported.status().message()));
    // Nobody may be there to read the answer.
    spdlog::warn("{}", std::string(imported.status().message()));
  }
  CONSILIUM_RETURN_IF_ERROR(imported.status());
  if (agent != nullptr) agent->LookAgainAtWaitingRuns();
  return imported;
}

absl::StatusOr<json> ExportModel(SiteStore& store, Agent* agent, const json& request, int file) {
  struct stat info;
  // A pipe would hold the agent's answers to everybody else.
  if (Text(request, "run").empty() || fstat(file, &info) != 0 || !S_ISREG(info.st_mode)) {
    return absl::InvalidArgumentError("model_export names a run and comes with an open file");
  }
  CONSILIUM_ASSIGN_OR_RETURN(const SiteIdentity identity, store.Identity());
  // What an agent keeps may be replaced between the look and the reading.
  constexpr int kLooks = 3;
  absl::StatusOr<json> written = absl::UnavailableError("");
  for (int look = 0; look < kLooks; ++look) {
    absl::StatusOr<PersonalParts> parts = absl::UnavailableError("");
    CONSILIUM_RETURN_IF_ERROR(WithEngine(store, agent, [&](const SiteEngine& engine) {
      parts = FindPersonalParts(engine, RunId(Text(request, "run")));
    }));
    CONSILIUM_RETURN_IF_ERROR(parts.status());
    written = WritePersonalModel(store, *parts, identity.site, file);
    if (!absl::IsNotFound(written.status())) break;
  }
  if (agent != nullptr && written.ok()) {
    spdlog::info("this site's own model of the run {}, of version {}, was exported for a person",
                 Text(request, "run"), written->at("version").get<uint64_t>());
  }
  return written;
}

absl::StatusOr<json> Handle(SiteStore& store, Agent* agent, const json& request, int file,
                            const TellProgress& tell) {
  const std::string name = Text(request, "command");
  if (name == "status") return agent != nullptr ? agent->Status() : StatusAtRest(store);
  if (name == "data_list") return DescribeDatasets(store);
  if (name == "audit") return Audit(store);
  if (name == "runs_list") return ListRuns(store, agent);
  if (name == "runs_show") return ShowRun(store, agent, request);
  if (name == "approve") return ApproveOne(store, agent, request);
  if (name == "withdraw") return Withdraw(store, agent, request);
  if (name == "approve_all") return SetAllRuns(store, agent, AllRuns::kApproved);
  if (name == "approve_one_by_one") return SetAllRuns(store, agent, AllRuns::kOneByOne);
  if (name == "policy") return Policy(store, request);
  if (name == "model_export") return ExportModel(store, agent, request, file);
  if (name == "import") return Import(store, agent, request, tell);
  return absl::InvalidArgumentError("the agent knows no such command");
}

}  // namespace

json HandleRequest(SiteStore& store, Agent* agent, const json& request, int file,
                   const TellProgress& tell) {
  const absl::StatusOr<json> result = Handle(store, agent, request, file, tell);
  if (result.ok()) return {{"ok", true}, {"result", *result}};
  return {{"ok", false},
          {"code", static_cast<int>(result.status().code())},
          {"message", std::string(result.status().message())}};
}

absl::StatusOr<json> ResultOf(const json& answer) {
  if (answer.value("ok", false) && answer.contains("result")) return answer.at("result");
  return absl::Status(static_cast<absl::StatusCode>(answer.value("code", 2)),
                      answer.value("message", "the agent gave no reason"));
}

}  // namespace consilium::site
