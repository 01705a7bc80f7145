// The little arithmetic of model specs: sizes as expressions over a spec's parameters, so that one
// file describes a family ("features / 2", "max(8, min(units, 256))").
//
// Threads: any.

#ifndef CONSILIUM_MODELS_SPEC_EXPRESSION_H_
#define CONSILIUM_MODELS_SPEC_EXPRESSION_H_

#include <cstdint>
#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace consilium {

// The value of `text`: integers, names of `parameters`, + - * / ( ), min(a, b), max(a, b) in 64
// bits; `/` rounds down. INVALID_ARGUMENT quotes the expression and gives the character (from 1):
//   what does not parse, an unknown name, a division by zero, an overflow, more characters than
//   limits::kExpressionCharsMax, nesting beyond limits::kExpressionDepthMax.
absl::StatusOr<int64_t> EvaluateExpression(absl::string_view text,
                                           const std::map<std::string, int64_t>& parameters);

}  // namespace consilium

#endif  // CONSILIUM_MODELS_SPEC_EXPRESSION_H_
