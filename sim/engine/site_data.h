// One hospital's table in the simulator: raw rows that satisfy the run's contract, and what a run
// makes of them. The same code as in a real agent (site_agent/ingest) does all of it.
//
// Ownership: values. Threads: as any value.

#ifndef CONSILIUM_SIM_ENGINE_SITE_DATA_H_
#define CONSILIUM_SIM_ENGINE_SITE_DATA_H_

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "consilium/v1/coordination.pb.h"
#include "consilium/v1/run_config.pb.h"
#include "consilium/v1/scenario.pb.h"
#include "models/spec/examples.h"
#include "protocol/core/ids.h"
#include "site_agent/ingest/raw_row.h"

namespace consilium {

struct SiteData {
  std::vector<RawRow> rows;
  std::vector<v1::Split> parts;  // One for each row, by the plan's split or a given one.
  // Where the scenario standardises each site's table by its own training rows.
  std::optional<v1::Standardisation> own;
};

using FederationData = std::map<SiteId, SiteData>;

// The rows of every site of the scenario, split as the plan or its split_file says. Paths of data
// are relative to `folder`, or to where a data set with a name is found (sim/datasets/locate.h) and
// has its SHA-256.
// A row that the contract refuses is left out, as at a hospital's import, with a warning. NOT_FOUND
// says where a missing file comes from, as far as the scenario does.
absl::StatusOr<FederationData> LoadScenarioData(const v1::Scenario& scenario,
                                                const v1::RunPlan& plan, const std::string& folder);

// The same from one CSV or NPZ file a site; refused rows are left out, as at a hospital's import.
absl::StatusOr<FederationData> LoadSiteFiles(const std::map<SiteId, std::string>& files,
                                             const v1::RunPlan& plan);

absl::StatusOr<v1::StatisticsReport> StatisticsOfSite(const v1::RunPlan& plan,
                                                      const SiteData& data);
// As the site sees its patients: with `standardisation`, or its own where it has one.
absl::StatusOr<SplitExamples> EncodeSite(const v1::RunPlan& plan,
                                         const v1::Standardisation& standardisation,
                                         const SiteData& data);
// As one who holds all patients sees them: with `standardisation` in any case.
absl::StatusOr<SplitExamples> EncodePooled(const v1::RunPlan& plan,
                                           const v1::Standardisation& standardisation,
                                           const SiteData& data);
// Adds the examples of `from`; whose rows they are is not kept.
void Append(const Examples& from, Examples& to);

// How many rows lie in a part.
size_t CountPart(const SiteData& data, v1::Split part);

// Means and deviations over these sites' training rows, or the identity where neither the plan nor
// the scenario standardises.
absl::StatusOr<v1::Standardisation> StandardisationOver(const v1::RunPlan& plan,
                                                        const FederationData& data);

}  // namespace consilium

#endif  // CONSILIUM_SIM_ENGINE_SITE_DATA_H_
