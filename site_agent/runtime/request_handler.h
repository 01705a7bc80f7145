// The commands that a running agent answers, and a command without one answers from the store:
//
//   {"command": "status" | "data_list" | "audit" | "runs_list"}
//   {"command": "runs_show" | "approve" | "withdraw", "run": id, "plan_sha256": 64 hex digits}
//   {"command": "approve_all" | "approve_one_by_one"}
//   {"command": "policy", "minimum_count": number, or absent: it stays}
//   {"command": "model_export", "run": id}, with an open file that it is written to
//   {"command": "import", "contract_file": path, "dataset": "", "report_file": "", "strict": bool,
//    and one of "csv_file": path, "npz_file": path or
//    "arrays": [{"column": "", "parts": [{"file": path, "array": ""}]}]}
//
// A run is named by its id, by its plan's hash where one run with that plan waits, or by both.
//
//   {"ok": true, "result": ...}  or  {"ok": false, "code": number, "message": sentence}
//
// Threads: any.

#ifndef CONSILIUM_SITE_AGENT_RUNTIME_REQUEST_HANDLER_H_
#define CONSILIUM_SITE_AGENT_RUNTIME_REQUEST_HANDLER_H_

#include <nlohmann/json_fwd.hpp>

#include "absl/status/statusor.h"
#include "site_agent/runtime/agent.h"
#include "site_agent/runtime/data_import.h"
#include "site_agent/runtime/site_store.h"

namespace consilium::site {

// `agent` is null where none runs on this store; `file` is the open one that came with the request,
// or kNoFile. `tell`, unless it is null, is told how far a long command came, and may end it.
nlohmann::json HandleRequest(SiteStore& store, Agent* agent, const nlohmann::json& request,
                             int file, const TellProgress& tell = nullptr);

// The result of an answer, or its error.
absl::StatusOr<nlohmann::json> ResultOf(const nlohmann::json& answer);

}  // namespace consilium::site

#endif  // CONSILIUM_SITE_AGENT_RUNTIME_REQUEST_HANDLER_H_
