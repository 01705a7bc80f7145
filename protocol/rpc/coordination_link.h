// The site's side of v1.Coordination: the stream to the aggregator, with a thread that hands over
// what comes and one that sends.
//
// Ownership: holds the channel; the handler outlives it. Threads: the handler is called by the
// link's own thread, which must not destroy the link; Send() and Close() come from any.

#ifndef CONSILIUM_PROTOCOL_RPC_COORDINATION_LINK_H_
#define CONSILIUM_PROTOCOL_RPC_COORDINATION_LINK_H_

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>

#include <memory>
#include <thread>

#include "absl/status/status.h"
#include "consilium/v1/coordination.grpc.pb.h"
#include "consilium/v1/coordination.pb.h"
#include "protocol/core/bounded_queue.h"

namespace consilium {

class CoordinationLink {
 public:
  class Handler {
   public:
    virtual ~Handler() = default;
    // One directive; the next is read when this returned.
    virtual void OnDirective(v1::Directive directive) = 0;
    // The link has ended, once, as the last call: OK where the aggregator closed it without an
    // error, CANCELLED after Close(), its refusal with its detail, UNAVAILABLE where it is gone or
    // was never reached (the message says why, a refused certificate included).
    virtual void OnClosed(const absl::Status& why) = 0;
  };

  // Opens the stream with `hello`. Whether that works out is told to the handler.
  CoordinationLink(const std::shared_ptr<grpc::Channel>& channel, const v1::Hello& hello,
                   Handler* handler);
  // Closes it, and waits for OnClosed to return.
  ~CoordinationLink();
  CoordinationLink(const CoordinationLink&) = delete;
  CoordinationLink& operator=(const CoordinationLink&) = delete;

  // Queues it. False where the link has ended, or too much waits already.
  bool Send(v1::SiteEvent event);
  // Ends the link. What was queued may be lost: the protocol asks again at the next attach.
  void Close();

 private:
  void Receive();

  Handler* const handler_;
  grpc::ClientContext context_;
  const std::unique_ptr<v1::Coordination::Stub> stub_;
  BoundedQueue<v1::SiteEvent> outgoing_;
  std::thread receiver_;
};

}  // namespace consilium

#endif  // CONSILIUM_PROTOCOL_RPC_COORDINATION_LINK_H_
