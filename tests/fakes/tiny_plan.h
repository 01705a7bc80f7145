// A run plan that is valid as it stands, in text: logistic regression on two numbers. Tests merge
// what they are about over it (MergeTextFormat).

#ifndef CONSILIUM_TESTS_FAKES_TINY_PLAN_H_
#define CONSILIUM_TESTS_FAKES_TINY_PLAN_H_

namespace consilium {

inline constexpr char kTinyPlanText[] = R"(
  config {
    name: "test"
    model { spec_file: "m" }
    data { contract_file: "c" }
    training { optimizer { sgd { learning_rate: 0.1 } } }
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
    columns { name: "x" number { min: 0 max: 1 } }
    columns { name: "y" number { min: 0 max: 1 } }
    label { column: "sick" binary { positive: "1" negative: "0" } }
  }
)";

}  // namespace consilium

#endif  // CONSILIUM_TESTS_FAKES_TINY_PLAN_H_
