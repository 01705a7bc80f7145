#include "sim/engine/world.h"

#include <string>
#include <utility>

namespace consilium {

template <typename Message>
void World::Post(size_t site, MessageOrder order, Message message) {
  SiteLink& link = links[site];
  if (link.IsSpoilt(message.stream)) return;
  const MessageFate fate = link.DrawMessage(order);
  if (fate.kind == MessageFate::Kind::kLost) {
    link.Spoil(message.stream);
    After(fate.delay, {site, SiteTurn::Kind::kStreamBreaks, message.stream});
    return;
  }
  if (fate.kind == MessageFate::Kind::kArrivesTwice) {
    queue.Schedule(now() + fate.second_delay, message);
  }
  queue.Schedule(now() + fate.delay, std::move(message));
}

void World::SendToAggregator(size_t site, MessageOrder order, federation::Event event) {
  ToAggregator message;
  message.event = std::move(event);
  message.site = site;
  message.stream = links[site].stream();
  Post(site, order, std::move(message));
}

void World::SendToSite(const SiteId& site, MessageOrder order, site::Event event) {
  const auto found = site_index.find(site);
  if (found == site_index.end() || links[found->second].attached_stream() == 0) return;
  ToSite message;
  message.site = found->second;
  message.event = std::move(event);
  message.stream = links[found->second].attached_stream();
  Post(found->second, order, std::move(message));
}

site::SendFailed World::FailureOf(SiteLink& link, const Answer& answer, absl::string_view why) {
  site::SendFailed failed;
  failed.run = answer.run;
  failed.task = answer.task;
  failed.error.set_reason(v1::TRUNCATED);
  failed.error.set_retryable(true);
  failed.error.set_message(std::string(why));
  failed.jitter = link.DrawJitter();
  return failed;
}

void World::AnswerUpload(const SiteId& site, Answer answer) {
  const auto found = site_index.find(site);
  if (found == site_index.end()) return;
  SiteLink& link = links[found->second];
  const MessageFate fate = link.DrawMessage(MessageOrder::kKept);
  ToSite message;
  message.site = found->second;
  message.process = answer.process;
  if (fate.kind == MessageFate::Kind::kLost) {
    message.event = FailureOf(link, answer, "the simulated network lost the answer");
  } else {
    message.event = std::move(answer.event);
  }
  queue.Schedule(now() + fate.delay, std::move(message));
}

void World::BreakUpload(const SiteId& site, Answer answer, absl::string_view why) {
  const auto found = site_index.find(site);
  if (found == site_index.end()) return;
  SiteLink& link = links[found->second];
  ToSite message;
  message.site = found->second;
  message.process = answer.process;
  message.event = FailureOf(link, answer, why);
  queue.Schedule(now() + link.latency(), std::move(message));
}

}  // namespace consilium
