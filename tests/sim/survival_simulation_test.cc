// Federations of published benchmarks: a given division into sites and parts, tables standardised
// by their sites, times to an event; tiny ones made here, and the real files where they are.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <cmath>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "models/spec/run_plan.h"
#include "protocol/core/files.h"
#include "protocol/wire/derived_seed.h"
#include "protocol/wire/limits.h"
#include "sim/commands/run_command.h"
#include "sim/engine/baselines.h"
#include "sim/engine/scenario_checks.h"
#include "sim/engine/site_data.h"
#include "tests/fakes/status_matchers.h"
#include "tests/fakes/temp_folder.h"

namespace consilium {
namespace {

using absl::StatusCode;
using ::testing::DoubleNear;
using ::testing::HasSubstr;

constexpr char kContract[] = R"(
  name: "tiny"
  columns { name: "x" number { min: -100 max: 100 } }
  columns { name: "y" number { min: -100 max: 100 } }
  columns { name: "kind" category { values: ["a", "b"] drop_first: true } }
  label {
    column: "days"
    survival { time_max: 1000 event_column: "died" observed: "1" censored: "0" }
  }
  patient_id_column: "id"
)";

constexpr char kRun[] = R"(
  name: "tiny-survival"
  model { spec_file: "SPEC" }
  data {
    contract_file: "contract.textproto"
    split { validation: 0.2 test: 0.3 by: PATIENT_STRATIFIED }
  }
  training { optimizer { sgd { learning_rate: 0.1 } } batch_examples: 16 local_steps: 20 }
  aggregation { preset: FEDAVG }
  stop { versions_max: 12 }
  seed: 3
)";

class SurvivalSimulation : public testing::Test {
 protected:
  // Patients 0 to 239 at three sites; the hazard grows with x and has nothing to do with y.
  void SetUp() override {
    RandomStream random(SeedPath{7, "survival_simulation_test", ""});
    std::string csv = "id,hospital,x,y,kind,days,died\n";
    for (int i = 0; i < 240; ++i) {
      const double x = random.NextNormal();
      const double days = -std::log(1 - random.NextUnit()) * 100 * std::exp(-1.5 * x);
      const double watched = std::min(days, 300 * random.NextUnit() + 5);
      absl::StrAppend(&csv, "p", i, ",",
                      i % 3 == 0   ? "north"
                      : i % 3 == 1 ? "south"
                                   : "west",
                      ",", x, ",", random.NextNormal(), ",", i % 2 == 0 ? "a" : "b", ",",
                      std::min(watched, 999.0), ",", watched == days ? 1 : 0, "\n");
    }
    Write("table.csv", csv);
    Write("contract.textproto", kContract);
    std::string run = kRun;
    run.replace(run.find("SPEC"), 4, CONSILIUM_SOURCE_DIR "/models/zoo/cox_regression.textproto");
    Write("run.textproto", run);
    Write("scenario.textproto",
          "dataset { together { file: \"table.csv\" site_column: \"hospital\" } }");
  }

  void Write(const std::string& name, const std::string& text) {
    std::ofstream(folder_.File(name)) << text;
  }

  absl::StatusOr<FederationData> Load(const std::vector<std::string>& overrides = {}) {
    auto plan = LoadRunPlan(folder_.File("run.textproto"), overrides);
    if (!plan.ok()) return plan.status();
    auto scenario = LoadScenario(folder_.File("scenario.textproto"), folder_.path());
    if (!scenario.ok()) return scenario.status();
    return LoadScenarioData(*scenario, *plan, folder_.path());
  }

  nlohmann::json Run(RunCommand command = {}) {
    command.run_file = folder_.File("run.textproto");
    command.scenario_file = folder_.File("scenario.textproto");
    command.out = folder_.File("out");
    EXPECT_THAT(Execute(command), IsOk());
    const auto text = ReadFile(folder_.File("out/summary.json"), limits::kTextFileBytesMax);
    return text.ok() ? nlohmann::json::parse(*text) : nlohmann::json();
  }

  TempFolder folder_;
};

// Who has the event has it at once or after the last interval: of those at once, each hospital has
// `early` of its sixty patients.
void WriteHazardTable(const std::string& path, int early) {
  std::string csv = "id,hospital,x,y,kind,days,died\n";
  for (int i = 0; i < 180; ++i) {
    const int patient = i / 3;
    const bool dies = patient % 2 == 0;
    const char* const days = !dies ? "900" : patient / 2 < early ? "5" : "800";
    absl::StrAppend(&csv, "p", i, ",",
                    i % 3 == 0   ? "north"
                    : i % 3 == 1 ? "south"
                                 : "west",
                    ",", i % 7, ",", i % 5, ",a,", days, ",", dies ? 1 : 0, "\n");
  }
  std::ofstream(path) << csv;
}

