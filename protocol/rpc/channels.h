// The limits of servers and channels as gRPC's arguments, each with its reason.
//
// Threads: any.

#ifndef CONSILIUM_PROTOCOL_RPC_CHANNELS_H_
#define CONSILIUM_PROTOCOL_RPC_CHANNELS_H_

#include <grpcpp/channel.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/server_builder.h>

#include <memory>
#include <string>

namespace consilium {

// A connection for control and another for bulk: a model on its way must not hold up a directive.
enum class ChannelKind { kControl, kBulk };

// Sets message and metadata sizes, stream and memory quotas, handshake and keepalive times.
void ApplyServerLimits(grpc::ServerBuilder& builder);

// A channel to host:port with a connection of its own, made when it is first used.
std::shared_ptr<grpc::Channel> MakeChannel(
    const std::string& address, const std::shared_ptr<grpc::ChannelCredentials>& credentials,
    ChannelKind kind);

}  // namespace consilium

#endif  // CONSILIUM_PROTOCOL_RPC_CHANNELS_H_
