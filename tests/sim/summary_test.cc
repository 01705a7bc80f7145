// summary.json: its columns are over the same patients, and its keys are documented.

#include "sim/report/summary.h"

#include <gtest/gtest.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "models/metrics/metrics.h"
#include "protocol/core/files.h"
#include "protocol/wire/limits.h"
#include "tests/fakes/status_matchers.h"

namespace consilium {
namespace {

using federation::Participant;
using federation::RunState;

// The scores of some model on `labels`, wrong on the first patient.
v1::MetricSums SumsOn(const std::vector<float>& labels) {
  std::vector<float> logits;
  for (const float label : labels) logits.push_back(label == 1 ? 1.0f : -1.0f);
  logits[0] = -logits[0];
  const auto sums = MetricSumsOf(v1::Loss::BCE_WITH_LOGITS, {logits, 1, labels});
  EXPECT_THAT(sums, IsOk());
  return *sums;
}

v1::MetricSums WithoutClasses(v1::MetricSums sums) {
  sums.clear_class_examples();
  sums.clear_class_correct();
  sums.clear_auroc_concordant();
  sums.clear_auroc_comparable();
  sums.clear_auprc_by_positives();
  return sums;
}

// Three hospitals of eight test patients: one tells everything, one nothing that speaks of single
// classes, one nothing at all.
class SummaryTest : public testing::Test {
 protected:
  SummaryTest() {
    auto plan = std::make_shared<v1::RunPlan>();
    plan->mutable_config()->mutable_data()->mutable_split()->set_test(0.25);
    run_.plan = plan;
    run_.versions.resize(1);
    run_.result = Version(0);
    const v1::MetricSums all = SumsOn({1, 0, 1, 0, 1, 0, 1, 0});
    Tell("a-open", all);
    Tell("b-small-class", WithoutClasses(all));
    Tell("c-small", v1::MetricSums());
    for (const auto& [site, participant] : run_.participants) {
      baselines_.alone[site] = all;
      baselines_.pooled[site] = all;
    }
  }

  void Tell(const std::string& name, const v1::MetricSums& sums) {
    run_.participants[SiteId(name)].decision = Participant::Decision::kApproved;
    run_.versions[0].test[SiteId(name)] = std::make_shared<const v1::MetricSums>(sums);
  }

  RunState run_;
  Baselines baselines_;
};

TEST_F(SummaryTest, ColumnsAreOverTheSamePatients) {
  const RunSummary summary = SummaryOf(run_, {.baselines = &baselines_, .target = {}});
  ASSERT_EQ(summary.sites.size(), 3u);
  EXPECT_TRUE(summary.sites[0].alone->auroc.has_value());
  // Here every model has the same scores, so whatever differs was left out on one side only.
  for (const SiteSummary& site : summary.sites) {
    EXPECT_EQ(ToJson(*site.alone), ToJson(*site.federated)) << site.name;
    EXPECT_EQ(ToJson(*site.pooled), ToJson(*site.federated)) << site.name;
  }
  EXPECT_TRUE(summary.sites[1].alone->log_loss.has_value());
  EXPECT_FALSE(summary.sites[1].alone->auroc.has_value());
  EXPECT_EQ(summary.sites[2].alone->examples, 0u);
  EXPECT_EQ(summary.federated.examples, 16u);
  EXPECT_EQ(ToJson(*summary.alone), ToJson(summary.federated));
  EXPECT_EQ(ToJson(*summary.pooled), ToJson(summary.federated));
}

TEST_F(SummaryTest, ATableWithoutScoresSaysWhy) {
  EXPECT_EQ(SummaryOf(run_, {}).why_no_scores, "");
  run_.versions[0].test.clear();
  EXPECT_NE(TextTable(SummaryOf(run_, {.baselines = &baselines_, .target = {}}))
                .find("No scores: no hospital"),
            std::string::npos);
  auto plan = std::make_shared<v1::RunPlan>(*run_.plan);
  plan->mutable_config()->mutable_data()->mutable_split()->set_test(0);
  run_.plan = plan;
  EXPECT_NE(TextTable(SummaryOf(run_, {.baselines = &baselines_, .target = {}}))
                .find("data.split.test is 0"),
            std::string::npos);
}

// Every key, of lists and objects within it too.
void KeysOf(const nlohmann::json& value, std::vector<std::string>& keys) {
  if (!value.is_structured()) return;
  for (const auto& [key, inner] : value.items()) {
    if (value.is_object()) keys.push_back(key);
    KeysOf(inner, keys);
  }
}

TEST_F(SummaryTest, ItsKeysAreDocumented) {
  const auto text = ReadFile(CONSILIUM_SOURCE_DIR "/docs/summary.md", limits::kTextFileBytesMax);
  ASSERT_THAT(text, IsOk());
  std::vector<std::string> keys;
  KeysOf(ToJson(SummaryOf(run_, {.baselines = &baselines_, .target = {}})), keys);
  EXPECT_GT(keys.size(), 20u);
  for (const std::string& key : keys) {
    EXPECT_NE(text->find(absl::StrCat("`", key, "`")), std::string::npos) << key;
  }
}

}  // namespace
}  // namespace consilium