// Few of the events that a hospital tells of are within the intervals: as a life through all of
// them is all that the loss knows of the others, its scores would be those few patients'.
TEST_F(SurvivalSimulation, ToldScoresHideFewEventsWithinTheIntervals) {
  Write("contract.textproto", absl::StrReplaceAll(kContract, {{"time_max: 1000",
                                                               "time_max: 1000 interval_ends: 10 "
                                                               "interval_ends: 20"}}));
  Write("run.textproto", absl::StrReplaceAll(kRun, {{"SPEC", CONSILIUM_SOURCE_DIR
                                                     "/models/zoo/discrete_hazard.textproto"},
                                                    {"versions_max: 12", "versions_max: 2"}}));
  for (const auto& [early, is_told] : {std::pair(28, true), std::pair(4, false)}) {
    WriteHazardTable(folder_.File("table.csv"), early);
    RunCommand command;
    command.begin = SavedRunsOptions::Begin::kRestart;
    const nlohmann::json summary = Run(command);
    ASSERT_EQ(summary.at("sites").size(), 3u);
    EXPECT_EQ(!summary.at("federated").at("log_loss").is_null(), is_told) << early;
    // Nothing else hides them.
    EXPECT_FALSE(summary.at("simulation_only").at("federated").at("LOG_LOSS").is_null());
  }
}

TEST_F(SurvivalSimulation, LearnsWhoDiesFirst) {
  const nlohmann::json summary = Run();
  ASSERT_EQ(summary.at("sites").size(), 3u);
  const nlohmann::json& federated = summary.at("federated");
  EXPECT_GT(federated.at("c_index").get<double>(), 0.7);
  EXPECT_TRUE(federated.at("log_loss").is_null());
  // Near the pooled model, which sees all patients at once.
  EXPECT_THAT(federated.at("cox_loss").get<double>(),
              DoubleNear(summary.at("pooled").at("cox_loss").get<double>(), 0.1));
  EXPECT_EQ(summary.at("curve").size(), 13u);
  EXPECT_LT(summary.at("curve").back().at("validation_loss").get<double>(),
            summary.at("curve").front().at("validation_loss").get<double>());
  // Pairs of patients of two sites count where all are one.
  const nlohmann::json& open = summary.at("simulation_only").at("federated").at("C_INDEX");
  EXPECT_GT(open.at("all_patients").get<double>(), 0.7);
  EXPECT_NE(open.at("all_patients"), federated.at("c_index"));
  double sum = 0;
  for (const auto& centre : open.at("centres")) sum += centre.get<double>();
  EXPECT_DOUBLE_EQ(open.at("mean_over_centres").get<double>(), sum / 3);
}

// The same patients by a hazard in each of five intervals.
TEST_F(SurvivalSimulation, LearnsWhoDiesFirstInIntervals) {
  std::string contract = kContract;
  contract.replace(contract.find("time_max: 1000"), 14,
                   "time_max: 1000 interval_ends: [10, 25, 50, 100, 200]");
  Write("contract.textproto", contract);
  std::string run = kRun;
  run.replace(run.find("SPEC"), 4, CONSILIUM_SOURCE_DIR "/models/zoo/discrete_hazard.textproto");
  Write("run.textproto", run);
  const nlohmann::json summary = Run();
  const nlohmann::json& federated = summary.at("federated");
  EXPECT_GT(federated.at("c_index").get<double>(), 0.7);
  EXPECT_TRUE(federated.at("cox_loss").is_null());
  EXPECT_TRUE(federated.at("auroc").is_null());
  // Near the pooled model, which sees all patients at once; far better than half in each interval,
  // with which it begins.
  EXPECT_THAT(federated.at("log_loss").get<double>(),
              DoubleNear(summary.at("pooled").at("log_loss").get<double>(), 0.1));
  EXPECT_EQ(summary.at("metric"), "LOG_LOSS");
  EXPECT_LT(summary.at("curve").back().at("validation_loss").get<double>(),
            0.8 * summary.at("curve").front().at("validation_loss").get<double>());
  EXPECT_GT(summary.at("simulation_only").at("federated").at("C_INDEX").at("all_patients"), 0.7);
}

