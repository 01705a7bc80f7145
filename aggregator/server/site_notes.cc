#include "aggregator/server/site_notes.h"

#include <spdlog/spdlog.h>

#include <utility>

namespace consilium {

SiteNotes::SiteNotes(SiteDirectory& directory, const Clock& clock)
    : directory_(directory), clock_(clock), thread_([this] { Run(); }) {}

SiteNotes::~SiteNotes() {
  {
    absl::MutexLock lock(&mu_);
    stopping_ = true;
  }
  thread_.join();
}

void SiteNotes::NoteAttached(const SiteId& site, std::string software_version) {
  absl::MutexLock lock(&mu_);
  waiting_[site] = std::move(software_version);
}

void SiteNotes::Run() {
  for (;;) {
    std::map<SiteId, std::string> notes;
    {
      absl::MutexLock lock(&mu_);
      mu_.Await(absl::Condition(this, &SiteNotes::HasWork));
      if (waiting_.empty()) return;
      notes.swap(waiting_);
    }
    for (const auto& [site, version] : notes) {
      absl::Status kept = directory_.NoteSeen(site, clock_.Now(), version);
      // A join file that was made and not used must not let another one in its place.
      if (kept.ok()) kept = directory_.DropFirstToken(site);
      if (!kept.ok()) spdlog::error("site {}: {}", site.value(), kept.ToString());
    }
  }
}

}  // namespace consilium
