// The data sets of a SiteStore: rows sealed under a key of their own.

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "models/spec/plan_defaults.h"
#include "privacy/at_rest/aead.h"
#include "protocol/core/status_macros.h"
#include "protocol/wire/hash.h"
#include "protocol/wire/text_format.h"
#include "site_agent/ingest/row_codec.h"
#include "site_agent/runtime/site_store.h"

namespace consilium::site {
namespace {

constexpr absl::string_view kDatasetKeys = "dataset/";

std::string KeyNameOf(int64_t dataset) { return absl::StrCat(kDatasetKeys, dataset); }

// What a sealed row is bound to, besides its key: a row can not stand for another one, nor one
// data set's for another's.
struct RowPlace {
  int64_t dataset = 0;
  int64_t row = 0;
};
std::string AadOf(const RowPlace& place) {
  return absl::StrCat("consilium.site.row.v1/", place.dataset, "/", place.row);
}

std::span<const uint8_t> SpanOf(absl::string_view bytes) {
  return {reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()};
}

absl::Status CheckDatasetName(absl::string_view name) {
  bool good = !name.empty() && name.size() <= limits::kNameCharsMax;
  for (const char c : name) {
    good = good && ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_');
  }
  if (good) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("a data set's name has 1 to ",
                                                 limits::kNameCharsMax,
                                                 " characters of a-z, 0-9, '-' and '_'"));
}

absl::StatusOr<DatasetInfo> DatasetOf(const Statement& row) {
  DatasetInfo dataset;
  dataset.id = row.ColumnInt64(0);
  dataset.name = std::string(row.ColumnText(1));
  const std::span<const uint8_t> contract = row.ColumnBlob(2);
  if (!dataset.contract.ParseFromArray(contract.data(), static_cast<int>(contract.size()))) {
    return absl::DataLossError(
        absl::StrCat("the contract of data set ", dataset.name, " can not be read back"));
  }
  CONSILIUM_ASSIGN_OR_RETURN(dataset.contract_hash, row.ColumnDigest(3));
  dataset.rows = static_cast<uint64_t>(row.ColumnInt64(4));
  dataset.rows_refused = static_cast<uint64_t>(row.ColumnInt64(5));
  dataset.imported = absl::FromUnixNanos(row.ColumnInt64(6));
  return dataset;
}

}  // namespace

v1::DataContract ResolvedContract(const v1::DataContract& contract) {
  v1::RunPlan plan;
  *plan.mutable_contract() = contract;
  FillPlanDefaults(plan);
  return plan.contract();
}

Digest ContractHash(const v1::DataContract& resolved) {
  return FieldHasher("consilium.contract.v1")
      .Add(absl::string_view(DeterministicBytes(resolved)))
      .Finish();
}

absl::StatusOr<int64_t> SiteStore::InsertDataset(const std::string& name,
                                                 const v1::DataContract& contract) {
  // The rows of the old one go with it; its key is shredded once this is durable.
  for (const char* sql :
       {"DELETE FROM example WHERE dataset IN (SELECT id FROM dataset WHERE name = ?1)",
        "DELETE FROM dataset WHERE name = ?1"}) {
    CONSILIUM_ASSIGN_OR_RETURN(Statement remove, database_->Prepare(sql));
    CONSILIUM_RETURN_IF_ERROR(remove.Bind(name).Run());
  }
  CONSILIUM_ASSIGN_OR_RETURN(
      Statement insert,
      database_->Prepare("INSERT INTO dataset (name, contract, contract_hash, rows, rows_refused, "
                         "imported_unix_ns) VALUES (?1, ?2, ?3, 0, 0, ?4)"));
  CONSILIUM_RETURN_IF_ERROR(insert
                                .Bind(name, SpanOf(DeterministicBytes(contract)),
                                      ContractHash(contract), absl::ToUnixNanos(absl::Now()))
                                .Run());
  return database_->last_insert_rowid();
}

absl::StatusOr<ImportReport> SiteStore::StoreRows(int64_t dataset, Import import) {
  CONSILIUM_ASSIGN_OR_RETURN(const SecretBytes key,
                             database_->keys()->GetOrCreate(KeyNameOf(dataset)));
  CONSILIUM_ASSIGN_OR_RETURN(Aead aead, Aead::Create(key));
  CONSILIUM_ASSIGN_OR_RETURN(
      Statement insert,
      database_->Prepare("INSERT INTO example (dataset, row, sealed) VALUES (?1, ?2, ?3)"));
  RowPlace place{.dataset = dataset, .row = 0};
  const RowSink sink = [&](const RawRow& row) -> absl::Status {
    const std::string aad = AadOf(place);
    CONSILIUM_ASSIGN_OR_RETURN(const std::vector<uint8_t> sealed,
                               aead.Seal({.aad = aad, .text = SpanOf(EncodeRow(row))}));
    CONSILIUM_RETURN_IF_ERROR(insert.Bind(dataset, place.row, sealed).Run());
    ++place.row;
    return absl::OkStatus();
  };
  return import(sink);
}

