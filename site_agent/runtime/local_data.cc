#include "site_agent/runtime/local_data.h"

#include <algorithm>
#include <functional>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "models/spec/local_steps.h"
#include "models/spec/standardisation.h"
#include "protocol/core/status_macros.h"
#include "protocol/wire/identity.h"
#include "protocol/wire/reasons.h"
#include "site_agent/core/interval_patients.h"
#include "site_agent/core/release_rules.h"
#include "site_agent/ingest/encode.h"
#include "site_agent/ingest/split.h"

namespace consilium::site {
namespace {

absl::StatusOr<DatasetInfo> FindDataset(SiteStore& store, const v1::DataContract& contract) {
  CONSILIUM_ASSIGN_OR_RETURN(std::vector<DatasetInfo> datasets, store.Datasets());
  const Digest wanted = ContractHash(contract);
  const DatasetInfo* found = nullptr;
  for (const DatasetInfo& dataset : datasets) {
    if (dataset.contract_hash != wanted) continue;
    if (found != nullptr) {
      return Refusal(v1::NO_DATASET, absl::StrCat("data sets ", found->name, " and ", dataset.name,
                                                  " were both imported under contract ",
                                                  contract.name(), ": one of them must go"));
    }
    found = &dataset;
  }
  if (found != nullptr) return *found;
  for (const DatasetInfo& dataset : datasets) {
    if (dataset.contract.name() != contract.name()) continue;
    return Refusal(v1::NO_DATASET,
                   absl::StrCat("data set ", dataset.name,
                                " was imported under another text of "
                                "contract ",
                                contract.name(), ": import it again with the run's"));
  }
  return Refusal(v1::NO_DATASET,
                 absl::StrCat("no data set was imported under contract ", contract.name(),
                              " yet: import it (consilium-agent data import)"));
}

}  // namespace

absl::Status LocalData::Load(const v1::RunPlan& plan) {
  const Digest plan_hash = PlanHash(plan);
  CONSILIUM_ASSIGN_OR_RETURN(const DatasetInfo dataset, FindDataset(*store_, plan.contract()));
  // A data set that took another one's place has another id.
  if (rows_.has_value() && rows_->plan_hash == plan_hash && rows_->dataset == dataset.id) {
    return absl::OkStatus();
  }
  Forget();
  Rows loaded;
  loaded.plan_hash = plan_hash;
  loaded.dataset = dataset.id;
  CONSILIUM_ASSIGN_OR_RETURN(loaded.rows, store_->ReadRows(dataset));
  CONSILIUM_ASSIGN_OR_RETURN(loaded.parts, AssignSplit(plan.config().data().split(),
                                                       plan.contract().label(), loaded.rows));
  rows_ = std::move(loaded);
  return absl::OkStatus();
}

absl::StatusOr<TrainingPart> LocalData::Training(const v1::RunPlan& plan) {
  CONSILIUM_RETURN_IF_ERROR(Load(plan));
  absl::flat_hash_map<absl::string_view, uint64_t> rows_of;
  TrainingPart part;
  for (size_t i = 0; i < rows_->rows.size(); ++i) {
    if (rows_->parts[i] != v1::TRAIN) continue;
    ++part.examples;
    ++rows_of[rows_->rows[i].patient_id];
  }
  part.patients = rows_of.size();
  std::vector<uint64_t> most_first;
  for (const auto& [patient, rows] : rows_of) most_first.push_back(rows);
  std::sort(most_first.begin(), most_first.end(), std::greater<>());
  const v1::TrainingConfig& training = plan.config().training();
  const uint64_t steps_min = LocalStepsOf(plan.config()).min;
  uint64_t left = std::min(part.examples, training.batch_examples() * steps_min);
  for (const uint64_t rows : most_first) {
    if (left == 0) break;
    left -= std::min(left, rows);
    ++part.patients_per_update_min;
  }
  CONSILIUM_ASSIGN_OR_RETURN(const Examples labels, TrainingLabels({rows_->rows, rows_->parts}));
  part.patients_per_interval = PatientsPerInterval(plan, labels);
  return part;
}

absl::StatusOr<std::vector<MeasuredSet>> LocalData::MeasuredSets(const v1::RunPlan& plan,
                                                                 uint64_t minimum_count) {
  CONSILIUM_RETURN_IF_ERROR(Load(plan));
  CONSILIUM_ASSIGN_OR_RETURN(const SecretBytes key, store_->StatisticsKey());
  return MeasuredSetsOf(plan.contract(), {.rows = rows_->rows, .parts = rows_->parts}, key.span(),
                        minimum_count);
}

absl::StatusOr<v1::StatisticsReport> LocalData::Statistics(const v1::RunPlan& plan,
                                                           uint64_t minimum_count) {
  CONSILIUM_RETURN_IF_ERROR(Load(plan));
  const SplitRows input = {.rows = rows_->rows, .parts = rows_->parts};
  CONSILIUM_ASSIGN_OR_RETURN(v1::StatisticsReport report, StatisticsOf(plan.contract(), input));
  CONSILIUM_ASSIGN_OR_RETURN(const std::vector<uint64_t> patients,
                             PatientsPerFeature(plan.contract(), input));
  WithholdSmallCounts(minimum_count, patients, report);
  return report;
}

absl::StatusOr<const SplitExamples*> LocalData::Encoded(
    const v1::RunPlan& plan, const v1::Standardisation& standardisation) {
  const Digest plan_hash = PlanHash(plan);
  const Digest standardisation_hash = StandardisationHash(standardisation);
  CONSILIUM_RETURN_IF_ERROR(Load(plan));
  if (!encoding_.has_value() || encoding_->plan_hash != plan_hash ||
      encoding_->standardisation_hash != standardisation_hash) {
    CONSILIUM_ASSIGN_OR_RETURN(
        SplitExamples examples,
        EncodeRows(plan.contract(), standardisation, {.rows = rows_->rows, .parts = rows_->parts}));
    encoding_ = Encoding{plan_hash, standardisation_hash, std::move(examples)};
  }
  return &encoding_->examples;
}

void LocalData::Forget() {
  rows_.reset();
  encoding_.reset();
}

}  // namespace consilium::site
