// One input of the engine on its way through the server, with those who wait for what follows.
//
// Ownership: shares what it names. Threads: handed from thread to thread by the queue; its
// functions are called on the engine thread and must not wait.

#ifndef CONSILIUM_AGGREGATOR_SERVER_ENGINE_INPUT_H_
#define CONSILIUM_AGGREGATOR_SERVER_ENGINE_INPUT_H_

#include <cstddef>
#include <functional>
#include <memory>

#include "absl/status/statusor.h"
#include "aggregator/core/events.h"
#include "aggregator/server/links.h"
#include "aggregator/server/staged_blobs.h"
#include "consilium/v1/transfer.pb.h"

namespace consilium {

struct EngineInput {
  federation::Event event;
  // Of the message that it came in; 0 for what no peer sent.
  size_t bytes = 0;
  // Of UpdateStaged: called once, with the acceptance receipt or the refusal. `hold` keeps the
  // blob until then.
  std::function<void(absl::StatusOr<v1::Receipt>)> answer;
  std::shared_ptr<StagedBlobs::Hold> hold;
  // Of SiteAttached: the stream that asks.
  std::shared_ptr<SiteLink> link;
  // Of any: called once the input is durable.
  std::function<void()> committed;
};

}  // namespace consilium

#endif  // CONSILIUM_AGGREGATOR_SERVER_ENGINE_INPUT_H_
