#include "models/spec/zeno_checks.h"

#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "protocol/wire/identity.h"

namespace consilium {
namespace {

using Config = v1::AggregationConfig;

constexpr char kPath[] = "aggregation.transform.zeno";
// arXiv:1903.07020, experiments.
constexpr double kGamma = 0.1;
constexpr double kRho = 0.002;

void CheckValidator(const std::string& validator, const v1::ParticipationConfig& participation,
                    Complaints& complaints) {
  const std::string path = absl::StrCat(kPath, ".validator");
  if (validator.empty()) {
    complaints.Add(path,
                   "must name a site with ZENO: its updates are what the others' are scored by");
    return;
  }
  if (const absl::Status legal = CheckSiteId(validator); !legal.ok()) {
    complaints.Add(path, absl::StrCat("is no site id: ", legal.message()));
    return;
  }
  if (participation.sites().empty()) return;
  complaints.Require(std::find(participation.sites().begin(), participation.sites().end(),
                               validator) != participation.sites().end(),
                     path, "must be one of participation.sites");
  complaints.Require(participation.sites_size() > 1, "participation.sites",
                     "must have a site beside the validator, whose own updates are in no version");
}

}  // namespace

void FillZeno(Config& config) {
  if (config.preset() != Config::ZENO) return;
  v1::ZenoScore& zeno = *config.mutable_transform()->mutable_zeno();
  if (zeno.gamma() == 0) zeno.set_gamma(kGamma);
  if (zeno.rho() == 0) zeno.set_rho(kRho);
}

void CheckZeno(const v1::RunConfig& config, Complaints& complaints) {
  const Config& aggregation = config.aggregation();
  const v1::Transform& transform = aggregation.transform();
  if (aggregation.preset() != Config::ZENO) {
    complaints.Require(!transform.has_zeno(), kPath, "belongs to ZENO only");
    return;
  }
  const v1::ZenoScore& zeno = transform.zeno();
  CheckValidator(zeno.validator(), config.participation(), complaints);
  complaints.Require(IsPositive(zeno.gamma()), absl::StrCat(kPath, ".gamma"), "must be above 0");
  complaints.Require(IsPositive(zeno.rho()), absl::StrCat(kPath, ".rho"), "must be above 0");
  complaints.Require(IsNotNegative(zeno.epsilon()), absl::StrCat(kPath, ".epsilon"),
                     "must be 0 or more");
  complaints.Require(transform.clip_norm() == 0, "aggregation.transform.clip_norm",
                     "has no place in ZENO, which makes every update as long as the validator's; "
                     "remove it");
}

}  // namespace consilium
