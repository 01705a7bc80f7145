#include "protocol/rpc/coordination_link.h"

#include <optional>
#include <thread>
#include <utility>

#include "protocol/rpc/rpc_status.h"
#include "protocol/wire/limits.h"

namespace consilium {

CoordinationLink::CoordinationLink(const std::shared_ptr<grpc::Channel>& channel,
                                   const v1::Hello& hello, Handler* handler)
    : handler_(handler),
      stub_(v1::Coordination::NewStub(channel)),
      outgoing_(limits::kDirectiveQueueMax) {
  v1::SiteEvent first;
  *first.mutable_hello() = hello;
  outgoing_.TryPush(std::move(first));
  receiver_ = std::thread([this] { Receive(); });
}

CoordinationLink::~CoordinationLink() {
  Close();
  receiver_.join();
}

bool CoordinationLink::Send(v1::SiteEvent event) { return outgoing_.TryPush(std::move(event)); }

void CoordinationLink::Close() {
  outgoing_.Close();
  context_.TryCancel();
}

void CoordinationLink::Receive() {
  // Here, because it waits for the connection.
  const auto stream = stub_->Attach(&context_);
  std::thread sender([this, &stream] {
    while (std::optional<v1::SiteEvent> event = outgoing_.Pop()) {
      if (!stream->Write(*event)) break;
    }
    outgoing_.Close();
  });
  v1::Directive directive;
  while (stream->Read(&directive)) handler_->OnDirective(std::move(directive));
  outgoing_.Close();
  sender.join();
  handler_->OnClosed(FromGrpcStatus(stream->Finish()));
}

}  // namespace consilium
