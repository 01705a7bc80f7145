#include "sim/engine/scenario_checks.h"

#include <gtest/gtest.h>

#include <fstream>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "protocol/wire/text_format.h"
#include "tests/fakes/status_matchers.h"
#include "tests/fakes/temp_folder.h"
#include "tests/sim/small_world.h"

namespace consilium {
namespace {

using absl::StatusCode;

v1::Scenario ScenarioOf(const std::string& text) {
  v1::Scenario scenario;
  EXPECT_TRUE(ParseTextFormat(text, "scenario", scenario).ok()) << text;
  return scenario;
}

TEST(ScenarioChecksTest, NamesTheFieldThatIsOutOfItsRange) {
  const std::pair<const char*, const char*> refused[] = {
      {"sites { speed { constant: 0 } }", "sites.speed.constant: must lie in (0,"},
      {"sites { speed { constant: nan } }", "sites.speed.constant"},
      {"sites { speed { uniform_max: 0.5 } }", "sites.speed.uniform_max"},
      {"sites { speed { pareto_shape: 0.01 } }", "sites.speed.pareto_shape"},
      {"sites { speed { log_normal_sigma: 11 } }", "sites.speed.log_normal_sigma"},
      {"sites { task_speed { half_normal_sigma: -1 } }", "sites.task_speed.half_normal_sigma"},
      {"sites { task_speed { exponential_mean: inf } }", "sites.task_speed.exponential_mean"},
      {"stopped_after_ms: 1000000000001", "stopped_after_ms: is up to"},
      {"aggregator { journal_ms: 3600001 }", "aggregator.journal_ms: is up to"},
      {"aggregator { crash_every_ms: 1000000000001 }", "aggregator.crash_every_ms: is up to"},
      {"sites { latency_ms: 3600001 }", "sites.latency_ms"},
      {"sites { minimum_count: 1 }", "sites.minimum_count"},
      {"sites { links { upload_bytes_per_s: -1 } }", "sites.links.upload_bytes_per_s"},
      {"sites { links { download_bytes_per_s: 1e16 } }", "sites.links.download_bytes_per_s"},
      {"sites { links { slowdown { constant: -1 } } }", "sites.links.slowdown.constant"},
      {"sites { overrides { site_id: 'a' slowdown: -1 } }", "sites.overrides (a).slowdown"},
      {"sites { overrides { site_id: 'a' } overrides { site_id: 'a' } }", "twice"},
      {"sites { availability { open_share: 0.5 } }", "sites.availability.period_ms"},
      {"sites { availability { period_ms: 5 open_share: 0 } }", "sites.availability.open_share"},
      {"sites { availability { period_ms: 5 open_share: 1.5 } }", "sites.availability.open_share"},
      {"sites { faults { upload_loss_rate: 0.95 } }", "sites.faults.upload_loss_rate"},
      {"sites { faults { duplicate_rate: -0.1 } }", "sites.faults.duplicate_rate"},
      {"sites { faults { link_drop_rate: nan } }", "sites.faults.link_drop_rate"},
      {"sites { faults { message_loss_rate: 0.4 } }", "sites.faults.message_loss_rate"},
      {"sites { faults { message_duplicate_rate: 1 } }", "sites.faults.message_duplicate_rate"},
      {"sites { faults { reorder_rate: 2 } }", "sites.faults.reorder_rate"},
      {"sites { faults { crash_rate: 1 } }", "sites.faults.crash_rate"},
      {"sites { faults { leave_rate: -1 } }", "sites.faults.leave_rate"},
      {"sites { faults { clock_drift_max_ppm: 1e6 } }", "sites.faults.clock_drift_max_ppm"},
      {"sites { trace { site_id: 'a' time_s: -1 } }", "sites.trace[0] (a).time_s"},
      {"sites { trace { site_id: 'a' slowdown: -1 } }", "sites.trace[0] (a).slowdown"},
      {"sites { trace { site_id: 'a' time_s: 2 } trace { site_id: 'a' time_s: 2 } }", "must rise"},
      {"sites { trace { site_id: 'a' time_s: 2 } trace_repeat_ms: 2000 }", "trace_repeat_ms"},
      {"sites { attacks { sites: 'a' } }", "sites.attacks[0]: does not say"},
      {"sites { attacks { share: 1.5 sign_flip {} } }", "sites.attacks[0].share"},
      {"sites { attacks { share: 0.6 noise {} } attacks { share: 0.6 noise {} } }",
       "more than all"},
      {"sites { attacks { sites: ['a', 'a'] noise {} } }", "attacks twice"},
      {"sites { attacks { share: 1 sign_flip { scale: -1 } } }", "sign_flip.scale"},
      {"sites { attacks { share: 1 noise { deviation: -1 } } }", "noise.deviation"},
      {"sites { attacks { share: 1 backdoor {} } }", "backdoor.trigger"},
      {"sites { attacks { share: 1 backdoor { trigger {} poisoned_share: 2 } } }",
       "backdoor.poisoned_share"},
      {"dataset { partitioned {} }", "dataset.partitioned.sites"},
      {"dataset { partitioned { sites: 10001 } }", "dataset.partitioned.sites"},
      {"dataset { partitioned { sites: 3 shares: [1, 2] } }", "different numbers"},
      {"dataset { partitioned { site_ids: 'a' shares: [1, 2] } }", "different numbers"},
      {"dataset { partitioned { site_ids: ['a', '=1+1'] } }", "dataset.partitioned.site_ids[1]"},
      {"dataset { partitioned { site_ids: ['a', ''] } }", "dataset.partitioned.site_ids[1]"},
      {"dataset { partitioned { site_ids: ['../a'] } }", "dataset.partitioned.site_ids[0]"},
      {"dataset { natural { sites { site_id: '\\xff' file: 'f' } } }",
       "dataset.natural.sites[0].site_id: a site id is made of"},
      {"dataset { natural { sites { site_id: '\\x1b[2J' file: 'f' } } }",
       "dataset.natural.sites[0].site_id: a site id is made of"},
      {"dataset { natural { sites { file: 'f' } } }", "dataset.natural.sites[0].site_id"},
      {"dataset { natural { sites { site_id: 'a' file: 'f' } sites { site_id: 'a' file: 'g' } } }",
       "dataset.natural (a): is there twice"},
      {"dataset { partitioned { shares: [1, 0] } }", "dataset.partitioned.shares"},
      {"dataset { partitioned { shares: [1, 2] size_power_law: 1 } }", "size_power_law"},
      {"dataset { partitioned { sites: 3 size_power_law: 11 } }", "size_power_law"},
      {"dataset { partitioned { sites: 3 dirichlet: -1 } }", "dataset.partitioned.dirichlet"},
      {"dataset { partitioned { sites: 3 shards_per_site: 0 } }", "shards_per_site"},
      {"dataset { partitioned { sites: 3 size_power_law: 1 shards_per_site: 2 } }",
       "shards_per_site"},
      {"dataset { partitioned { sites: 3 feature_noise: -1 } }", "feature_noise"},
  };
  for (const auto& [text, words] : refused) {
    EXPECT_THAT(CheckScenario(ScenarioOf(text)), IsError(StatusCode::kInvalidArgument, words))
        << text;
  }
}

TEST(ScenarioChecksTest, TakesWhatIsInRange) {
  for (const char* text : {
           "",
           "stopped_after_ms: 1000000000000",
           "aggregator { journal_ms: 3600000 crash_every_ms: 1000000000000 }",
           "sites { speed { pareto_shape: 1.2 } task_speed { log_normal_sigma: 0.5 } }",
           "sites { availability { period_ms: 86400000 open_share: 0.3 } }",
           "sites { trace { site_id: 'a' time_s: 2 } trace { site_id: 'b' time_s: 1 } }",
           "sites { attacks { share: 0.2 backdoor { trigger { column: 'x' value: '1' } "
           "target_label: 'no' scale: 10 } } }",
           "dataset { partitioned { sites: 100 shards_per_site: 2 feature_noise: 0.1 } }",
           "dataset { partitioned { shares: [3, 1] site_ids: ['a', 'b'] dirichlet: 0.1 } }",
       }) {
    const absl::Status status = CheckScenario(ScenarioOf(text));
    EXPECT_TRUE(status.ok()) << status;
  }
}

TEST(ScenarioChecksTest, NamesSitesAndColumnsThatThereAreNot) {
  const std::pair<const char*, const char*> refused[] = {
      {"sites { overrides { site_id: 'x' slowdown: 2 } }", "sites.overrides: the scenario has no"},
      {"sites { trace { site_id: 'x' } }", "sites.trace: the scenario has no site 'x'"},
      {"sites { attacks { sites: 'x' sign_flip {} } }", "sites.attacks: the scenario has no site"},
      {"sites { attacks { share: 1 backdoor { trigger { column: 'z' value: '1' } "
       "target_label: 'no' } } }",
       "no column 'z'"},
      {"sites { attacks { share: 1 backdoor { trigger { column: 'x' value: '7' } "
       "target_label: 'no' } } }",
       "can not have the value '7'"},
      {"sites { attacks { share: 1 backdoor { trigger { column: 'x' value: '1' } "
       "target_label: 'perhaps' } } }",
       "no value 'perhaps'"},
  };
  for (const auto& [text, words] : refused) {
    SmallWorld world({.sites = 2, .scenario = text});
    EXPECT_THAT(world.Create(), IsError(StatusCode::kInvalidArgument, words)) << text;
  }
  SmallWorld world({.sites = 2, .scenario = "sites { attacks { share: 1 label_flip {} } }"});
  world.plan.mutable_contract()->mutable_label()->mutable_real()->set_max(1);
  EXPECT_THAT(world.Create(), IsError(StatusCode::kInvalidArgument, "without classes"));
}

TEST(ScenarioChecksTest, LoadsTheTraceThatTheFileNames) {
  const TempFolder folder;
  std::ofstream(folder.File("s.textproto")) << "sites { trace_file: 'trace.csv' }";
  EXPECT_THAT(LoadScenario(folder.File("s.textproto"), folder.path()),
              IsError(StatusCode::kNotFound, "trace.csv"));
  std::ofstream(folder.File("trace.csv"))
      << "site,time_s,slowdown,upload_bytes_per_s,download_bytes_per_s,available\na,3,2,,,0\n";
  const auto scenario = LoadScenario(folder.File("s.textproto"), folder.path());
  ASSERT_TRUE(scenario.ok()) << scenario.status();
  ASSERT_EQ(scenario->sites().trace_size(), 1);
  EXPECT_EQ(scenario->sites().trace(0).slowdown(), 2);
  EXPECT_EQ(scenario->sites().trace(0).presence(), v1::TracePoint::AWAY);
  std::ofstream(folder.File("both.textproto"))
      << "sites { trace_file: 'trace.csv' trace { site_id: 'a' } }";
  EXPECT_THAT(LoadScenario(folder.File("both.textproto"), folder.path()),
              IsError(StatusCode::kInvalidArgument, "sites.trace_file"));
}

TEST(ScenarioChecksTest, ThereAreNoMoreSitesThanAFederationMayHave) {
  std::string sites;
  for (int i = 0; i <= 10'000; ++i) absl::StrAppend(&sites, "sites { site_id: 's", i, "' } ");
  EXPECT_THAT(CheckScenario(ScenarioOf(absl::StrCat("dataset { natural { ", sites, "} }"))),
              IsError(StatusCode::kInvalidArgument, "dataset.natural.sites: there are up to"));
}

}  // namespace
}  // namespace consilium
