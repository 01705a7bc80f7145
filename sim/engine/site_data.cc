#include "sim/engine/site_data.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "models/spec/run_plan.h"
#include "models/spec/standardisation.h"
#include "protocol/core/status_macros.h"
#include "protocol/wire/limits.h"
#include "sim/datasets/named.h"
#include "sim/engine/given_split.h"
#include "sim/engine/table_files.h"
#include "sim/partition/feature_noise.h"
#include "sim/partition/partition.h"
#include "site_agent/ingest/encode.h"
#include "site_agent/ingest/split.h"

namespace consilium {
namespace {

absl::Status Split(const v1::RunPlan& plan, FederationData& data) {
  for (auto& entry : data) {
    CONSILIUM_ASSIGN_OR_RETURN(
        entry.second.parts,
        AssignSplit(plan.config().data().split(), plan.contract().label(), entry.second.rows));
  }
  return absl::OkStatus();
}

// What a partition mixes: times have no classes, but whether an event was observed is one.
double ClassOf(const v1::Label& label, const RawRow& row) {
  if (!label.has_survival()) return row.label;
  return row.label > 0 ? 1 : 0;
}

size_t SitesOf(const v1::Partitioned& source) {
  return std::max({static_cast<size_t>(source.sites()), static_cast<size_t>(source.shares_size()),
                   static_cast<size_t>(source.site_ids_size())});
}

// For each row its site.
absl::StatusOr<std::vector<size_t>> Partition(const v1::Partitioned& source, uint64_t seed,
                                              const v1::Label& label,
                                              const std::vector<RawRow>& rows) {
  std::vector<double> labels;
  for (const RawRow& row : rows) labels.push_back(ClassOf(label, row));
  const size_t sites = SitesOf(source);
  if (source.labels_case() == v1::Partitioned::kShardsPerSite) {
    return PartitionShards(labels, {sites, source.shards_per_site(), seed});
  }
  PartitionOptions options;
  options.shares.assign(source.shares().begin(), source.shares().end());
  if (options.shares.empty()) options.shares = PowerLawShares(sites, source.size_power_law());
  options.alpha = source.dirichlet();
  options.seed = seed;
  return PartitionRows(labels, options);
}

absl::StatusOr<FederationData> DealOut(const v1::Partitioned& source, uint64_t seed,
                                       const v1::RunPlan& plan, const std::string& folder) {
  RowBudget budget;
  CONSILIUM_ASSIGN_OR_RETURN(
      std::vector<RawRow> rows,
      ReadTable({folder, source.file(), source.arrays()}, plan.contract(), budget));
  CONSILIUM_ASSIGN_OR_RETURN(const std::vector<size_t> site_of,
                             Partition(source, seed, plan.contract().label(), rows));
  AddFeatureNoise(plan.contract(),
                  {.level = source.feature_noise(), .sites = SitesOf(source), .seed = seed},
                  site_of, rows);
  std::vector<std::vector<RawRow>> dealt(SitesOf(source));
  for (size_t i = 0; i < site_of.size(); ++i) {
    dealt[site_of[i]].push_back(std::move(rows[i]));
  }
  FederationData data;
  for (size_t i = 0; i < dealt.size(); ++i) {
    const SiteId site(static_cast<int>(i) < source.site_ids_size()
                          ? source.site_ids(static_cast<int>(i))
                          : absl::StrCat("site-", i + 1));
    data[site].rows = std::move(dealt[i]);
  }
  if (data.size() != dealt.size()) {
    return absl::InvalidArgumentError("dataset.partitioned.site_ids: two sites have one name");
  }
  return data;
}

absl::StatusOr<FederationData> ReadTables(const std::map<SiteId, TableSource>& tables,
                                          const v1::RunPlan& plan) {
  FederationData data;
  RowBudget budget;
  for (const auto& entry : tables) {
    CONSILIUM_ASSIGN_OR_RETURN(data[entry.first].rows,
                               ReadTable(entry.second, plan.contract(), budget));
  }
  return data;
}

absl::StatusOr<FederationData> ReadTogether(const v1::Dataset& dataset, const v1::RunPlan& plan,
                                            const std::string& folder) {
  const v1::Together& source = dataset.together();
  const TableSource table = {folder, source.file(), source.arrays()};
  RowBudget budget;
  if (source.site_column().empty()) {
    if (dataset.split_file().empty()) {
      return absl::InvalidArgumentError(
          "dataset.together: nothing tells whose a row is; name a site_column or a split_file");
    }
    CONSILIUM_ASSIGN_OR_RETURN(const GivenSplit given, GivenSplit::Read(dataset.split_file()));
    CONSILIUM_ASSIGN_OR_RETURN(std::vector<RawRow> rows, ReadTable(table, plan.contract(), budget));
    return given.DealOut(std::move(rows));
  }
  CONSILIUM_ASSIGN_OR_RETURN(auto by_site,
                             ReadTableBySite(table, source.site_column(), plan.contract(), budget));
  FederationData data;
  for (auto& entry : by_site) data[entry.first].rows = std::move(entry.second);
  return data;
}

// The rows of all sites, not split yet unless the split says whose they are.
absl::StatusOr<FederationData> ReadRows(const v1::Scenario& scenario, const v1::RunPlan& plan,
                                        const std::string& folder) {
  const v1::Dataset& dataset = scenario.dataset();
  if (dataset.has_partitioned()) {
    return DealOut(dataset.partitioned(), scenario.seed(), plan, folder);
  }
  if (dataset.has_together()) return ReadTogether(dataset, plan, folder);
  std::map<SiteId, TableSource> tables;
  for (const v1::SiteFile& site : dataset.natural().sites()) {
    tables[SiteId(site.site_id())] = {folder, site.file(), site.arrays()};
  }
  if (tables.empty()) {
    return absl::InvalidArgumentError(
        "dataset: name the sites' files (natural), one file to deal out (partitioned), or one that "
        "tells whose each row is (together)");
  }
  return ReadTables(tables, plan);
}

// Means and deviations (n − 1) of every feature over the training rows, one-hot ones too, of what
// the model would see unstandardised.
absl::StatusOr<v1::Standardisation> MomentsOver(const v1::RunPlan& plan,
                                                const std::vector<const SiteData*>& sites) {
  Examples train;
  for (const SiteData* site : sites) {
    CONSILIUM_ASSIGN_OR_RETURN(const SplitExamples examples, EncodePooled(plan, {}, *site));
    Append(examples.train, train);
  }
  v1::Standardisation moments;
  const double n = static_cast<double>(train.count());
  for (size_t f = 0; f < train.features; ++f) {
    double sum = 0;
    for (size_t i = 0; i < train.count(); ++i) sum += train.row(i)[f];
    const double mean = n > 0 ? sum / n : 0;
    double squares = 0;
    for (size_t i = 0; i < train.count(); ++i) {
      squares += (train.row(i)[f] - mean) * (train.row(i)[f] - mean);
    }
    const double deviation = n > 1 ? std::sqrt(squares / (n - 1)) : 0;
    moments.add_means(mean);
    moments.add_deviations(deviation > 0 ? deviation : 1);
  }
  return moments;
}

absl::StatusOr<FederationData> LoadFrom(const v1::Scenario& scenario, const v1::RunPlan& plan,
                                        const std::string& data_folder) {
  const v1::Dataset& dataset = scenario.dataset();
  CONSILIUM_ASSIGN_OR_RETURN(const std::string folder, FolderOfFiles(dataset, data_folder));
  CONSILIUM_ASSIGN_OR_RETURN(FederationData data, ReadRows(scenario, plan, folder));
  if (data.size() > limits::kSitesMax) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "dataset: the rows are of ", data.size(), " sites; there are up to ", limits::kSitesMax));
  }
  if (dataset.split_file().empty()) {
    CONSILIUM_RETURN_IF_ERROR(Split(plan, data));
  } else {
    CONSILIUM_ASSIGN_OR_RETURN(const GivenSplit given, GivenSplit::Read(dataset.split_file()));
    CONSILIUM_RETURN_IF_ERROR(given.Divide(data));
  }
  if (dataset.site_tables() != v1::Dataset::STANDARDISED) return data;
  if (plan.config().data().standardise() != v1::DataConfig::NONE) {
    return absl::InvalidArgumentError(
        "dataset.site_tables: STANDARDISED needs data.standardise NONE in the run config, or "
        "numbers are standardised twice");
  }
  for (auto& entry : data) {
    CONSILIUM_ASSIGN_OR_RETURN(entry.second.own, MomentsOver(plan, {&entry.second}));
  }
  return data;
}

}  // namespace