absl::StatusOr<ImportReport> SiteStore::ReplaceDataset(const std::string& name,
                                                       const v1::DataContract& contract,
                                                       Import import) {
  CONSILIUM_RETURN_IF_ERROR(CheckDatasetName(name));
  absl::MutexLock lock(&mu_);
  absl::StatusOr<ImportReport> report = [&]() -> absl::StatusOr<ImportReport> {
    mu_.AssertHeld();
    CONSILIUM_ASSIGN_OR_RETURN(Transaction transaction, database_->Begin());
    CONSILIUM_ASSIGN_OR_RETURN(const int64_t dataset,
                               InsertDataset(name, ResolvedContract(contract)));
    CONSILIUM_ASSIGN_OR_RETURN(ImportReport stored, StoreRows(dataset, import));
    CONSILIUM_ASSIGN_OR_RETURN(
        Statement update,
        database_->Prepare("UPDATE dataset SET rows = ?2, rows_refused = ?3 WHERE id = ?1"));
    CONSILIUM_RETURN_IF_ERROR(update.Bind(dataset, stored.rows_stored, stored.rows_refused).Run());
    CONSILIUM_RETURN_IF_ERROR(transaction.Commit());
    return stored;
  }();
  // The old data set's key, or that of the one that did not come to be.
  CONSILIUM_RETURN_IF_ERROR(ShredOrphanKeys());
  return report;
}

absl::StatusOr<std::vector<DatasetInfo>> SiteStore::Datasets() {
  absl::MutexLock lock(&mu_);
  CONSILIUM_ASSIGN_OR_RETURN(
      Statement select,
      database_->Prepare("SELECT id, name, contract, contract_hash, rows, rows_refused, "
                         "imported_unix_ns FROM dataset ORDER BY name"));
  std::vector<DatasetInfo> datasets;
  CONSILIUM_ASSIGN_OR_RETURN(bool more, select.Bind().Step());
  while (more) {
    CONSILIUM_ASSIGN_OR_RETURN(DatasetInfo dataset, DatasetOf(select));
    datasets.push_back(std::move(dataset));
    CONSILIUM_ASSIGN_OR_RETURN(more, select.Step());
  }
  return datasets;
}

absl::StatusOr<std::vector<RawRow>> SiteStore::ReadRows(const DatasetInfo& dataset) {
  absl::StatusOr<SecretBytes> key = [&] {
    absl::MutexLock lock(&mu_);
    return database_->keys()->Get(KeyNameOf(dataset.id));
  }();
  CONSILIUM_RETURN_IF_ERROR(key.status());
  CONSILIUM_ASSIGN_OR_RETURN(Aead aead, Aead::Create(*key));

  absl::MutexLock lock(&reader_mu_);
  CONSILIUM_ASSIGN_OR_RETURN(
      Statement select,
      reader_->Prepare("SELECT row, sealed FROM example WHERE dataset = ?1 ORDER BY row"));
  std::vector<RawRow> rows;
  rows.reserve(dataset.rows);
  CONSILIUM_ASSIGN_OR_RETURN(bool more, select.Bind(dataset.id).Step());
  while (more) {
    const RowPlace place{.dataset = dataset.id, .row = static_cast<int64_t>(rows.size())};
    const std::string aad = AadOf(place);
    absl::StatusOr<std::vector<uint8_t>> text =
        aead.Open({.aad = aad, .text = select.ColumnBlob(1)});
    if (!text.ok()) {
      return absl::DataLossError(
          absl::StrCat("row ", place.row, " of data set ", dataset.name,
                       " is not the one that was stored there: ", text.status().message()));
    }
    CONSILIUM_ASSIGN_OR_RETURN(
        RawRow row,
        DecodeRow(absl::string_view(reinterpret_cast<const char*>(text->data()), text->size())));
    rows.push_back(std::move(row));
    CONSILIUM_ASSIGN_OR_RETURN(more, select.Step());
  }
  if (rows.size() != dataset.rows) {
    return absl::DataLossError(absl::StrCat("data set ", dataset.name, " has ", rows.size(),
                                            " rows, and had ", dataset.rows,
                                            " when it was stored"));
  }
  return rows;
}

absl::Status SiteStore::ShredOrphanKeys() {
  for (const std::string& name : database_->keys()->Names()) {
    if (!absl::StartsWith(name, kDatasetKeys)) continue;
    CONSILIUM_ASSIGN_OR_RETURN(Statement select,
                               database_->Prepare("SELECT 1 FROM dataset WHERE ?1 || id = ?2"));
    CONSILIUM_ASSIGN_OR_RETURN(const bool used, select.Bind(kDatasetKeys, name).Step());
    if (!used) CONSILIUM_RETURN_IF_ERROR(database_->keys()->Remove(name));
  }
  return absl::OkStatus();
}

}  // namespace consilium::site
