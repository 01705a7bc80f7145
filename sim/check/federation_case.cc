#include "sim/check/federation_case.h"

#include <google/protobuf/text_format.h>

#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "models/spec/run_plan.h"
#include "protocol/core/files.h"
#include "protocol/core/status_macros.h"
#include "protocol/wire/derived_seed.h"
#include "protocol/wire/text_format.h"
#include "sim/engine/scenario_checks.h"

namespace consilium {
namespace {

// Twelve sites at most, of 30 training patients and more each where they are alike. Where they are
// not, the smallest may have too few to take part.
constexpr int kTableRows = 600;
constexpr uint32_t kSitesMax = 12;
constexpr double kUnlikeChance = 0.3;
constexpr double kUnlikePowerLaw = 1.5;

constexpr char kPlanText[] = R"(
  config {
    name: "checked"
    model { spec_file: "model.textproto" }
    data { contract_file: "contract.textproto" split { validation: 0.2 test: 0.2 } }
    training {
      optimizer { sgd { learning_rate: 0.1 } } batch_examples: 8 local_steps: 3
      task_duration_min_ms: 1000
    }
  }
  spec {
    name: "logistic"
    parameters { name: "features" }
    input_shape: "features"
    layers { name: "logit" linear { units: "1" } }
    loss { kind: BCE_WITH_LOGITS }
  }
  contract {
    name: "table"
    patient_id_column: "patient"
    columns { name: "x" number { min: 0 max: 1 } }
    columns { name: "y" number { min: 0 max: 1 } }
    label { column: "sick" binary { positive: "1" negative: "0" } }
  }
)";

// NOLINTBEGIN(bugprone-suspicious-missing-comma): the longer ones take two lines.
constexpr const char* kRules[] = {
    "preset: STALENESS_WEIGHTED_TABLE",
    "preset: STALENESS_WEIGHTED_TABLE staleness { hinge { slope: 2 free: 1 } } server { adam {} }",
    "preset: STALENESS_WEIGHTED_TABLE trigger { barrier { deadline_ms: 30000 } }",
    "preset: FEDAVG",
    "preset: FEDAVG trigger { barrier { deadline_ms: 4000 sites_min: 2 } } "
    "server { sgd { momentum: 0.5 } }",
    "preset: FEDAVG trigger { buffer { updates: 3 } } staleness { polynomial {} }",
    "preset: FEDASYNC",
    "preset: FEDASYNC limits { staleness_versions_max: 1 }",
    "preset: FEDBUFF",
    "preset: FEDBUFF trigger { buffer { updates: 1 } } rate_correction { cap: 2 decay: 0.5 }",
    "preset: FEDBUFF trigger { buffer { updates: 3 } } combine { krum {} } server { adam {} }",
    "preset: CA2FL",
    "preset: CA2FL trigger { buffer { updates: 4 } } limits { staleness_versions_max: 2 }",
    "preset: FEDADAM",
    "preset: FEDYOGI trigger { interval { interval_ms: 4000 } } staleness { hinge {} } "
    "server { yogi {} delay_adaptive { of: MEAN } }",
    "preset: FEDNOVA trigger { barrier { deadline_ms: 9000 } }",
    "preset: FEDNOVA trigger { buffer { updates: 3 } } staleness { polynomial {} }",
    "preset: ACE",
    "preset: ACED entry_age_versions_max: 1",
    "preset: FADAS trigger { interval { interval_ms: 2500 } }",
    "preset: DC_ASGD",
    "preset: STALE_SYNCHRONOUS trigger { bounded { updates_ahead_max: 1 } }",
    "preset: STALE_SYNCHRONOUS",
    "preset: FEDBUFF_FLSIM trigger { buffer { updates: 2 } }",
    "preset: FEDBUFF_NVFLARE trigger { buffer { updates: 3 } }",
    "preset: FEDBUFF_APPFL trigger { buffer { updates: 2 } }",
    "preset: FEDBUFF_PLATO trigger { buffer { updates: 2 } }",
    "preset: COORDINATE_MEDIAN",
    "preset: TRIMMED_MEAN trigger { buffer { updates: 4 } } "
    "combine { band_versions: 1 trimmed_mean {} }",
    "preset: KRUM trigger { barrier { deadline_ms: 30000 } }",
    "preset: MULTI_KRUM trigger { buffer { updates: 5 } } "
    "combine { krum { hostile_max: 1 } band_versions: 2 }",
    "preset: GEOMETRIC_MEDIAN trigger { buffer { updates: 3 } } transform { clip_norm: 0.5 }",
    "preset: NORM_BOUND transform { clip_norm: 0.5 }",
    "preset: BASGD combine { buckets { buckets: 3 } }",
    "preset: ASYNCFEDED",
    "preset: ZENO transform { zeno { validator: 'site-1' } }",
    "preset: ZENO transform { zeno { validator: 'site-2' epsilon: 0.1 } } "
    "trigger { buffer { updates: 3 } } limits { staleness_versions_max: 1 }",
    "preset: ZENO transform { zeno { validator: 'site-1' } } "
    "trigger { interval { interval_ms: 3000 } } staleness { polynomial {} }",
    "preset: ZENO transform { zeno { validator: 'site-1' } } "
    "trigger { barrier { deadline_ms: 6000 } }",
    "preset: FEDPROX",
    "preset: FEDADAGRAD trigger { barrier { deadline_ms: 6000 } }",
    "preset: FEDAMSGRAD trigger { buffer { updates: 2 } } staleness { polynomial {} } "
    "rate_correction {}",
    "preset: SCAFFOLD",
    "preset: SCAFFOLD trigger { barrier { deadline_ms: 4000 sites_min: 2 } }",
    "preset: DITTO",
    "preset: FEDCOMPASS",
    "preset: FEDCOMPASS trigger { groups { local_steps_min: 2 local_steps_max: 12 "
    "latest_factor: 1.2 speed_decay: 0.5 } } server { sgd { momentum: 0.5 } }",
    "preset: FEDBUFF trigger { buffer { updates: 2 } } fairness { window_versions: 4 }",
    "preset: FEDBUFF trigger { interval { interval_ms: 3000 } } "
    "fairness { epsilon: 0.1 window_versions: 2 local_steps_share_min: 0.5 }",
    "preset: STALENESS_WEIGHTED_TABLE fairness { epsilon: 0.1 window_versions: 3 }",
    "preset: ADAPTIVE",
    "preset: ADAPTIVE trigger { interval { interval_ms: 3000 } } fairness { window_versions: 3 }",
    "preset: FEDAVG trigger { barrier { deadline_ms: 60000 sites_per_round: 2 } }",
    "preset: SCAFFOLD trigger { barrier { deadline_ms: 60000 sites_per_round: 3 sites_min: 2 } }",
    "preset: FEDAVG trigger { barrier { deadline_ms: 700 sites_per_round: 2 sites_min: 2 } }",
    "preset: FEDAVG trigger { barrier { deadline_ms: 4000 } } fairness { window_versions: 2 }",
    "preset: FEDBUFF trigger { buffer { updates: 3 } } "
    "concurrency { sites_max: 2 deadline_ms: 9000 }",
    "preset: FEDASYNC concurrency { sites_max: 3 deadline_ms: 2500 }",
    "preset: FADAS trigger { interval { interval_ms: 2500 } } "
    "concurrency { sites_max: 2 deadline_ms: 4000 }",
    "preset: STALE_SYNCHRONOUS concurrency { sites_max: 2 deadline_ms: 5000 }",
};
// NOLINTEND(bugprone-suspicious-missing-comma)

// Rules by which sites keep layers to themselves, with a model that has some beside others.
struct PersonalRule {
  const char* config;  // Of v1.RunConfig.
  const char* layers;  // Of v1.ModelSpec, before the last one.
};
constexpr PersonalRule kPersonalRules[] = {
    {"aggregation { preset: FEDPER } training { personal { layers: 'logit' } }",
     "layers { name: 'hidden' linear { units: '3' } } layers { name: 'bend' relu {} }"},
    {"aggregation { preset: FEDPER trigger { barrier { deadline_ms: 4000 sites_min: 2 } } } "
     "training { personal { layers: 'hidden' } }",
     "layers { name: 'hidden' linear { units: '2' } } layers { name: 'bend' relu {} }"},
    {"aggregation { preset: FEDPER trigger { barrier { deadline_ms: 60000 sites_per_round: 2 } } } "
     "training { personal { layers: 'hidden' layers: 'logit' } }",
     "layers { name: 'hidden' linear { units: '2' } } "
     "layers { name: 'shared' linear { units: '2' } }"},
    {"aggregation { preset: FEDBN }", "layers { name: 'scale' layer_norm {} }"},
    // With running statistics, which lie behind all that is trained.
    {"aggregation { preset: FEDBN trigger { barrier { deadline_ms: 9000 } } }",
     "layers { name: 'hidden' linear { units: '3' } } layers { name: 'scale' batch_norm {} } "
     "layers { name: 'bend' relu {} }"},
};

// Of v1.RunConfig, one case in five each.
constexpr double kConfigChance = 0.2;
constexpr const char* kConfigs[] = {
    "retention: UNTIL_DURABLE",
    "participation { start_deadline_ms: 60000 }",
    "stop { patience_versions: 2 }",
    "stop { target { metric: LOG_LOSS value: 0.3 } }",
    "data { standardise: FEDERATED }",
    "training { tasks_in_flight_max: 1 }",
    "training { tasks_in_flight_max: 2 local_steps: 5 }",
    "aggregation { limits { update_norm_max: 3 } }",
};

struct Part {
  double chance;
  const char* text;  // Of v1.SitesConfig.
};
constexpr Part kParts[] = {
    {0.7, "latency_ms: 20"},
    {0.5, "task_ms: 1500"},
    {0.3, "speed { pareto_shape: 1.1 }"},
    {0.3, "task_speed { log_normal_sigma: 1 }"},
    {0.2, "links { upload_bytes_per_s: 8 download_bytes_per_s: 16 slowdown { uniform_max: 4 } }"},
    {0.3, "availability { period_ms: 9000 open_share: 0.5 }"},
    {0.3, "faults { upload_loss_rate: 0.2 }"},
    {0.3, "faults { duplicate_rate: 0.4 }"},
    {0.3, "faults { link_drop_rate: 0.2 link_down_ms: 700 }"},
    {0.3, "faults { message_loss_rate: 0.05 link_down_ms: 300 }"},
    {0.3, "faults { message_duplicate_rate: 0.3 }"},
    {0.3, "faults { reorder_rate: 0.3 reorder_ms: 2000 }"},
    {0.3, "faults { crash_rate: 0.2 restart_ms: 4000 }"},
    {0.1, "faults { leave_rate: 0.05 removed_after_ms: 3000 }"},
    {0.3, "faults { clock_ahead_max_ms: 9000 clock_drift_max_ppm: 5000 }"},
    {0.1, "attacks { share: 0.2 sign_flip { scale: 3 } }"},
    {0.1, "attacks { share: 0.2 noise { deviation: 5 } }"},
    {0.1, "attacks { share: 0.2 free_rider { sends: STALE_COPY } }"},
    {0.05, "attacks { share: 0.2 free_rider {} }"},
    {0.05, "attacks { share: 0.2 label_flip {} }"},
    {0.05,
     "attacks { share: 0.2 backdoor { trigger { column: 'x' value: '1' } target_label: '1' "
     "scale: 3 } }"},
    {0.2, "overrides { site_id: 'site-1' slowdown: 10 }"},
    {0.1,
     "trace { site_id: 'site-1' time_s: 4 presence: AWAY } trace { site_id: 'site-1' time_s: 7 } "
     "trace_repeat_ms: 12000"},
};

// Of v1.AggregatorProcess, one case in four each.
constexpr double kAggregatorChance = 0.25;
constexpr const char* kAggregators[] = {
    "journal_ms: 40",
    "journal_ms: 3000",
    "crash_every_ms: 20000",
};

std::string TableText() {
  std::string text = "patient,x,y,sick\n";
  RandomStream random(SeedPath{1, "checked table", ""});
  for (int i = 0; i < kTableRows; ++i) {
    const double x = random.NextUnit();
    const double y = random.NextUnit();
    absl::StrAppendFormat(&text, "p%d,%.4f,%.4f,%d\n", i, x, y, x + y > 1 ? 1 : 0);
  }
  return text;
}

// Only what is written in this file.
void Merge(const char* text, google::protobuf::Message& message) {
  MergeTextFormat(text, "checked federation", message).IgnoreError();
}

std::string TextOf(const google::protobuf::Message& message) {
  std::string text;
  google::protobuf::TextFormat::PrintToString(message, &text);
  return text;
}

void DrawRule(RandomStream& random, v1::RunPlan& plan) {
  const uint64_t rule = random.NextBelow(std::size(kRules) + std::size(kPersonalRules));
  if (rule < std::size(kRules)) {
    return Merge(kRules[rule], *plan.mutable_config()->mutable_aggregation());
  }
  const PersonalRule& personal = kPersonalRules[rule - std::size(kRules)];
  Merge(personal.config, *plan.mutable_config());
  v1::ModelSpec& spec = *plan.mutable_spec();
  const v1::Layer last = spec.layers(0);
  spec.clear_layers();
  Merge(personal.layers, spec);
  *spec.add_layers() = last;
}

}  // namespace