absl::StatusOr<FederationData> LoadScenarioData(const v1::Scenario& scenario,
                                                const v1::RunPlan& plan,
                                                const std::string& folder) {
  absl::StatusOr<FederationData> data = LoadFrom(scenario, plan, folder);
  if (!absl::IsNotFound(data.status())) return data;
  std::string message =
      absl::StrCat(data.status().message(), "; --data FOLDER says where the scenario's files lie");
  if (!scenario.dataset().origin().empty()) {
    absl::StrAppend(&message, " (", scenario.dataset().origin(), ")");
  }
  return absl::NotFoundError(message);
}

absl::StatusOr<FederationData> LoadSiteFiles(const std::map<SiteId, std::string>& files,
                                             const v1::RunPlan& plan) {
  std::map<SiteId, TableSource> tables;
  for (const auto& entry : files)
    tables[entry.first] = {.folder = "", .file = entry.second, .arrays = {}};
  CONSILIUM_ASSIGN_OR_RETURN(FederationData data, ReadTables(tables, plan));
  CONSILIUM_RETURN_IF_ERROR(Split(plan, data));
  return data;
}

absl::StatusOr<v1::StatisticsReport> StatisticsOfSite(const v1::RunPlan& plan,
                                                      const SiteData& data) {
  return StatisticsOf(plan.contract(), SplitRows{data.rows, data.parts});
}

