// What a person or a script may know about a site, as JSON: the bodies of `status`, `data list`
// and `audit`. No rows, no secrets.
//
// Threads: any.

#ifndef CONSILIUM_SITE_AGENT_RUNTIME_AGENT_STATUS_H_
#define CONSILIUM_SITE_AGENT_RUNTIME_AGENT_STATUS_H_

#include <nlohmann/json_fwd.hpp>

#include "absl/status/statusor.h"
#include "site_agent/core/engine.h"
#include "site_agent/ingest/csv_import.h"
#include "site_agent/runtime/site_store.h"

namespace consilium::site {

// {"site", "federation", "aggregator", "certificate_expired", "certificate_not_after",
// "certificate_sha256", "certificate_error", "refused_for_good", "refused_for_good_why"}: an error
// where the certificate has expired, with what to do, or can not be read, and then without the two
// before it; the last two where the aggregator will not have this site any more.
nlohmann::json DescribeSite(SiteStore& store, const SiteIdentity& identity);

// [{"run", "plan_sha256", "state", "tasks": {phase: count}, "receipts": [...], ...}]; the state is
// waits_for_approval, waits_for_data (then with "missing_data"), approved, running, ended, refused
// (then with "refusal") or withdrawn, and a receipt is
// {"task", "update_sha256", "phase", "accepted_sequence", "ending", "version", "coefficient"}.
nlohmann::json DescribeRuns(const SiteEngine& engine);

// {"datasets": [{"name", "contract", "contract_sha256", "rows", "rows_refused", "imported"}]}
absl::StatusOr<nlohmann::json> DescribeDatasets(SiteStore& store);

// Checks the chain; {"rows", "head_sha256", "releases": {kind: {"count", "bytes"}}, "policy":
// [...]}. A change of the policy is {"time", "change", "run", "plan_sha256", "minimum_count"}, as
// it has them.
absl::StatusOr<nlohmann::json> Audit(SiteStore& store);

// {"rows_read", "rows_stored", "rows_refused", "refusals": [{"line", "column", "reason"}]}
nlohmann::json DescribeImport(const ImportReport& report);

}  // namespace consilium::site

#endif  // CONSILIUM_SITE_AGENT_RUNTIME_AGENT_STATUS_H_
