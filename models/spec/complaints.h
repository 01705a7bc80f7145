// Everything that is wrong with a file a person wrote, collected so that one look mends it all.
//
// Ownership: values. Threads: one.

#ifndef CONSILIUM_MODELS_SPEC_COMPLAINTS_H_
#define CONSILIUM_MODELS_SPEC_COMPLAINTS_H_

#include <cmath>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace consilium {

class Complaints {
 public:
  // One sentence, "path: what." `what` says what the field must be, or what is wrong with it. Those
  // beyond the hundredth are only counted.
  void Add(absl::string_view path, absl::string_view what) {
    if (sentences_.size() < kSentencesMax) {
      sentences_.push_back(absl::StrCat(path, ": ", what, "."));
    } else {
      ++untold_;
    }
  }

  // Add() unless `holds`.
  void Require(bool holds, absl::string_view path, absl::string_view what) {
    if (!holds) Add(path, what);
  }

  bool empty() const { return sentences_.empty(); }

  std::vector<std::string> Take() {
    if (untold_ > 0) {
      sentences_.push_back(absl::StrCat("…: there are ", untold_, " more complaints."));
    }
    return std::move(sentences_);
  }

 private:
  static constexpr size_t kSentencesMax = 100;

  std::vector<std::string> sentences_;
  size_t untold_ = 0;
};

// Ranges of real numbers from files; false for NaN and infinities.
inline bool IsPositive(double value) { return std::isfinite(value) && value > 0; }
inline bool IsNotNegative(double value) { return std::isfinite(value) && value >= 0; }
inline bool IsShare(double value) { return value >= 0 && value < 1; }

}  // namespace consilium

#endif  // CONSILIUM_MODELS_SPEC_COMPLAINTS_H_
