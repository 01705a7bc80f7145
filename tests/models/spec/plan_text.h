// A small plan that is valid as it stands, for tests to change.

#ifndef CONSILIUM_TESTS_MODELS_SPEC_PLAN_TEXT_H_
#define CONSILIUM_TESTS_MODELS_SPEC_PLAN_TEXT_H_

namespace consilium {

inline constexpr char kPlanText[] = R"(
config {
  name: "heart"
  model { spec_file: "m.textproto" }
  data { contract_file: "c.textproto" }
  training { optimizer { sgd { learning_rate: 0.05 } } }
  seed: 42
}
spec {
  name: "logistic"
  parameters { name: "features" }
  parameters { name: "units" default_value: 8 }
  input_shape: "features"
  layers { name: "hidden" linear { units: "units" } }
  layers { name: "logit" linear { units: "1" } }
  loss { kind: BCE_WITH_LOGITS }
}
contract {
  name: "heart-disease"
  csv { missing_tokens: "?" }
  columns { name: "age" number { min: 0 max: 120 integer: true } }
  columns { name: "sex" category { values: "0" values: "1" drop_first: true } }
  columns { name: "pain" category { values: "1" values: "2" values: "none" } }
  label { column: "disease" binary { positive: "1" negative: "0" } }
}
)";

}  // namespace consilium

#endif  // CONSILIUM_TESTS_MODELS_SPEC_PLAN_TEXT_H_
