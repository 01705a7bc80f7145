#include "models/spec/expression.h"

#include <algorithm>
#include <limits>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "protocol/core/status_macros.h"
#include "protocol/wire/limits.h"

namespace consilium {
namespace {

// Recursive descent:
//   sum     = product (('+' | '-') product)*
//   product = factor (('*' | '/') factor)*
//   factor  = integer | name | name '(' sum ',' sum ')' | '(' sum ')' | '-' factor
class Evaluator {
 public:
  Evaluator(absl::string_view text, const std::map<std::string, int64_t>& parameters)
      : text_(text), parameters_(parameters) {}

  absl::StatusOr<int64_t> Evaluate() {
    if (text_.size() > limits::kExpressionCharsMax) {
      return absl::InvalidArgumentError(
          absl::StrFormat("an expression has %d characters; at most %d are allowed", text_.size(),
                          limits::kExpressionCharsMax));
    }
    CONSILIUM_ASSIGN_OR_RETURN(const int64_t value, Sum());
    if (SkipSpace(); at_ != text_.size()) return Error("expected an operator or the end");
    return value;
  }

 private:
  // Counts the nesting while it lives.
  struct Nested {
    explicit Nested(int& depth) : depth(depth) { ++depth; }
    ~Nested() { --depth; }
    int& depth;
  };

  absl::Status Error(absl::string_view what) const {
    return absl::InvalidArgumentError(
        absl::StrCat("expression \"", text_, "\": ", what, " at character ", at_ + 1));
  }

  void SkipSpace() {
    while (at_ < text_.size() && absl::ascii_isspace(text_[at_])) ++at_;
  }

  bool Take(char c) {
    SkipSpace();
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }

  absl::StatusOr<int64_t> Sum() {
    CONSILIUM_ASSIGN_OR_RETURN(int64_t value, Product());
    while (true) {
      bool overflow = false;
      if (Take('+')) {
        CONSILIUM_ASSIGN_OR_RETURN(const int64_t right, Product());
        overflow = __builtin_add_overflow(value, right, &value);
      } else if (Take('-')) {
        CONSILIUM_ASSIGN_OR_RETURN(const int64_t right, Product());
        overflow = __builtin_sub_overflow(value, right, &value);
      } else {
        return value;
      }
      if (overflow) return Error("a sum does not fit into 64 bits");
    }
  }

  absl::StatusOr<int64_t> Product() {
    CONSILIUM_ASSIGN_OR_RETURN(int64_t value, Factor());
    while (true) {
      if (Take('*')) {
        CONSILIUM_ASSIGN_OR_RETURN(const int64_t right, Factor());
        if (__builtin_mul_overflow(value, right, &value)) {
          return Error("a product does not fit into 64 bits");
        }
      } else if (Take('/')) {
        CONSILIUM_ASSIGN_OR_RETURN(const int64_t right, Factor());
        CONSILIUM_ASSIGN_OR_RETURN(value, Quotient(value, right));
      } else {
        return value;
      }
    }
  }

  absl::StatusOr<int64_t> Quotient(int64_t left, int64_t right) const {
    if (right == 0) return Error("a division by zero");
    if (left == std::numeric_limits<int64_t>::min() && right == -1) {
      return Error("a quotient does not fit into 64 bits");
    }
    const bool rounds_up = left % right != 0 && (left < 0) != (right < 0);
    return left / right - (rounds_up ? 1 : 0);
  }

  absl::StatusOr<int64_t> Factor() {
    const Nested nested(depth_);
    if (depth_ > limits::kExpressionDepthMax) return Error("is nested too deeply");
    SkipSpace();
    if (at_ >= text_.size()) return Error("expected a number, a parameter or '('");
    if (Take('-')) {
      CONSILIUM_ASSIGN_OR_RETURN(const int64_t value, Factor());
      int64_t negated;
      if (__builtin_sub_overflow(int64_t{0}, value, &negated)) {
        return Error("a number does not fit into 64 bits");
      }
      return negated;
    }
    if (Take('(')) {
      CONSILIUM_ASSIGN_OR_RETURN(const int64_t value, Sum());
      if (!Take(')')) return Error("expected ')'");
      return value;
    }
    if (absl::ascii_isdigit(text_[at_])) return Integer();
    if (absl::ascii_isalpha(text_[at_]) || text_[at_] == '_') return NameOrCall();
    return Error("expected a number, a parameter or '('");
  }

  absl::StatusOr<int64_t> Integer() {
    int64_t value = 0;
    for (; at_ < text_.size() && absl::ascii_isdigit(text_[at_]); ++at_) {
      if (__builtin_mul_overflow(value, int64_t{10}, &value) ||
          __builtin_add_overflow(value, int64_t{text_[at_] - '0'}, &value)) {
        return Error("a number does not fit into 64 bits");
      }
    }
    return value;
  }

  absl::StatusOr<int64_t> NameOrCall() {
    const size_t begin = at_;
    while (at_ < text_.size() && (absl::ascii_isalnum(text_[at_]) || text_[at_] == '_')) ++at_;
    const std::string name(text_.substr(begin, at_ - begin));
    if (name == "min" || name == "max") {
      if (!Take('(')) return Error("expected '('");
      CONSILIUM_ASSIGN_OR_RETURN(const int64_t left, Sum());
      if (!Take(',')) return Error("expected ','");
      CONSILIUM_ASSIGN_OR_RETURN(const int64_t right, Sum());
      if (!Take(')')) return Error("expected ')'");
      return name == "min" ? std::min(left, right) : std::max(left, right);
    }
    const auto found = parameters_.find(name);
    if (found == parameters_.end()) {
      at_ = begin;
      return Error(absl::StrCat("there is no parameter \"", name, "\""));
    }
    return found->second;
  }

  const absl::string_view text_;
  const std::map<std::string, int64_t>& parameters_;
  size_t at_ = 0;
  int depth_ = 0;
};

}  // namespace

absl::StatusOr<int64_t> EvaluateExpression(absl::string_view text,
                                           const std::map<std::string, int64_t>& parameters) {
  return Evaluator(text, parameters).Evaluate();
}

}  // namespace consilium
