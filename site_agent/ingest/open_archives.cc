#include "site_agent/ingest/open_archives.h"

#include <utility>

#include "protocol/core/status_macros.h"

namespace consilium {

absl::StatusOr<const NpzFile*> OpenArchives::Open(const std::string& path) {
  const auto found = kept_.find(path);
  if (found != kept_.end()) return &found->second;
  if (passing_.has_value() && passing_->first == path) return &passing_->second;
  passing_.reset();
  CONSILIUM_ASSIGN_OR_RETURN(NpzFile file, NpzFile::Open(path));
  if (kept_.size() < kKeptMax) return &kept_.emplace(path, std::move(file)).first->second;
  passing_.emplace(path, std::move(file));
  return &passing_->second;
}

}  // namespace consilium