// Six of one hospital's patients are watched for longer than anyone else: as at an agent, it takes
// no part.
TEST_F(SurvivalSimulation, AHospitalWithFewInAnIntervalTakesNoPart) {
  std::string contract = kContract;
  contract.replace(contract.find("time_max: 1000"), 14,
                   "time_max: 1000 interval_ends: [10, 50, 310, 900]");
  Write("contract.textproto", contract);
  std::ofstream table(folder_.File("table.csv"), std::ios::app);
  for (int i = 240; i < 246; ++i) table << "p" << i << ",west,0,0,a,900,0\n";
  table.close();
  std::string run = kRun;
  run.replace(run.find("SPEC"), 4, CONSILIUM_SOURCE_DIR "/models/zoo/discrete_hazard.textproto");
  Write("run.textproto", run);
  const nlohmann::json sites = Run().at("sites");
  ASSERT_EQ(sites.size(), 2u) << sites;
  EXPECT_EQ(sites[0].at("name"), "north");
  EXPECT_EQ(sites[1].at("name"), "south");
}

TEST_F(SurvivalSimulation, ASiteColumnTellsWhoseARowIs) {
  const auto data = Load();
  ASSERT_THAT(data, IsOk());
  ASSERT_EQ(data->size(), 3u);
  for (const auto& entry : *data) EXPECT_EQ(entry.second.rows.size(), 80u) << entry.first.value();
  EXPECT_EQ(data->at(SiteId("south")).rows[0].patient_id, "p1");
  Write("scenario.textproto", "dataset { together { file: \"table.csv\" site_column: \"ward\" } }");
  EXPECT_THAT(Load(), IsError(StatusCode::kInvalidArgument, "no column \"ward\""));
  Write("scenario.textproto", "dataset { together { file: \"table.csv\" } }");
  EXPECT_THAT(Load(), IsError(StatusCode::kInvalidArgument, "name a site_column or a split_file"));
}

TEST_F(SurvivalSimulation, AGivenSplitReplacesTheHash) {
  Write("scenario.textproto",
        "dataset { together { file: \"table.csv\" } split_file: \"split.csv\" }");
  Write("split.csv",
        "site,patient,part\neast,p5,test\nup,p7,train\neast,p2,train\neast,p3,validation\n");
  const auto data = Load();
  ASSERT_THAT(data, IsOk());
  ASSERT_EQ(data->size(), 2u);
  const SiteData& east = data->at(SiteId("east"));
  ASSERT_EQ(east.rows.size(), 3u);  // The 236 others are left out.
  EXPECT_EQ(east.rows[2].patient_id, "p5");
  EXPECT_EQ(east.parts, (std::vector<v1::Split>{v1::TRAIN, v1::VALIDATION, v1::TEST}));
  // The same with the sites of a column, by the number of the row there.
  Write("scenario.textproto",
        "dataset { together { file: \"table.csv\" site_column: \"hospital\" } "
        "split_file: \"split.csv\" }");
  Write("split.csv", "site,row,part\nsouth,79,test\nsouth,0,train\nwest,1,train\n");
  const auto by_row = Load();
  ASSERT_THAT(by_row, IsOk());
  EXPECT_EQ(by_row->at(SiteId("south")).rows[1].patient_id, "p238");
  EXPECT_EQ(CountPart(by_row->at(SiteId("south")), v1::TEST), 1u);
}

TEST_F(SurvivalSimulation, AGivenSplitThatDoesNotFitIsRefusedByLine) {
  Write("scenario.textproto",
        "dataset { together { file: \"table.csv\" site_column: \"hospital\" } "
        "split_file: \"split.csv\" }");
  const std::pair<const char*, const char*> cases[] = {
      {"patient,part\np1,train\n", "split.csv:1: the header must be"},
      {"", "split.csv:1: the header must be"},
      {"site,row,part\nsouth,1,training\n", "split.csv:2: the part must be"},
      {"site,row,part\nsouth,1\n", "split.csv:2: must have three fields"},
      {"site,row,part\nSouth?,1,test\n", "split.csv:2: "},
      {"site,row,part\nsouth,1,test\nsouth,1,train\n", "split.csv:3: is there twice"},
      {"site,row,part\nsouth,80,test\n", "names 1 rows or patients, of which 1 are not"},
      {"site,patient,part\nsouth,p0,test\n", "names 1 rows or patients, of which 1 are not"},
  };
  for (const auto& [text, sentence] : cases) {
    Write("split.csv", text);
    EXPECT_THAT(Load(), IsError(StatusCode::kInvalidArgument, sentence)) << text;
  }
  Write("scenario.textproto",
        "dataset { together { file: \"table.csv\" } split_file: \"absent.csv\" }");
  EXPECT_THAT(Load(), IsError(StatusCode::kNotFound, "absent.csv"));
}