FederationCase DrawCase(uint64_t seed) {
  RandomStream random(SeedPath{seed, "checked federation", ""});
  FederationCase drawn;
  Merge(kPlanText, drawn.plan);
  v1::RunConfig& config = *drawn.plan.mutable_config();
  DrawRule(random, drawn.plan);
  for (const char* text : kConfigs) {
    if (random.NextUnit() < kConfigChance) Merge(text, config);
  }
  config.mutable_stop()->set_versions_max(static_cast<uint32_t>(1 + random.NextBelow(12)));
  config.set_seed(seed);
  v1::Scenario& scenario = drawn.scenario;
  scenario.set_name(absl::StrCat("checked-", seed));
  scenario.set_seed(seed);
  auto& table = *scenario.mutable_dataset()->mutable_partitioned();
  table.set_file(kCaseTable);
  table.set_sites(static_cast<uint32_t>(2 + random.NextBelow(kSitesMax - 1)));
  if (random.NextUnit() < kUnlikeChance) table.set_size_power_law(kUnlikePowerLaw);
  for (const Part& part : kParts) {
    if (random.NextUnit() < part.chance) Merge(part.text, *scenario.mutable_sites());
  }
  for (const char* text : kAggregators) {
    if (random.NextUnit() < kAggregatorChance) Merge(text, *scenario.mutable_aggregator());
  }
  return drawn;
}

