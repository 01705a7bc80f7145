#include "sim/engine/refused_rows.h"

#include <set>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "protocol/core/printable_text.h"
#include "spdlog/spdlog.h"

namespace consilium {
namespace {

// A file is read again for each seed.
bool IsNews(const std::string& path) {
  static absl::Mutex& mu = *new absl::Mutex;
  static std::set<std::string>& told = *new std::set<std::string>;
  absl::MutexLock lock(&mu);
  return told.insert(path).second;
}

}  // namespace

void WarnOfRefusedRows(const std::string& path, uint64_t read, uint64_t refused,
                       const RowRefusal& first) {
  if (refused == 0 || !IsNews(path)) return;
  const std::string where =
      first.column.empty() ? "" : absl::StrCat(", column \"", first.column, "\"");
  spdlog::warn(
      "{}: {} of {} rows are left out, since the contract refuses them; the first: line "
      "{}{}: {}",
      path, refused, read, first.line, PrintableText(where), PrintableText(first.reason));
}

}  // namespace consilium
