#include "sim/search/trials_log.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <initializer_list>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "protocol/core/files.h"
#include "tests/fakes/child_process.h"
#include "tests/fakes/status_matchers.h"
#include "tests/fakes/temp_folder.h"
#include "tests/sim/search/plain_search.h"

namespace consilium {
namespace {

using absl::StatusCode;

constexpr size_t kBytesMax = 16 << 20;

struct LogTest : testing::Test {
  TempFolder folder;
  const std::string path = folder.File("trials.jsonl");
  const v1::SearchSpace space =
      SpaceOf(absl::StrCat(kTwoReals, "differential_evolution { population: 4 generations: 2 }"));
  const TrialsLog::Identity identity = {{"space", "3f"}, {"run config", "77"}};

  absl::StatusOr<std::unique_ptr<TrialsLog>> Open() const {
    return TrialsLog::Open(path, space, identity);
  }
  Trial TrialOf(uint64_t number) const {
    Trial trial;
    trial.proposal = {number, {0.1 * static_cast<double>(number), 1.0 / 3}, number % 4, 0};
    trial.texts = TextsAt(space, trial.proposal.point);
    trial.result.objectives = {0.1 + 1e-17 * static_cast<double>(number)};
    trial.result.deviations = {0.25};
    trial.result.costs = {7, 9, 1.5, 1e9, 0.125};
    return trial;
  }
  void Write(std::initializer_list<uint64_t> numbers) const {
    auto log = Open();
    ASSERT_THAT(log, IsOk());
    for (const uint64_t number : numbers) ASSERT_THAT((*log)->Append(TrialOf(number)), IsOk());
  }
  std::string Text() const { return *ReadFile(path, kBytesMax); }
  std::vector<uint64_t> Numbers() const {
    auto log = Open();
    EXPECT_THAT(log, IsOk());
    std::vector<uint64_t> numbers;
    if (!log.ok()) return numbers;
    for (const Trial& trial : (*log)->TakeTrials()) numbers.push_back(trial.number());
    return numbers;
  }
};

using Uints = std::vector<uint64_t>;

TEST_F(LogTest, GivesBackWhatItWasGiven) {
  Trial failed = TrialOf(2);
  failed.result = {};
  failed.result.error = "no \"room\"\n";
  Trial same = TrialOf(3);
  same.same_as = 1;
  {
    auto log = Open();
    ASSERT_THAT(log, IsOk());
    EXPECT_TRUE((*log)->TakeTrials().empty());
    for (const Trial& trial : {TrialOf(1), failed, same}) {
      ASSERT_THAT((*log)->Append(trial), IsOk());
    }
  }
  auto log = Open();
  ASSERT_THAT(log, IsOk());
  const std::vector<Trial> trials = (*log)->TakeTrials();
  ASSERT_EQ(trials.size(), 3U);
  EXPECT_EQ(trials[0].proposal.point, TrialOf(1).proposal.point);
  EXPECT_EQ(trials[0].proposal.slot, 1U);
  EXPECT_EQ(trials[0].texts, TrialOf(1).texts);
  EXPECT_EQ(trials[0].result.objectives, TrialOf(1).result.objectives);
  EXPECT_EQ(trials[0].result.costs.upload_bytes, 1e9);
  EXPECT_FALSE(trials[0].same_as.has_value());
  EXPECT_EQ(trials[1].result.error, failed.result.error);
  EXPECT_FALSE(trials[1].succeeded());
  EXPECT_EQ(trials[2].same_as, 1U);
}

// Cut anywhere, the whole lines before the cut are there, and the next line stands by itself.
TEST_F(LogTest, ATornLastLineIsDropped) {
  Write({0, 1, 2});
  const std::string whole = Text();
  for (size_t bytes = 0; bytes <= whole.size(); bytes += 7) {
    const std::string cut = whole.substr(0, bytes);
    ASSERT_THAT(WriteFileDurably(path, cut), IsOk());
    const auto lines = static_cast<size_t>(std::count(cut.begin(), cut.end(), '\n'));
    Uints expected;
    for (size_t i = 0; i + 1 < lines; ++i) expected.push_back(i);
    EXPECT_EQ(Numbers(), expected) << bytes;
    Write({9});
    expected.push_back(9);
    EXPECT_EQ(Numbers(), expected) << bytes;
  }
}

TEST_F(LogTest, ADamagedLineIsNamed) {
  Write({0, 1, 2});
  const std::string whole = Text();
  for (const auto& [from, to] : std::vector<std::pair<std::string, std::string>>{
           {"\"trial\":1", "\"trial\":-1"},
           {"\"trial\":1", "\"trial\":0"},
           {"\"slot\":1", "\"slot\":\"x\""},
           {"\"rung\":0,\"slot\":1", "\"slot\":1"},
           {"\"rung\":0,\"slot\":1", "\"rung\":1,\"slot\":1"},
           {"\"rung\":0,\"slot\":1", "\"rung\":4294967296,\"slot\":1"},
           {"[0.1,0.3", "[0.2,0.3"},
           {"\"slot\":1", "\"slot\":1}"},
           {"\"slot\":1",
            absl::StrCat("\"deep\":", std::string(40, '['), std::string(40, ']'), ",\"slot\":1")},
           {"\"slot\":1",
            absl::StrCat("\"long\":\"", std::string(size_t{5} << 20, 'x'), "\",\"slot\":1")}}) {
    const std::string damaged = absl::StrReplaceAll(whole, {{from, to}});
    ASSERT_NE(damaged, whole) << from;
    ASSERT_THAT(WriteFileDurably(path, damaged), IsOk());
    EXPECT_THAT(Open(), IsError(StatusCode::kDataLoss, "line 3 is damaged")) << to.substr(0, 100);
    EXPECT_EQ(Text() == damaged, true);
  }
}

// The highest that a space can have, from 1 ms to 1e12 in twos, and one more.
TEST_F(LogTest, ALongTimesRungsAreThere) {
  const v1::SearchSpace timed =
      SpaceOf(absl::StrCat(kTwoReals,
                           "successive_halving { trials: 2 virtual_ms_min: 1 "
                           "virtual_ms_max: 1000000000000 reduction: 2 }"));
  const auto open = [&] { return TrialsLog::Open(path, timed, identity); };
  for (const uint32_t rung : {39U, 41U}) {
    auto log = open();
    ASSERT_THAT(log, IsOk());
    Trial trial = TrialOf(rung);
    trial.proposal.point = {0.5, 0.5};
    trial.texts = TextsAt(timed, trial.proposal.point);
    trial.proposal.rung = rung;
    ASSERT_THAT((*log)->Append(trial), IsOk());
  }
  EXPECT_THAT(open(), IsError(StatusCode::kDataLoss, "line 3 is damaged"));
}

TEST_F(LogTest, AnotherSearchsLogIsRefusedNamingWhy) {
  Write({0});
  const std::string whole = Text();
  EXPECT_THAT(TrialsLog::Open(path, space, {{"space", "3f"}, {"run config", "78"}}),
              IsError(StatusCode::kFailedPrecondition, "another run config"));
  EXPECT_THAT(TrialsLog::Open(path, space, {{"space", "3e"}, {"run config", "77"}}),
              IsError(StatusCode::kFailedPrecondition, "(another space)"));
  ASSERT_THAT(WriteFileDurably(folder.File("other"), "{}\n"), IsOk());
  EXPECT_THAT(TrialsLog::Open(folder.File("other"), space, identity),
              IsError(StatusCode::kFailedPrecondition, "no log of a search"));
  EXPECT_EQ(Text(), whole);
}

TEST_F(LogTest, TwoProcessesDoNotShareOne) {
  auto log = Open();
  ASSERT_THAT(log, IsOk());
  EXPECT_THAT(Open(), IsError(StatusCode::kFailedPrecondition, "in use"));
}

TEST_F(LogTest, AProcessThatIsKilledLeavesWhatItAppended) {
  ChildProcess child([this](const std::function<void()>& reach) {
    auto log = Open();
    if (!log.ok() || !(*log)->Append(TrialOf(0)).ok() || !(*log)->Append(TrialOf(1)).ok()) {
      return 1;
    }
    reach();
    return 0;
  });
  ASSERT_TRUE(child.reached());
  child.Kill();
  EXPECT_EQ(Numbers(), Uints({0, 1}));
}

}  // namespace
}  // namespace consilium
