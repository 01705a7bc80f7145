#include "protocol/rpc/stream_registry.h"

#include <algorithm>
#include <string>

#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "protocol/wire/reasons.h"

namespace consilium {
namespace {

absl::Status Busy(absl::string_view what, absl::Duration retry_after) {
  v1::ErrorDetail detail;
  detail.set_reason(v1::BUSY);
  detail.set_retryable(true);
  detail.set_retry_after_ms(static_cast<uint32_t>(absl::ToInt64Milliseconds(retry_after)));
  detail.set_message(std::string(what));
  return Refusal(detail);
}

}  // namespace

StreamRegistry::StreamRegistry(Limits limits) : limits_(limits), watcher_([this] { Watch(); }) {}

StreamRegistry::~StreamRegistry() {
  {
    absl::MutexLock lock(&mu_);
    stopping_ = true;
    changed_.Signal();
  }
  watcher_.join();
}

absl::Status StreamRegistry::Enter(Stream* stream, const SiteId& site) {
  absl::MutexLock lock(&mu_);
  if (streams_.size() >= static_cast<size_t>(limits_.streams_max)) {
    return Busy(absl::StrFormat("%d streams of this kind are open, which is all that is allowed",
                                limits_.streams_max),
                limits_.busy_retry_after);
  }
  int& of_site = per_site_[site];
  if (of_site >= limits_.streams_per_site_max) {
    return Busy(absl::StrFormat(
                    "%d streams of this kind and site are open, which is all it may have", of_site),
                limits_.busy_retry_after);
  }
  ++of_site;
  Entry entry;
  entry.site = site;
  streams_.emplace(stream, std::move(entry));
  return absl::OkStatus();
}

void StreamRegistry::Leave(Stream* stream) {
  absl::MutexLock lock(&mu_);
  const auto found = streams_.find(stream);
  if (found == streams_.end()) return;
  const auto count = per_site_.find(found->second.site);
  if (--count->second == 0) per_site_.erase(count);
  streams_.erase(found);
}

void StreamRegistry::SetDeadline(Stream* stream, absl::Time deadline, const absl::Status& why) {
  absl::MutexLock lock(&mu_);
  const auto found = streams_.find(stream);
  if (found == streams_.end()) return;
  found->second.deadline = deadline;
  found->second.why = why;
  changed_.Signal();
}

void StreamRegistry::ClearDeadline(Stream* stream) {
  absl::MutexLock lock(&mu_);
  const auto found = streams_.find(stream);
  if (found != streams_.end()) found->second.deadline = absl::InfiniteFuture();
}

void StreamRegistry::EndAllOf(const SiteId& site, const absl::Status& why) {
  absl::MutexLock lock(&mu_);
  for (auto& [stream, entry] : streams_) {
    if (entry.site == site) stream->End(why);
  }
}

int StreamRegistry::size() const {
  absl::MutexLock lock(&mu_);
  return static_cast<int>(streams_.size());
}

absl::Time StreamRegistry::NextDeadline() const {
  absl::Time next = absl::InfiniteFuture();
  for (const auto& [stream, entry] : streams_) next = std::min(next, entry.deadline);
  return next;
}

void StreamRegistry::Watch() {
  absl::MutexLock lock(&mu_);
  while (!stopping_) {
    const absl::Time now = absl::Now();
    for (auto& [stream, entry] : streams_) {
      if (entry.deadline > now) continue;
      entry.deadline = absl::InfiniteFuture();
      stream->End(entry.why);
    }
    changed_.WaitWithDeadline(&mu_, NextDeadline());
  }
}

}  // namespace consilium
