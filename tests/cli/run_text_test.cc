// What `consilium run status` and `run watch` say of a run's scores.

#include "cli/run_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace consilium {
namespace {

using testing::HasSubstr;
using testing::Not;

// One version, which is the result, that two of two sites have scored in every way.
v1::RunReport ReportOf(v1::Loss::Kind loss) {
  v1::RunReport report;
  report.set_run_id("heart-1");
  report.set_phase("ended");
  report.set_result_version(0);
  report.mutable_plan()->mutable_spec()->mutable_loss()->set_kind(loss);
  report.mutable_plan()->mutable_config()->mutable_data()->mutable_split()->set_validation(0.2);
  v1::VersionReport& version = *report.add_versions();
  for (v1::Scores* scores : {version.mutable_validation_scores(), version.mutable_test_scores()}) {
    scores->set_examples(86);
    scores->set_sites(2);
    scores->set_log_loss(0.5);
    scores->set_auroc(0.875);
    scores->set_accuracy(0.9375);
    scores->set_mse(2.25);
    scores->set_c_index(0.75);
    scores->set_cox_loss(3.125);
  }
  version.mutable_test_scores()->set_examples(40);
  return report;
}

TEST(RunText, ScoresAreThoseThatTheLossHas) {
  const std::pair<v1::Loss::Kind, const char*> expected[] = {
      {v1::Loss::COX, "Cox loss 3.125, C 0.750"},
      {v1::Loss::DISCRETE_HAZARD, "log-loss 0.500, C 0.750"},
      {v1::Loss::BCE_WITH_LOGITS, "log-loss 0.500, AUROC 0.875"},
      {v1::Loss::MSE, "MSE 2.250"},
      {v1::Loss::CROSS_ENTROPY, "log-loss 0.500, accuracy 0.938"}};
  for (const auto& [loss, words] : expected) {
    const v1::RunReport report = ReportOf(loss);
    EXPECT_EQ(ValidationText(report, report.versions(0)), std::string(words) + " (n 86)");
    const std::string line =
        std::string("version 0: validation ") + words + " (n 86); test " + words + " (n 40)\n";
    EXPECT_THAT(RunText(report), HasSubstr(line));
    EXPECT_EQ(VersionLines(0).Next(report), line);
  }
}

TEST(RunText, ASurvivalScoreThatNobodyTellsIsADash) {
  v1::RunReport report = ReportOf(v1::Loss::COX);
  report.mutable_versions(0)->mutable_validation_scores()->clear_c_index();
  report.mutable_versions(0)->mutable_test_scores()->clear_cox_loss();
  EXPECT_THAT(RunText(report), HasSubstr("validation Cox loss 3.125, C - (n 86); test Cox loss -, "
                                         "C 0.750 (n 40)"));
  report.mutable_versions(0)->clear_validation_scores();
  report.mutable_versions(0)->clear_test_scores();
  EXPECT_EQ(ValidationText(report, report.versions(0)), "-");
  EXPECT_THAT(RunText(report), Not(HasSubstr("Cox")));
}

}  // namespace
}  // namespace consilium