absl::Status WriteCaseTable(const std::string& folder) {
  CONSILIUM_RETURN_IF_ERROR(MakeFolders(folder, 0755));
  return WriteFileDurably(absl::StrCat(folder, "/", kCaseTable), TableText(), 0644);
}

absl::Status WriteCase(const FederationCase& federation, const std::string& folder) {
  CONSILIUM_RETURN_IF_ERROR(WriteCaseTable(folder));
  const std::pair<const char*, std::string> files[] = {
      {"run.textproto", TextOf(federation.plan.config())},
      {"scenario.textproto", TextOf(federation.scenario)},
      {"model.textproto", TextOf(federation.plan.spec())},
      {"contract.textproto", TextOf(federation.plan.contract())},
  };
  for (const auto& [name, text] : files) {
    CONSILIUM_RETURN_IF_ERROR(WriteFileDurably(absl::StrCat(folder, "/", name), text, 0644));
  }
  return absl::OkStatus();
}

absl::StatusOr<FederationCase> ReadCase(const std::string& folder) {
  FederationCase read;
  CONSILIUM_ASSIGN_OR_RETURN(read.plan, LoadRunPlan(absl::StrCat(folder, "/run.textproto")));
  CONSILIUM_ASSIGN_OR_RETURN(read.scenario,
                             LoadScenario(absl::StrCat(folder, "/scenario.textproto"), folder));
  return read;
}

}  // namespace consilium
