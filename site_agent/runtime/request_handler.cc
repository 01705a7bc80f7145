#include "site_agent/runtime/request_handler.h"

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "protocol/core/status_macros.h"
#include "protocol/wire/hash.h"
#include "site_agent/runtime/agent_status.h"
#include "site_agent/runtime/data_import.h"
#include "site_agent/runtime/engine_loop.h"

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

absl::Status ApprovePlan(SiteStore& store, Agent* agent, const json& request) {
  const auto text = request.find("plan_sha256");
  std::optional<Digest> hash;
  if (text != request.end() && text->is_string()) hash = DigestFromHex(text->get<std::string>());
  if (!hash.has_value()) {
    return absl::InvalidArgumentError("a plan's hash is 64 lower-case hexadecimal digits");
  }
  return agent != nullptr ? agent->ApprovePlan(*hash) : store.ApprovePlan(*hash);
}

absl::StatusOr<json> Import(SiteStore& store, Agent* agent, const json& request) {
  CONSILIUM_ASSIGN_OR_RETURN(const ImportOptions options, ImportOptionsOf(request));
  return ImportInto(store, options, [agent](const std::vector<Digest>& contracts) {
    return agent != nullptr ? agent->CheckNoLiveRunUses(contracts) : absl::OkStatus();
  });
}

absl::StatusOr<json> Handle(SiteStore& store, Agent* agent, const json& request) {
  const auto command = request.find("command");
  const std::string name =
      command != request.end() && command->is_string() ? command->get<std::string>() : "";
  if (name == "status") return agent != nullptr ? agent->Status() : StatusAtRest(store);
  if (name == "data_list") return DescribeDatasets(store);
  if (name == "audit") return Audit(store);
  if (name == "approve_all") {
    CONSILIUM_RETURN_IF_ERROR(agent != nullptr ? agent->ApproveAllRuns() : store.ApproveAllRuns());
    return json::object();
  }
  if (name == "approve") {
    CONSILIUM_RETURN_IF_ERROR(ApprovePlan(store, agent, request));
    return json::object();
  }
  if (name == "import") return Import(store, agent, request);
  return absl::InvalidArgumentError("the agent knows no such command");
}

}  // namespace

json HandleRequest(SiteStore& store, Agent* agent, const json& request) {
  const absl::StatusOr<json> result = Handle(store, agent, request);
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
