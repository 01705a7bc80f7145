// What operators ask: lists, reports, audit, export, stop and purge.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <thread>

#include "protocol/core/files.h"
#include "protocol/rpc/pki.h"
#include "protocol/rpc/rpc_status.h"
#include "protocol/wire/hash.h"
#include "protocol/wire/journal_export.h"
#include "protocol/wire/reasons.h"
#include "tests/aggregator/core/federation_fixture.h"
#include "tests/aggregator/server/fake_site.h"
#include "tests/fakes/status_matchers.h"

namespace consilium::testing {
namespace {

using federation::MakePlan;

class Admin : public ::testing::Test {
 protected:
  // A run of one site from its beginning to its end.
  void RunToTheEnd() {
    ASSERT_THAT(site_.Attach(), IsOk());
    run_ = aggregator_.Submit(*MakePlan({.versions_max = 2}));
    site_.Participate(10);
    aggregator_.Await(run_, [](const v1::RunReport& r) { return r.phase() == "ended"; });
  }
  v1::VerifyAuditResponse Audit() {
    grpc::ClientContext context;
    v1::VerifyAuditResponse response;
    EXPECT_THAT(FromGrpcStatus(aggregator_.admin().VerifyAudit(&context, {}, &response)), IsOk());
    return response;
  }
  absl::Status Export(const RecipientKey& recipient, const std::string& path) {
    grpc::ClientContext context;
    v1::ExportRunRequest request;
    request.set_run_id(run_);
    request.set_recipient_public_key(recipient.public_key.data(), recipient.public_key.size());
    request.set_with_updates(true);
    const auto reader = aggregator_.admin().ExportRun(&context, request);
    std::ofstream file(path, std::ios::binary);
    v1::Chunk chunk;
    while (reader->Read(&chunk)) file << chunk.data();
    return FromGrpcStatus(reader->Finish());
  }
  enum class Models { kToo, kNotNamed };
  absl::StatusOr<uint64_t> Purge(Models models = Models::kToo) {
    grpc::ClientContext context;
    v1::PurgeRunRequest request;
    request.set_run_id(run_);
    request.set_with_models(models == Models::kToo);
    v1::PurgeRunResponse response;
    const absl::Status status =
        FromGrpcStatus(aggregator_.admin().PurgeRun(&context, request, &response));
    if (!status.ok()) return status;
    return response.blobs_removed();
  }

