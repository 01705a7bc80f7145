// Making an aggregator: nothing is made of a wrong request, and what was begun can be ended.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "privacy/at_rest/key_file.h"
#include "protocol/rpc/credentials.h"
#include "tests/aggregator/server/fake_site.h"
#include "tests/fakes/status_matchers.h"

namespace consilium::testing {
namespace {

class AggregatorInit : public ::testing::Test {
 protected:
  AggregatorInit() {
    InitRpc();
    MakePki(folder_.File("pki"), "heart-study");
    MakePki(folder_.File("other"), "heart-study");
  }
  absl::Status Init(const std::string& pki, const std::string& federation) {
    return Aggregator::Init({.data = data_,
                             .pki = folder_.File(pki),
                             .federation = federation,
                             .address = "127.0.0.1:0",
                             .enrolment_address = "127.0.0.1:0"});
  }
  absl::Status Serve() { return Aggregator::Start({.data = data_}).status(); }
  bool NothingIsThere() const {
    return !std::filesystem::exists(data_) && !std::filesystem::exists(data_ + "-key");
  }

  TempFolder folder_;
  const std::string data_ = folder_.File("agg");
};

TEST_F(AggregatorInit, MakesNothingOfAWrongRequest) {
  EXPECT_THAT(Init("nowhere", "heart-study"), IsError(absl::StatusCode::kNotFound, "nowhere"));
  EXPECT_THAT(Init("pki", "lung-study"),
              IsError(absl::StatusCode::kFailedPrecondition, "not of \"lung-study\""));
  EXPECT_THAT(Init("pki", "Heart Study"), IsError(absl::StatusCode::kInvalidArgument, ""));
  EXPECT_THAT(Aggregator::Init({.data = data_,
                                .pki = folder_.File("pki"),
                                .federation = "heart-study",
                                .address = "127.0.0.1:0",
                                .enrolment_address = "127.0.0.1:0",
                                .key_file = data_ + "/kek"}),
              IsError(absl::StatusCode::kInvalidArgument, "inside the store"));
  std::filesystem::copy_file(folder_.File("other/root.pem"), folder_.File("pki/root.pem"),
                             std::filesystem::copy_options::overwrite_existing);
  EXPECT_THAT(Init("pki", "heart-study"),
              IsError(absl::StatusCode::kFailedPrecondition, "was not made by the root"));
  EXPECT_TRUE(NothingIsThere());
  ASSERT_THAT(Init("other", "heart-study"), IsOk());
  EXPECT_THAT(Serve(), IsOk());
}

// As after a crash, or a version of this program that looked at its request too late.
TEST_F(AggregatorInit, EndsWhatATryBeforeBegan) {
  {
    const auto kek = CreateKek({.file = Aggregator::DefaultKeyFile(data_)});
    ASSERT_THAT(kek, IsOk());
    ASSERT_THAT(SqlcipherStore::Create(*kek, data_ + "/store"), IsOk());
  }
  EXPECT_THAT(Serve(), IsError(absl::StatusCode::kDataLoss, "run it again"));
  ASSERT_THAT(Init("pki", "heart-study"), IsOk());
  EXPECT_THAT(Serve(), IsOk());
}

// Behind another name or address than its machine has (TEST-NET-1, RFC 5737).
TEST_F(AggregatorInit, SaysHowToListenWhereTheAddressIsNotItsOwn) {
  ASSERT_THAT(Aggregator::Init({.data = data_,
                                .pki = folder_.File("pki"),
                                .federation = "heart-study",
                                .address = "192.0.2.1:0",
                                .enrolment_address = "192.0.2.1:0"}),
              IsOk());
  EXPECT_THAT(Serve(), IsError(absl::StatusCode::kUnavailable,
                               "no address of this machine has that name, or the port is taken; "
                               "serve --listen 0.0.0.0:0 listens on all"));
  EXPECT_THAT(Aggregator::Start({.data = data_, .listen = "127.0.0.1:0"}),
              IsError(absl::StatusCode::kUnavailable, "--enrolment-listen"));
  const auto aggregator = Aggregator::Start(
      {.data = data_, .listen = "127.0.0.1:0", .enrolment_listen = "127.0.0.1:0"});
  ASSERT_THAT(aggregator, IsOk());
  // Sites are told the address by which they reach it.
  EXPECT_EQ((*aggregator)->main_address().rfind("192.0.2.1:", 0), 0u);
}

TEST_F(AggregatorInit, LeavesAFinishedOneAlone) {
  ASSERT_THAT(Init("pki", "heart-study"), IsOk());
  EXPECT_THAT(Init("other", "heart-study"),
              IsError(absl::StatusCode::kAlreadyExists, "there is an aggregator in"));
  EXPECT_THAT(Serve(), IsOk());
}

}  // namespace
}  // namespace consilium::testing