absl::StatusOr<SplitExamples> EncodeSite(const v1::RunPlan& plan,
                                         const v1::Standardisation& standardisation,
                                         const SiteData& data) {
  return EncodePooled(plan, data.own.has_value() ? *data.own : standardisation, data);
}

absl::StatusOr<SplitExamples> EncodePooled(const v1::RunPlan& plan,
                                           const v1::Standardisation& standardisation,
                                           const SiteData& data) {
  return EncodeRows(plan.contract(), standardisation, SplitRows{data.rows, data.parts});
}

void Append(const Examples& from, Examples& to) {
  to.features = from.features;
  to.values.insert(to.values.end(), from.values.begin(), from.values.end());
  to.labels.insert(to.labels.end(), from.labels.begin(), from.labels.end());
}

size_t CountPart(const SiteData& data, v1::Split part) {
  return static_cast<size_t>(std::count(data.parts.begin(), data.parts.end(), part));
}

absl::StatusOr<v1::Standardisation> StandardisationOver(const v1::RunPlan& plan,
                                                        const FederationData& data) {
  std::vector<const SiteData*> standardised;
  for (const auto& entry : data) {
    if (entry.second.own.has_value()) standardised.push_back(&entry.second);
  }
  if (!standardised.empty()) return MomentsOver(plan, standardised);
  if (plan.config().data().standardise() != v1::DataConfig::FEDERATED) {
    v1::Standardisation identity;
    for (size_t i = 0; i < FeatureCount(plan.contract()); ++i) {
      identity.add_means(0);
      identity.add_deviations(1);
    }
    return identity;
  }
  std::map<SiteId, v1::StatisticsReport> reports;
  for (const auto& [site, site_data] : data) {
    CONSILIUM_ASSIGN_OR_RETURN(reports[site], StatisticsOfSite(plan, site_data));
  }
  return FoldStatistics(plan.contract(), reports);
}

}  // namespace consilium
