// Matchers for absl::Status and StatusOr.

#ifndef CONSILIUM_TESTS_FAKES_STATUS_MATCHERS_H_
#define CONSILIUM_TESTS_FAKES_STATUS_MATCHERS_H_

#include <gmock/gmock.h>

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace consilium {

inline const absl::Status& StatusOf(const absl::Status& status) { return status; }
template <typename T>
const absl::Status& StatusOf(const absl::StatusOr<T>& value) {
  return value.status();
}

MATCHER(IsOk, "is OK") {
  *result_listener << StatusOf(arg).ToString();
  return arg.ok();
}

// The code, and a piece of the words that a person would read.
MATCHER_P2(IsError, code, words, "is the error " + std::string(words)) {
  const absl::Status& status = StatusOf(arg);
  *result_listener << status.ToString();
  return status.code() == code && status.message().find(words) != absl::string_view::npos;
}

}  // namespace consilium

#endif  // CONSILIUM_TESTS_FAKES_STATUS_MATCHERS_H_
