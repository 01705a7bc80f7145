// What `consilium-agent` does for each of its commands, apart from reading its arguments.
//
// `status`, `approve`, `data import`, `data list` and `audit verify` are answered by the agent that
// runs on the store (control_socket.h), or from the store itself where none does.
//
// Threads: one.

#ifndef CONSILIUM_SITE_AGENT_RUNTIME_COMMANDS_H_
#define CONSILIUM_SITE_AGENT_RUNTIME_COMMANDS_H_

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "privacy/at_rest/key_file.h"
#include "protocol/core/ids.h"
#include "site_agent/core/trainer.h"
#include "site_agent/runtime/agent.h"
#include "site_agent/runtime/control_socket.h"
#include "site_agent/runtime/data_import.h"
#include "site_agent/runtime/site_store.h"

namespace consilium::site {

struct StorePlace {
  std::string folder;
  // The file of the key-encryption key; empty: as `init` wrote it down, or a systemd credential.
  std::string kek_file = "";
  // Holds the passphrase that opens the key file (passphrase.h); empty: it has none.
  std::string passphrase_file = "";
  // How long a command waits for another one that has the store open: each is done in a moment, but
  // for an agent, which answers once it has started.
  absl::Duration lock_patience = absl::Seconds(10);
};

// Makes key and store; gives what a person should know about how they are protected.
// ALREADY_EXISTS.
absl::StatusOr<std::string> InitStore(const StorePlace& place);

// Each refusal is a sentence of its own; as Database::Open(). UNAVAILABLE where another program
// still has it open when the patience is over.
absl::StatusOr<std::unique_ptr<SiteStore>> OpenStore(const StorePlace& place);

// Joins the federation of the join file. {"site", "federation", "certificate_sha256",
// "signing_key_sha256"}: the fingerprints that a person compares with the aggregator's.
absl::StatusOr<nlohmann::json> EnrolSite(const StorePlace& place, const std::string& join_file);

// Gives what ImportInto() does; `hear`, unless it is null, gets what that tells. A running agent
// ends an import whose asker is gone, and one that it is stopped in (CANCELLED).
// FAILED_PRECONDITION where a live run uses the data set.
absl::StatusOr<nlohmann::json> ImportData(const StorePlace& place, const ImportOptions& options,
                                          const HearProgress& hear = nullptr);

// Each gives the JSON of agent_status.h.
absl::StatusOr<nlohmann::json> ListData(const StorePlace& place);
absl::StatusOr<nlohmann::json> SiteStatus(const StorePlace& place);
absl::StatusOr<nlohmann::json> VerifyAudit(const StorePlace& place);

// The one run that waits with this plan; no hash: every run of the federation, from now on.
absl::Status Approve(const StorePlace& place, const std::optional<Digest>& plan_hash);
// A run by its id. With a hash, only where that is its plan's.
absl::Status ApproveRun(const StorePlace& place, const std::string& run,
                        const std::optional<Digest>& plan_hash);
// Runs are approved one by one again; those that were approved go on.
absl::Status ApproveOneByOne(const StorePlace& place);
// Ends this site's part in a run.
absl::Status Withdraw(const StorePlace& place, const std::string& run);

// {"runs": [...]} as in agent_status.h; one run as in describe_plan.h.
absl::StatusOr<nlohmann::json> ListRuns(const StorePlace& place);
absl::StatusOr<nlohmann::json> ShowRun(const StorePlace& place, const std::string& run);

// Makes `out`, a safetensors file of the caller that nobody else may read, with this site's own
// model of a run; {"run", "site", "file", "version", "kept_with", "bytes"}. ALREADY_EXISTS: nothing
// is replaced. Errors as in personal_export.h and new_file.h.
absl::StatusOr<nlohmann::json> ExportModel(const StorePlace& place, const std::string& run,
                                           const std::string& out);

// {"minimum_count", "all_runs_approved"}, after the change where one is given. It holds from the
// agent's next start.
absl::StatusOr<nlohmann::json> SitePolicy(const StorePlace& place,
                                          const std::optional<uint64_t>& minimum_count);

// Runs the agent until SIGTERM or SIGINT (OK), or until it can not go on (why). To be called before
// there are other threads.
absl::Status RunAgent(const StorePlace& place, Trainer* trainer, const AgentOptions& options);

}  // namespace consilium::site

#endif  // CONSILIUM_SITE_AGENT_RUNTIME_COMMANDS_H_
