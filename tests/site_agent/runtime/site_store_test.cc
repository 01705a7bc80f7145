#include "site_agent/runtime/site_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "privacy/at_rest/key_ring.h"
#include "protocol/core/files.h"
#include "protocol/wire/hash.h"
#include "site_agent/core/release_rules.h"
#include "site_agent/runtime/agent_status.h"
#include "site_agent/runtime/site_schema.h"
#include "tests/site_agent/runtime/site_fixture.h"

namespace consilium::site {
namespace {

using absl::StatusCode;

class SiteStoreTest : public SiteFixture {
 protected:
  DatabaseOptions Options() const {
    return {.path = StoreFolder() + "/site.db",
            .application_id = kSiteApplicationId,
            .kind = "a hospital's store",
            .migrations = SiteMigrations()};
  }

  // As one who holds the key could.
  void Tamper(const std::string& sql) {
    absl::StatusOr<std::unique_ptr<Database>> database = Database::Open(kek_, Options());
    ASSERT_THAT(database, IsOk());
    ASSERT_THAT((*database)->Execute(sql), IsOk());
  }

  static std::vector<double> ValuesOf(SiteStore& store) {
    std::vector<double> values;
    const auto datasets = store.Datasets();
    EXPECT_THAT(datasets, IsOk());
    const auto rows = store.ReadRows(datasets->at(0));
    EXPECT_THAT(rows, IsOk());
    for (const RawRow& row : *rows) values.push_back(row.values.at(0));
    return values;
  }
};

TEST_F(SiteStoreTest, KeepsIdentityLeasesAndCounters) {
  const Enrolment enrolment = SomeEnrolment();
  {
    auto store = Create();
    EXPECT_FALSE(store->is_enrolled());
    EXPECT_THAT(store->Identity(), IsError(StatusCode::kFailedPrecondition, "enrol"));
    ASSERT_THAT(store->PutEnrolment(enrolment), IsOk());
    EXPECT_EQ(store->NextIncarnation()->value(), 1u);
  }
  auto store = Open();
  const auto identity = store->Identity();
  ASSERT_THAT(identity, IsOk());
  EXPECT_EQ(identity->site, SiteId("cleveland"));
  EXPECT_EQ(identity->aggregator_key, enrolment.identity.aggregator_key);
  EXPECT_EQ(store->NextIncarnation()->value(), 2u);
  const auto leases = store->Leases();
  ASSERT_THAT(leases, IsOk());
  EXPECT_TRUE(std::ranges::equal(leases->current.span(), enrolment.initial_lease.span()));
  EXPECT_TRUE(leases->next.empty());
}

TEST_F(SiteStoreTest, IsOneSitesStore) {
  auto store = Create();
  ASSERT_THAT(store->PutEnrolment(SomeEnrolment()), IsOk());
  EXPECT_THAT(store->PutEnrolment(SomeEnrolment()), IsOk());
  EXPECT_THAT(store->PutEnrolment(SomeEnrolment("zurich")),
              IsError(StatusCode::kFailedPrecondition, "another identity needs another store"));
  EXPECT_EQ(store->Identity()->site, SiteId("cleveland"));
}

TEST_F(SiteStoreTest, RefusesWhatItShouldNotOpen) {
  Create();
  const std::string path = Options().path;
  EXPECT_THAT(SiteStore::Open(*Kek::Random(), StoreFolder()),
              IsError(StatusCode::kFailedPrecondition, "wrapped by the KEK"));
  {
    auto held = Open();
    EXPECT_THAT(SiteStore::Open(kek_, StoreFolder()),
                IsError(StatusCode::kUnavailable, "is open already"));
  }
  chmod(path.c_str(), 0644);
  EXPECT_THAT(SiteStore::Open(kek_, StoreFolder()),
              IsError(StatusCode::kFailedPrecondition, "chmod 600"));
  chmod(path.c_str(), 0600);
  Tamper("PRAGMA user_version = 99");
  EXPECT_THAT(SiteStore::Open(kek_, StoreFolder()),
              IsError(StatusCode::kFailedPrecondition, "newer"));
  ASSERT_THAT(WriteFileDurably(path, std::string("SQLite format 3\0 and more of it", 31)), IsOk());
  EXPECT_THAT(SiteStore::Open(kek_, StoreFolder()),
              IsError(StatusCode::kFailedPrecondition, "not encrypted"));
}

TEST_F(SiteStoreTest, ApprovesNothingByItself) {
  auto store = Create();
  const Digest plan = Sha256Of("one");
  const Digest other_plan = Sha256Of("other");
  const RunId run("heart-1");
  const RunId other("heart-2");
  EXPECT_FALSE(*store->IsApproved(run, plan));
  ASSERT_THAT(store->ApproveRun(run, plan), IsOk());
  EXPECT_TRUE(*store->IsApproved(run, plan));
  // Neither the same plan under another name, nor another plan under the same.
  EXPECT_FALSE(*store->IsApproved(other, plan));
  EXPECT_FALSE(*store->IsApproved(run, other_plan));
  ASSERT_THAT(store->SetAllRuns(AllRuns::kApproved), IsOk());
  EXPECT_TRUE(*store->IsApproved(other, other_plan));
  ASSERT_THAT(store->SetAllRuns(AllRuns::kOneByOne), IsOk());
  EXPECT_FALSE(*store->IsApproved(other, other_plan));
  EXPECT_TRUE(*store->IsApproved(run, plan));
  ASSERT_THAT(store->WithdrawRun(run), IsOk());
  EXPECT_FALSE(*store->IsApproved(run, plan));
  ASSERT_THAT(store->RecordExport(other, Version(7)), IsOk());

  std::vector<std::string> changes;
  ASSERT_THAT(store->ReadJournal([&](const ChainRow& row) {
    v1::SiteJournalEntry entry;
    EXPECT_TRUE(entry.ParseFromArray(row.payload.data(), static_cast<int>(row.payload.size())));
    changes.push_back(v1::SiteJournalEntry::Policy::Change_Name(entry.policy().change()) + " " +
                      entry.policy().run_id());
    return absl::OkStatus();
  }),
              IsOk());
  EXPECT_EQ(changes, (std::vector<std::string>{"RUN_APPROVED heart-1", "ALL_RUNS_APPROVED ",
                                               "ALL_RUNS_TAKEN_BACK ", "RUN_WITHDRAWN heart-1",
                                               "MODEL_EXPORTED heart-2"}));
  const auto audit = Audit(*store);
  ASSERT_THAT(audit, IsOk());
  EXPECT_EQ(audit->at("policy").back().at("version"), 7);
}

TEST_F(SiteStoreTest, TheMinimumCountStaysAndIsNotOne) {
  {
    auto store = Create();
    EXPECT_EQ(*store->MinimumCount(), kMinimumCountDefault);
    for (const uint64_t count : {0, 1}) {
      EXPECT_THAT(store->SetMinimumCount(count), IsError(StatusCode::kInvalidArgument, "at least"));
    }
    EXPECT_EQ(store->VerifyJournal()->sequence, Sequence(0));
    ASSERT_THAT(store->SetMinimumCount(12), IsOk());
    EXPECT_EQ(store->VerifyJournal()->sequence, Sequence(1));
  }
  EXPECT_EQ(*Open()->MinimumCount(), 12u);
}

TEST_F(SiteStoreTest, SumsOverNearlyTheSamePatientsStay) {
  const auto set = [](uint64_t first, uint64_t last) {
    MeasuredSet made = {"age", {}};
    for (uint64_t i = first; i < last; ++i) made.patients.push_back(i);
    return std::vector<MeasuredSet>{made};
  };
  {
    auto store = Create();
    ASSERT_THAT(store->RecordStatistics(set(0, 30), 5), IsOk());
    ASSERT_THAT(store->RecordStatistics(set(0, 30), 5), IsOk());  // The same again.
  }
  auto store = Open();
  EXPECT_THAT(store->CheckStatistics(set(0, 29), 5), IsError(StatusCode::kPermissionDenied, "age"));
  EXPECT_THAT(store->RecordStatistics(set(0, 34), 5),
              IsError(StatusCode::kPermissionDenied, "age"));
  EXPECT_THAT(store->RecordStatistics(set(4, 34), 5),
              IsError(StatusCode::kPermissionDenied, "age"));
  EXPECT_THAT(store->RecordStatistics(set(0, 35), 5), IsOk());
  EXPECT_THAT(store->CheckStatistics(set(5, 30), 5), IsOk());
  // What was refused has left nothing behind, what was recorded has.
  EXPECT_THAT(store->CheckStatistics(set(0, 36), 5), IsError(StatusCode::kPermissionDenied, "age"));
  std::vector<MeasuredSet> other = set(0, 29);
  other[0].column = "weight";
  EXPECT_THAT(store->RecordStatistics(other, 5), IsOk());
}

TEST_F(SiteStoreTest, ReplacesADatasetWholeOrNotAtAll) {
  auto store = Create();
  ASSERT_THAT(Import(*store, SmallCsv(3)), IsOk());
  EXPECT_EQ(ValuesOf(*store), (std::vector<double>{0, 1, 2}));
  // Two good rows, then a quote that never ends: the import fails half-way.
  EXPECT_THAT(Import(*store, SmallCsv(2, 500) + "\"p9,1,1\n"),
              IsError(StatusCode::kInvalidArgument, ""));
  EXPECT_EQ(ValuesOf(*store), (std::vector<double>{0, 1, 2}));

  const auto report = Import(*store, SmallCsv(2, 10) + "p9,2000,1\n");
  ASSERT_THAT(report, IsOk());
  EXPECT_EQ(report->rows_refused, 1u);
  EXPECT_EQ(ValuesOf(*store), (std::vector<double>{10, 11}));
  EXPECT_EQ(store->Datasets()->at(0).rows_refused, 1u);
  store = nullptr;
  EXPECT_EQ(ValuesOf(*Open()), (std::vector<double>{10, 11}));
}

TEST_F(SiteStoreTest, ShredsTheKeyOfAReplacedDataset) {
  auto store = Create();
  const auto dataset_keys = [this] {
    std::vector<std::string> names = KeyRing::Open(kek_, Options().path + ".keys")->Names();
    std::erase_if(names, [](const std::string& name) { return name.rfind("dataset/", 0) != 0; });
    return names;
  };
  ASSERT_THAT(Import(*store, SmallCsv(3)), IsOk());
  const std::vector<std::string> first = dataset_keys();
  ASSERT_EQ(first.size(), 1u);
  ASSERT_THAT(Import(*store, SmallCsv(3)), IsOk());
  ASSERT_EQ(dataset_keys().size(), 1u);
  EXPECT_NE(dataset_keys(), first);
}

TEST_F(SiteStoreTest, NoticesARowInAnothersPlace) {
  {
    auto store = Create();
    ASSERT_THAT(Import(*store, SmallCsv(3)), IsOk());
  }
  Tamper(
      "UPDATE example SET row = 9 WHERE row = 0; UPDATE example SET row = 0 WHERE row = 1;"
      "UPDATE example SET row = 1 WHERE row = 9;");
  auto store = Open();
  EXPECT_THAT(store->ReadRows(store->Datasets()->at(0)), IsError(StatusCode::kDataLoss, "row 0"));
  store = nullptr;
  Tamper("DELETE FROM example WHERE row < 3");
  store = Open();
  EXPECT_THAT(store->ReadRows(store->Datasets()->at(0)),
              IsError(StatusCode::kDataLoss, "has 0 rows, and had 3"));
}

TEST_F(SiteStoreTest, RefusesNamesOfDatasetsThatAreNone) {
  auto store = Create();
  for (const std::string name : {"", "a/b", "Ü", "A"}) {
    EXPECT_THAT(Import(*store, SmallCsv(1), name), IsError(StatusCode::kInvalidArgument, "name"));
  }
}

// Every file of the store, read back whole.
std::string AllBytes(const std::string& folder) {
  std::string all;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    if (!entry.is_regular_file()) continue;
    std::ifstream file(entry.path(), std::ios::binary);
    all.append(std::istreambuf_iterator<char>(file), {});
  }
  return all;
}

TEST_F(SiteStoreTest, NoFileHoldsARowInTheClear) {
  auto store = Create();
  const double canary = 977.0625;
  ASSERT_THAT(Import(*store, absl::StrCat("id,x,y\ncanary-patient,", canary, ",1\n")), IsOk());
  std::string as_double(sizeof(canary), '\0');
  memcpy(as_double.data(), &canary, sizeof(canary));
  const std::string all = AllBytes(StoreFolder());
  EXPECT_EQ(all.find("canary-patient"), std::string::npos);
  EXPECT_EQ(all.find(as_double), std::string::npos);
  EXPECT_EQ(all.find("977.0625"), std::string::npos);
  // The search finds what is there.
  ASSERT_THAT(WriteFileDurably(StoreFolder() + "/leak", "a canary-patient lies here"), IsOk());
  EXPECT_NE(AllBytes(StoreFolder()).find("canary-patient"), std::string::npos);
}

TEST_F(SiteStoreTest, ImportsTheFourHospitals) {
  const char* datasets = getenv("CONSILIUM_DATASETS");
  if (datasets == nullptr) GTEST_SKIP() << "CONSILIUM_DATASETS is not set";
  v1::DataContract contract;
  ASSERT_THAT(ReadTextFormatFile(CONSILIUM_ZOO_FOLDER "/contracts/heart_disease.contract.textproto",
                                 contract),
              IsOk());
  auto store = Create();
  // Rows that FLamby keeps of each (arXiv:2210.04620).
  const std::map<std::string, uint64_t> expected = {
      {"cleveland", 303}, {"hungarian", 261}, {"switzerland", 46}, {"va", 130}};
  for (const auto& [hospital, rows] : expected) {
    const std::string csv =
        absl::StrCat(datasets, "/heart-disease-uci/processed.", hospital, ".data");
    const auto report = store->ReplaceDataset(hospital, contract, [&](const RowSink& sink) {
      return ImportCsvFile(csv, contract, sink);
    });
    ASSERT_THAT(report, IsOk());
    EXPECT_EQ(report->rows_stored, rows) << hospital;
    EXPECT_EQ(report->rows_read, report->rows_stored + report->rows_refused);
    EXPECT_EQ(report->refusals.size(), report->rows_refused);
  }
  const auto imported = store->Datasets();
  ASSERT_THAT(imported, IsOk());
  for (const DatasetInfo& dataset : *imported) {
    EXPECT_EQ(store->ReadRows(dataset)->size(), expected.at(dataset.name));
  }
}

}  // namespace
}  // namespace consilium::site