TEST_F(SurvivalSimulation, SitesMayStandardiseTheirOwnTables) {
  Write("scenario.textproto",
        "dataset { together { file: \"table.csv\" site_column: \"hospital\" } "
        "site_tables: STANDARDISED }");
  EXPECT_THAT(Load(), IsError(StatusCode::kInvalidArgument, "standardise NONE"));
  const std::vector<std::string> none = {"data.standardise=NONE"};
  const auto data = Load(none);
  ASSERT_THAT(data, IsOk());
  const auto plan = LoadRunPlan(folder_.File("run.textproto"), none);
  ASSERT_THAT(plan, IsOk());
  for (const auto& entry : *data) {
    const auto examples = EncodeSite(*plan, {}, entry.second);
    ASSERT_THAT(examples, IsOk());
    const Examples& train = examples->train;
    const double n = static_cast<double>(train.count());
    for (size_t f = 0; f < 3; ++f) {  // The category's feature too.
      double sum = 0;
      double squares = 0;
      for (size_t i = 0; i < train.count(); ++i) {
        sum += train.row(i)[f];
        squares += train.row(i)[f] * train.row(i)[f];
      }
      EXPECT_NEAR(sum / n, 0, 1e-6);
      EXPECT_NEAR((squares - sum * sum / n) / (n - 1), 1, 1e-5);
    }
  }
}

struct Benchmark {
  const char* scenario;
  const char* folder;
  std::map<std::string, std::pair<size_t, size_t>> counts;  // Training, test.
};

// The real files of FLamby's benchmarks give FLamby's own numbers of patients (arXiv:2210.04620).
TEST(FlambyBenchmarks, HaveThePublishedNumbersOfPatients) {
  const char* datasets = getenv("CONSILIUM_DATASETS");
  if (datasets == nullptr) GTEST_SKIP() << "CONSILIUM_DATASETS is not set";
  const Benchmark benchmarks[] = {
      {"flamby-heart",
       "heart-disease-uci",
       {{"cleveland", {199, 104}},
        {"hungarian", {172, 89}},
        {"switzerland", {30, 16}},
        {"long-beach", {85, 45}}}},
      {"flamby-tcga-brca",
       "fed-tcga-brca",
       {{"northeast", {248, 63}},
        {"south", {156, 40}},
        {"west", {164, 42}},
        {"midwest", {129, 33}},
        {"europe", {129, 33}},
        {"canada", {40, 11}}}},
  };
  for (const Benchmark& benchmark : benchmarks) {
    SCOPED_TRACE(benchmark.scenario);
    const std::string folder =
        absl::StrCat(CONSILIUM_SOURCE_DIR "/sim/scenarios/", benchmark.scenario);
    const auto plan = LoadRunPlan(folder + "/fedavg.textproto", {});
    ASSERT_THAT(plan, IsOk());
    const auto scenario = LoadScenario(folder + "/scenario.textproto", folder);
    ASSERT_THAT(scenario, IsOk());
    const auto data =
        LoadScenarioData(*scenario, *plan, absl::StrCat(datasets, "/", benchmark.folder));
    ASSERT_THAT(data, IsOk());
    std::map<std::string, std::pair<size_t, size_t>> counts;
    for (const auto& entry : *data) {
      counts[entry.first.value()] = {CountPart(entry.second, v1::TRAIN),
                                     CountPart(entry.second, v1::TEST)};
      EXPECT_EQ(CountPart(entry.second, v1::VALIDATION), 0u);
    }
    EXPECT_EQ(counts, benchmark.counts);
  }
}

// FLamby's patients by a discrete hazard. Nothing is published of it; FLamby's Cox model is at
// 0.73, and what knows nothing at 0.5.
TEST(FlambyBenchmarks, ADiscreteHazardOrdersRealPatients) {
  const char* datasets = getenv("CONSILIUM_DATASETS");
  if (datasets == nullptr) GTEST_SKIP() << "CONSILIUM_DATASETS is not set";
  const TempFolder folder;
  RunCommand command;
  const std::string scenario = CONSILIUM_SOURCE_DIR "/sim/scenarios/flamby-tcga-brca";
  command.run_file = scenario + "/discrete_hazard.textproto";
  command.scenario_file = scenario + "/scenario.textproto";
  command.data_folder = absl::StrCat(datasets, "/fed-tcga-brca");
  command.out = folder.File("out");
  ASSERT_THAT(Execute(command), IsOk());
  const auto text = ReadFile(folder.File("out/summary.json"), limits::kTextFileBytesMax);
  ASSERT_THAT(text, IsOk());
  const nlohmann::json summary = nlohmann::json::parse(*text);
  EXPECT_EQ(summary.at("sites").size(), 5u);  // Canada's patients were watched too briefly.
  const nlohmann::json& open = summary.at("simulation_only").at("federated").at("C_INDEX");
  EXPECT_GT(open.at("mean_over_centres").get<double>(), 0.65);
  EXPECT_GT(open.at("all_patients").get<double>(), 0.65);
}

}  // namespace
}  // namespace consilium
