#include "sim/engine/attacks.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "protocol/core/status_macros.h"
#include "protocol/wire/derived_seed.h"
#include "site_agent/ingest/value_matcher.h"

namespace consilium {
namespace {

constexpr double kPoisonedShareDefault = 0.5;

double OrOne(double value) { return value == 0 ? 1 : value; }

absl::Status Refuse(absl::string_view why) {
  return absl::InvalidArgumentError(absl::StrCat("sites.attacks: ", why));
}

// As RawRow::label has it; nothing where the contract does not list it.
std::optional<double> LabelOf(const v1::Label& label, const std::string& text) {
  ValueMatcher values;
  absl::Status added;
  if (label.has_binary()) {
    for (const std::string& value : label.binary().positive()) added.Update(values.Add(value, 1));
    for (const std::string& value : label.binary().negative()) added.Update(values.Add(value, 0));
  }
  for (int i = 0; i < label.classes().values_size(); ++i) {
    added.Update(values.Add(label.classes().values(i), i));
  }
  const std::optional<int> index = added.ok() ? values.Find(text) : std::nullopt;
  if (!index.has_value()) return std::nullopt;
  return *index;
}

struct ColumnValue {
  size_t column = 0;
  double value = 0;
};

// As RawRow::values has it; nothing where the column can not hold it.
std::optional<double> ValueOf(const v1::Column& column, const std::string& text) {
  if (column.has_tensor()) return std::nullopt;
  if (column.has_number()) {
    const std::optional<double> number = ParseNumber(text);
    const v1::Number& range = column.number();
    if (!number.has_value() || *number < range.min() || *number > range.max()) return std::nullopt;
    if (range.integer() && *number != std::round(*number)) return std::nullopt;
    return number;
  }
  ValueMatcher values;
  for (int i = 0; i < column.category().values_size(); ++i) {
    if (!values.Add(column.category().values(i), i).ok()) return std::nullopt;
  }
  const std::optional<int> index = values.Find(text);
  if (!index.has_value()) return std::nullopt;
  return *index;
}

absl::StatusOr<std::vector<ColumnValue>> TriggerOf(const v1::Backdoor& backdoor,
                                                   const v1::DataContract& contract) {
  std::vector<ColumnValue> out;
  for (const v1::Backdoor::Trigger& trigger : backdoor.trigger()) {
    int column = 0;
    while (column < contract.columns_size() &&
           contract.columns(column).name() != trigger.column()) {
      ++column;
    }
    if (column == contract.columns_size()) {
      return Refuse(absl::StrCat("the contract has no column '", trigger.column(), "'"));
    }
    const std::optional<double> value = ValueOf(contract.columns(column), trigger.value());
    if (!value.has_value()) {
      return Refuse(absl::StrCat("the column '", trigger.column(), "' can not have the value '",
                                 trigger.value(), "'"));
    }
    out.push_back({static_cast<size_t>(column), *value});
  }
  return out;
}

void Pull(const std::vector<ColumnValue>& trigger, RawRow& row) {
  for (const ColumnValue& change : trigger) row.values[change.column] = change.value;
}

void Scale(double factor, std::vector<float>& delta) {
  for (float& value : delta) value = static_cast<float>(factor * value);
}

void FlipLabels(const v1::Label& label, SiteData& data) {
  const double last = label.has_binary() ? 1 : label.classes().values_size() - 1;
  for (size_t i = 0; i < data.rows.size(); ++i) {
    if (data.parts[i] == v1::TRAIN) data.rows[i].label = last - data.rows[i].label;
  }
}

struct Backdoored {
  double target = 0;
  std::vector<ColumnValue> trigger;
};

// The site's test rows of other labels, now labelled with the target.
SiteData TestRowsFor(const Backdoored& backdoor, const SiteData& data) {
  SiteData out;
  for (size_t i = 0; i < data.rows.size(); ++i) {
    if (data.parts[i] != v1::TEST || data.rows[i].label == backdoor.target) continue;
    out.rows.push_back(data.rows[i]);
    out.rows.back().label = backdoor.target;
    out.parts.push_back(v1::TEST);
  }
  return out;
}

// How many of the rows the model takes for what they are labelled.
absl::StatusOr<uint64_t> Correct(const SiteData& rows, const BackdoorInput& input) {
  CONSILIUM_ASSIGN_OR_RETURN(const SplitExamples examples,
                             EncodeSite(*input.plan, *input.standardisation, rows));
  CONSILIUM_ASSIGN_OR_RETURN(const v1::MetricSums sums,
                             input.trainer->Evaluate({input.plan, input.weights, &examples.test}));
  return sums.correct();
}

const v1::Backdoor* FirstBackdoor(const v1::Scenario& scenario) {
  for (const v1::Attack& attack : scenario.sites().attacks()) {
    if (attack.has_backdoor()) return &attack.backdoor();
  }
  return nullptr;
}

}  // namespace

absl::Status CheckAttackOnData(const v1::Attack& attack, const v1::DataContract& contract) {
  if (!attack.has_label_flip() && !attack.has_backdoor()) return absl::OkStatus();
  if (!contract.label().has_binary() && !contract.label().has_classes()) {
    return Refuse("labels without classes can neither be flipped nor targeted");
  }
  if (!attack.has_backdoor()) return absl::OkStatus();
  const std::string& target = attack.backdoor().target_label();
  if (!LabelOf(contract.label(), target).has_value()) {
    return Refuse(absl::StrCat("the contract's label has no value '", target, "'"));
  }
  return TriggerOf(attack.backdoor(), contract).status();
}

std::map<SiteId, v1::Attack> AssignAttacks(const v1::Scenario& scenario,
                                           const FederationData& data) {
  std::map<SiteId, v1::Attack> assigned;
  for (const v1::Attack& attack : scenario.sites().attacks()) {
    for (const std::string& site : attack.sites()) assigned[SiteId(site)] = attack;
  }
  std::vector<std::pair<uint64_t, SiteId>> others;
  for (const auto& [site, site_data] : data) {
    if (assigned.contains(site)) continue;
    others.emplace_back(DeriveSeed64({scenario.seed(), "attacks", site.value()}), site);
  }
  std::sort(others.begin(), others.end());
  size_t next = 0;
  for (const v1::Attack& attack : scenario.sites().attacks()) {
    const double wanted = std::round(attack.share() * static_cast<double>(data.size()));
    for (double taken = 0; taken < wanted && next < others.size(); ++taken, ++next) {
      assigned[others[next].second] = attack;
    }
  }
  return assigned;
}

Attacker::Attacker(v1::Attack attack, uint64_t scenario_seed, SiteId site)
    : attack_(std::move(attack)), scenario_seed_(scenario_seed), site_(std::move(site)) {}

void Attacker::PlantBackdoor(const v1::DataContract& contract, SiteData& data) const {
  const v1::Backdoor& backdoor = attack_.backdoor();
  const std::optional<double> target = LabelOf(contract.label(), backdoor.target_label());
  const auto trigger = TriggerOf(backdoor, contract);
  if (!target.has_value() || !trigger.ok()) return;
  const double share =
      backdoor.poisoned_share() == 0 ? kPoisonedShareDefault : backdoor.poisoned_share();
  RandomStream random(SeedPath{scenario_seed_, "backdoor", site_.value()});
  for (size_t i = 0; i < data.rows.size(); ++i) {
    if (data.parts[i] != v1::TRAIN || random.NextUnit() >= share) continue;
    Pull(*trigger, data.rows[i]);
    data.rows[i].label = *target;
  }
}

SiteData Attacker::Poisoned(const SiteData& honest, const v1::DataContract& contract) const {
  SiteData data = honest;
  if (attack_.has_label_flip()) FlipLabels(contract.label(), data);
  if (attack_.has_backdoor()) PlantBackdoor(contract, data);
  return data;
}

void Attacker::AddNoise(TaskId task, std::vector<float>& delta) const {
  double squares = 0;
  for (const float value : delta) squares += static_cast<double>(value) * value;
  const double rms = std::sqrt(squares / static_cast<double>(std::max<size_t>(delta.size(), 1)));
  const double deviation = OrOne(attack_.noise().deviation()) * rms;
  RandomStream random(SeedPath{scenario_seed_, "attack noise", site_.value(), task.value()});
  for (float& value : delta) value += static_cast<float>(deviation * random.NextNormal());
}

void Attacker::Distort(TaskId task, std::vector<float>& delta) {
  switch (attack_.kind_case()) {
    case v1::Attack::kSignFlip:
      return Scale(-OrOne(attack_.sign_flip().scale()), delta);
    case v1::Attack::kNoise:
      return AddNoise(task, delta);
    case v1::Attack::kBackdoor:
      return Scale(OrOne(attack_.backdoor().scale()), delta);
    case v1::Attack::kFreeRider:
      if (attack_.free_rider().sends() == v1::FreeRider::STALE_COPY) {
        if (first_update_.empty()) first_update_ = delta;
        delta = first_update_;
      } else {
        std::fill(delta.begin(), delta.end(), 0.0f);
      }
      return;
    case v1::Attack::kLabelFlip:
    case v1::Attack::KIND_NOT_SET:
      return;
  }
}

absl::StatusOr<std::optional<BackdoorSuccess>> MeasureBackdoor(const v1::Scenario& scenario,
                                                               const BackdoorInput& input) {
  const v1::Backdoor* backdoor = FirstBackdoor(scenario);
  if (backdoor == nullptr) return std::nullopt;
  Backdoored sought;
  CONSILIUM_ASSIGN_OR_RETURN(sought.trigger, TriggerOf(*backdoor, input.plan->contract()));
  const auto target = LabelOf(input.plan->contract().label(), backdoor->target_label());
  if (!target.has_value()) return Refuse("the target label is none of the contract's");
  sought.target = *target;
  uint64_t taken = 0;
  uint64_t taken_as_they_are = 0;
  BackdoorSuccess success;
  for (const auto& [site, data] : *input.data) {
    SiteData rows = TestRowsFor(sought, data);
    if (rows.rows.empty()) continue;
    success.rows += rows.rows.size();
    CONSILIUM_ASSIGN_OR_RETURN(const uint64_t as_they_are, Correct(rows, input));
    for (RawRow& row : rows.rows) Pull(sought.trigger, row);
    CONSILIUM_ASSIGN_OR_RETURN(const uint64_t triggered, Correct(rows, input));
    taken += triggered;
    taken_as_they_are += as_they_are;
  }
  if (success.rows == 0) return std::nullopt;
  success.with_trigger = static_cast<double>(taken) / static_cast<double>(success.rows);
  success.without_trigger =
      static_cast<double>(taken_as_they_are) / static_cast<double>(success.rows);
  return success;
}

}  // namespace consilium
