#include "aggregator/server/site_sessions.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "aggregator/server/site_log.h"

namespace consilium {

absl::Status SiteSessions::OnEvent(const std::shared_ptr<SiteStream>& stream, v1::SiteEvent event) {
  std::shared_ptr<SiteSession> session;
  {
    absl::MutexLock lock(&mu_);
    std::shared_ptr<SiteSession>& entry = sessions_[stream.get()];
    if (entry == nullptr) entry = std::make_shared<SiteSession>(parts_, stream);
    session = entry;
  }
  // Protobuf keeps what it does not know, and the journal would too.
  event.DiscardUnknownFields();
  absl::Status status = session->OnEvent(event);
  if (!status.ok()) {
    LogOfSite(SiteLine::kWarning, stream->peer().site(),
              absl::StrCat("its control stream ends: ", status.ToString()));
  }
  return status;
}

void SiteSessions::OnDetach(const std::shared_ptr<SiteStream>& stream, const absl::Status&) {
  std::shared_ptr<SiteSession> session;
  {
    absl::MutexLock lock(&mu_);
    const auto it = sessions_.find(stream.get());
    if (it == sessions_.end()) return;
    session = std::move(it->second);
    sessions_.erase(it);
  }
  session->OnEnded();
}

}  // namespace consilium
