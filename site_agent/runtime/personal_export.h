// `consilium-agent model export`: the hospital's own model of a run, as a file of its own.
//
// Threads: any.

#ifndef CONSILIUM_SITE_AGENT_RUNTIME_PERSONAL_EXPORT_H_
#define CONSILIUM_SITE_AGENT_RUNTIME_PERSONAL_EXPORT_H_

#include <memory>
#include <nlohmann/json_fwd.hpp>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "consilium/v1/run_config.pb.h"
#include "models/spec/preset_traits.h"
#include "privacy/at_rest/hash_chain.h"
#include "protocol/core/ids.h"
#include "site_agent/core/engine.h"
#include "site_agent/runtime/site_store.h"

namespace consilium::site {

// Where the parts of it lie in the store.
struct PersonalParts {
  RunId run;
  SiteKeeps keeps = SiteKeeps::kNothing;
  Digest plan_hash = {};
  std::shared_ptr<const v1::RunPlan> plan;  // Empty where the run is over: the journal has it.
  Version version;       // The result; while the run goes on, the newest that is here.
  Digest model_id = {};  // Of it.
  Digest update = {};    // The site's own that what it keeps was made with.
  Version kept_with;     // The version that includes that.
};

// NOT_FOUND: no such run here. FAILED_PRECONDITION: it leaves the site no model of its own, no
// version includes an update of this site yet, or the shared version is not here.
absl::StatusOr<PersonalParts> FindPersonalParts(const SiteEngine& engine, const RunId& run);

using JournalVisit = absl::FunctionRef<absl::Status(const ChainRow&)>;

// The plan that the run was offered with, out of the journal that `read` reads (as
// SiteStore::ReadJournal), no further than to it. DATA_LOSS where it is not there; the errors of
// `read`.
absl::StatusOr<v1::RunPlan> OfferedPlan(absl::FunctionRef<absl::Status(JournalVisit)> read,
                                        const RunId& run, const Digest& plan_hash);

// Writes it to the open `file` as a safetensors file and tells {"run", "site", "version",
// "kept_with"}; the journal tells of it before. NOT_FOUND where a part has been replaced since;
// nothing is written then. Errors of the system.
absl::StatusOr<nlohmann::json> WritePersonalModel(SiteStore& store, const PersonalParts& parts,
                                                  const SiteId& site, int file);

}  // namespace consilium::site

#endif  // CONSILIUM_SITE_AGENT_RUNTIME_PERSONAL_EXPORT_H_