  LiveAggregator aggregator_;
  FakeSite site_{aggregator_, "north"};
  std::string run_;
};

TEST_F(Admin, SocketIsItsUsersAlone) {
  struct stat info;
  ASSERT_EQ(stat((aggregator_.data() + "/admin.sock").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600);
}

// A copy of the folder, without what lies beside it, opens nothing; of what is in it, a backup
// needs the store alone.
TEST_F(Admin, DataFolderHoldsNoKeyToItsStore) {
  const std::string key_file = Aggregator::DefaultKeyFile(aggregator_.data());
  EXPECT_EQ(Aggregator::DefaultKeyFile(aggregator_.data() + "/"), key_file);
  ASSERT_TRUE(std::filesystem::exists(key_file));
  EXPECT_NE(key_file.rfind(aggregator_.data() + "/", 0), 0u);
  for (const auto& entry : std::filesystem::recursive_directory_iterator(aggregator_.data())) {
    if (!entry.is_regular_file()) continue;
    const auto content = ReadFile(entry.path().string(), 64 << 20);
    ASSERT_THAT(content, IsOk());
    EXPECT_EQ(content->find("consilium-kek"), std::string::npos) << entry.path();
  }
  EXPECT_THAT(Aggregator::Init({.data = aggregator_.data() + "-2",
                                .pki = aggregator_.pki(),
                                .federation = "test-federation",
                                .address = "127.0.0.1:0",
                                .enrolment_address = "127.0.0.1:0",
                                .key_file = aggregator_.data() + "-2/keys/kek"}),
              IsError(absl::StatusCode::kInvalidArgument, ""));
  aggregator_.Stop();
  std::filesystem::remove_all(aggregator_.data() + "/tls");
  aggregator_.Restart();
  EXPECT_THAT(site_.Attach(), IsOk());
}

TEST_F(Admin, ListsSitesByState) {
  aggregator_.AddSite("south");
  ASSERT_THAT(site_.Attach(), IsOk());
  grpc::ClientContext context;
  v1::ListSitesResponse sites;
  ASSERT_THAT(FromGrpcStatus(aggregator_.admin().ListSites(&context, {}, &sites)), IsOk());
  ASSERT_EQ(sites.sites_size(), 2);
  EXPECT_EQ(sites.sites(0).site_id(), "north");
  EXPECT_EQ(sites.sites(0).state(), "attached");
  EXPECT_EQ(sites.sites(1).state(), "invited");
  // What the site's own enrolment prints.
  EXPECT_EQ(sites.sites(0).signing_key_sha256(),
            ToHex(Sha256Of(site_.store().KeyPair().public_key())));
  const auto certificate = Certificate::FromPem(
      *ReadFile(site_.store().certificate_folder + "/current/chain.pem", 1 << 16));
  EXPECT_EQ(sites.sites(0).certificate_sha256(), ToHex(certificate->Fingerprint()));
  EXPECT_EQ(sites.sites(1).signing_key_sha256(), "");
}

TEST_F(Admin, SaysThatAJoinFileTakesThePlaceOfAnother) {
  const auto add = [this] {
    grpc::ClientContext context;
    v1::AddSiteRequest request;
    request.set_site_id("south");
    v1::AddSiteResponse response;
    EXPECT_THAT(FromGrpcStatus(aggregator_.admin().AddSite(&context, request, &response)), IsOk());
    return response;
  };
  EXPECT_FALSE(add().earlier_join_file_ended());
  EXPECT_TRUE(add().earlier_join_file_ended());
}

TEST_F(Admin, SubmitWarnsOfSitesThatCanNotCome) {
  ASSERT_THAT(site_.Attach(), IsOk());
  aggregator_.AddSite("invited");
  grpc::ClientContext context;
  v1::SubmitRunRequest request;
  *request.mutable_plan() = *MakePlan(
      {.config = R"(participation { sites: "north" sites: "invited" sites: "st-mary" })"});
  v1::SubmitRunResponse response;
  ASSERT_THAT(FromGrpcStatus(aggregator_.admin().SubmitRun(&context, request, &response)), IsOk());
  EXPECT_THAT(
      response.warnings(),
      ::testing::ElementsAre(
          ::testing::HasSubstr("\"invited\", which has not enrolled yet"),
          ::testing::HasSubstr("\"st-mary\", which was not added: consilium site add st-mary")));
}

// The report's numbers are those of the sites' sums.
TEST_F(Admin, ReportTellsHowGoodEachVersionIs) {
  FakeSite south(aggregator_, "south");
  ASSERT_THAT(site_.Attach(), IsOk());
  ASSERT_THAT(south.Attach(), IsOk());
  run_ = aggregator_.Submit(*MakePlan({.versions_max = 2}));
  std::thread other([&south] { south.Participate(30); });
  site_.Participate(10);
  other.join();
  const v1::RunReport report =
      aggregator_.Await(run_, [](const v1::RunReport& r) { return r.phase() == "ended"; });
  double influence = 0;
  for (const v1::ParticipantReport& site : report.participants()) influence += site.influence();
  EXPECT_DOUBLE_EQ(influence, 1);
  ASSERT_EQ(report.result_version(), 2u);
  const v1::VersionReport& result = report.versions(2);
  EXPECT_EQ(result.validation_scores().sites(), 2u);
  EXPECT_EQ(result.validation_scores().examples(), 20u);
  EXPECT_DOUBLE_EQ(result.validation_scores().log_loss(), 5.0 / 3 / 10);
  EXPECT_DOUBLE_EQ(result.validation_scores().accuracy(), 0.7);
  EXPECT_FALSE(result.validation_scores().has_auroc());
  EXPECT_DOUBLE_EQ(result.test_scores().log_loss(), 5.0 / 3 / 10);
  EXPECT_FALSE(report.versions(0).has_test_scores());
}

TEST_F(Admin, RefusesAPlanThatIsNone) {
  grpc::ClientContext context;
  v1::SubmitRunRequest request;
  request.mutable_plan()->mutable_config()->set_name("nothing-else");
  v1::SubmitRunResponse response;
  EXPECT_EQ(aggregator_.admin().SubmitRun(&context, request, &response).error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);
}

TEST_F(Admin, AuditFindsAChangedBlob) {
  RunToTheEnd();
  EXPECT_TRUE(Audit().intact()) << Audit().finding();
  // Flips a bit in one of the run's blobs.
  std::string path;
  for (const auto& entry :
       std::filesystem::recursive_directory_iterator(aggregator_.data() + "/store/blobs/" + run_)) {
    if (entry.is_regular_file()) path = entry.path().string();
  }
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekg(-1, std::ios::end);
  const char last = static_cast<char>(file.get() ^ 1);
  file.seekp(-1, std::ios::end);
  file.put(last);
  file.close();
  const v1::VerifyAuditResponse audit = Audit();
  EXPECT_FALSE(audit.intact());
  EXPECT_THAT(audit.finding(), ::testing::HasSubstr(run_));
}

TEST_F(Admin, ExportHoldsTheRunsJournalAndUpdates) {
  RunToTheEnd();
  TempFolder folder;
  const auto recipient = GenerateRecipientKey();
  ASSERT_THAT(recipient, IsOk());
  ASSERT_THAT(Export(*recipient, folder.File("export")), IsOk());
  ReadExportOptions options;
  options.aggregator_key.emplace();
  std::copy(site_.store().aggregator_key.begin(), site_.store().aggregator_key.end(),
            options.aggregator_key->begin());
  const auto read = ReadJournalExport(folder.File("export"), *recipient, options);
  ASSERT_THAT(read, IsOk());
  EXPECT_EQ(read->header.run_id(), run_);
  EXPECT_EQ(read->updates.size(), aggregator_.Report(run_).participants(0).updates_accepted());
  size_t staged = 0;
  for (const v1::JournalEntry& entry : read->entries) {
    if (!entry.has_update_staged()) continue;
    staged += read->updates.contains(*DigestFromBytes(entry.update_staged().update_id())) ? 1 : 0;
  }
  EXPECT_EQ(staged, read->updates.size());
  EXPECT_GE(staged, 4);
}

TEST_F(Admin, PurgesWhatHasEndedAndNothingElse) {
  ASSERT_THAT(site_.Attach(), IsOk());
  run_ = aggregator_.Submit(*MakePlan({.versions_max = 2}));
  EXPECT_THAT(Purge(), IsError(absl::StatusCode::kFailedPrecondition, "not ended"));
  site_.Participate(10);
  aggregator_.Await(run_, [](const v1::RunReport& r) { return r.phase() == "ended"; });
  // The result would go with the rest: only who says so removes it.
  EXPECT_THAT(Purge(Models::kNotNamed),
              IsError(absl::StatusCode::kInvalidArgument, "its result too"));
  EXPECT_THAT(site_.Fetch(run_, 0), IsOk());
  const auto removed = Purge();
  ASSERT_THAT(removed, IsOk());
  EXPECT_GE(*removed, 7);
  EXPECT_EQ(aggregator_.BlobFiles(run_), 0);
  EXPECT_EQ(DetailOf(site_.Fetch(run_, 0).status()).reason(), v1::RUN_ENDED);
  EXPECT_TRUE(Audit().intact());
  aggregator_.Restart();
  EXPECT_EQ(aggregator_.Report(run_).phase(), "purged");
  EXPECT_EQ(aggregator_.BlobFiles(run_), 0);
}

TEST_F(Admin, StopEndsARunAndTellsItsSites) {
  ASSERT_THAT(site_.Attach(), IsOk());
  run_ = aggregator_.Submit(*MakePlan({.versions_max = 100000}));
  site_.Approve(10);
  const v1::ModelAvailable model = site_.AwaitModel(0);
  const FakeSite::Update update = site_.MakeUpdate(site_.AwaitTask(), model);
  ASSERT_THAT(site_.Upload(update), IsOk());
  grpc::ClientContext context;
  v1::StopRunRequest request;
  request.set_run_id(run_);
  v1::StopRunResponse response;
  ASSERT_THAT(FromGrpcStatus(aggregator_.admin().StopRun(&context, request, &response)), IsOk());
  // One update does not fill the buffer of two: it ends unfolded.
  EXPECT_EQ(site_.AwaitReceipt(v1::Receipt::NOT_INCLUDED, update.header.task_id()).update_id(),
            site_.Upload(update)->update_id());
  const FakeSite::Update late = site_.MakeUpdate(site_.AwaitTask(), model);
  EXPECT_EQ(DetailOf(site_.Upload(late).status()).reason(), v1::RUN_ENDED);
  aggregator_.Await(run_, [](const v1::RunReport& r) { return r.phase() == "ended"; });
  EXPECT_FALSE(response.had_ended());
  grpc::ClientContext again;
  ASSERT_THAT(FromGrpcStatus(aggregator_.admin().StopRun(&again, request, &response)), IsOk());
  EXPECT_TRUE(response.had_ended());
}

TEST_F(Admin, StatusCountsWhatLives) {
  ASSERT_THAT(site_.Attach(), IsOk());
  aggregator_.Submit(*MakePlan({}));
  grpc::ClientContext context;
  v1::AggregatorStatus status;
  ASSERT_THAT(FromGrpcStatus(aggregator_.admin().GetStatus(&context, {}, &status)), IsOk());
  EXPECT_EQ(status.federation(), "test-federation");
  EXPECT_EQ(status.sites_attached(), 1);
  EXPECT_EQ(status.runs_live(), 1);
  EXPECT_EQ(status.main_address(), aggregator_.aggregator().main_address());
  EXPECT_EQ(status.signing_key(), site_.store().aggregator_key);
}

}  // namespace
}  // namespace consilium::testing
