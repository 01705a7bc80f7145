// Early return on absl::Status, as everywhere in the field.
//
//   CONSILIUM_RETURN_IF_ERROR(store.Commit());
//   CONSILIUM_ASSIGN_OR_RETURN(Blob blob, store.Read(hash));

#ifndef CONSILIUM_PROTOCOL_CORE_STATUS_MACROS_H_
#define CONSILIUM_PROTOCOL_CORE_STATUS_MACROS_H_

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#define CONSILIUM_RETURN_IF_ERROR(expr)                                   \
  do {                                                                    \
    if (absl::Status consilium_status = (expr); !consilium_status.ok()) { \
      return consilium_status;                                            \
    }                                                                     \
  } while (false)

#define CONSILIUM_MACRO_JOIN_INNER(a, b) a##b
#define CONSILIUM_MACRO_JOIN(a, b) CONSILIUM_MACRO_JOIN_INNER(a, b)
#define CONSILIUM_ASSIGN_OR_RETURN_INNER(tmp, lhs, expr) \
  auto tmp = (expr);                                     \
  if (!tmp.ok()) return std::move(tmp).status();         \
  lhs = *std::move(tmp)
#define CONSILIUM_ASSIGN_OR_RETURN(lhs, expr) \
  CONSILIUM_ASSIGN_OR_RETURN_INNER(CONSILIUM_MACRO_JOIN(consilium_status_or_, __LINE__), lhs, expr)

#endif  // CONSILIUM_PROTOCOL_CORE_STATUS_MACROS_H_
