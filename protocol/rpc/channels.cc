#include "protocol/rpc/channels.h"

#include <grpc/impl/codegen/compression_types.h>
#include <grpc/impl/codegen/grpc_types.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/resource_quota.h>
#include <grpcpp/support/channel_arguments.h>

#include <algorithm>

#include "absl/time/time.h"
#include "protocol/rpc/credentials.h"
#include "protocol/wire/limits.h"

namespace consilium {
namespace {

constexpr absl::Duration kClientKeepalive = absl::Seconds(60);
constexpr absl::Duration kKeepaliveTimeout = absl::Seconds(20);
constexpr absl::Duration kServerPingMin = absl::Seconds(30);
// Calls of a connection that has reached its age are given so long to end.
constexpr absl::Duration kConnectionGrace = absl::Minutes(10);
constexpr absl::Duration kReconnectMin = absl::Milliseconds(200);
constexpr absl::Duration kReconnectMax = absl::Seconds(15);
// Below this, gRPC resets streams under load (ENHANCE_YOUR_CALM).
constexpr size_t kQuotaBytesBase = size_t{256} << 20;
constexpr size_t kQuotaBytesPerStream = size_t{16} << 20;
constexpr size_t kFrameOverheadBytes = 1024;

int Milliseconds(absl::Duration duration) {
  return static_cast<int>(absl::ToInt64Milliseconds(duration));
}

}  // namespace

void ApplyServerLimits(grpc::ServerBuilder& builder) {
  InitRpc();
  // A 0.6 MB gzip message inflated to 600 MB before its size was looked at: nothing inflates here.
  builder.AddChannelArgument(GRPC_ARG_ENABLE_PER_MESSAGE_DECOMPRESSION, 0);
  builder.SetCompressionAlgorithmSupportStatus(GRPC_COMPRESS_DEFLATE, false);
  builder.SetCompressionAlgorithmSupportStatus(GRPC_COMPRESS_GZIP, false);
  // One listener carries both services, so the larger of both; Transfer checks its chunks itself.
  const size_t message_bytes_max =
      std::max(limits::kControlMessageBytesMax, limits::kChunkBytesMax + kFrameOverheadBytes);
  builder.SetMaxReceiveMessageSize(static_cast<int>(message_bytes_max));
  builder.SetMaxSendMessageSize(static_cast<int>(message_bytes_max));
  builder.AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE,
                             static_cast<int>(limits::kMetadataBytesMax));
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, limits::kStreamsPerConnectionMax);
  builder.AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS,
                             Milliseconds(limits::kHandshakeTimeout));
  builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_AGE_MS,
                             Milliseconds(limits::kConnectionAgeMax));
  builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_AGE_GRACE_MS, Milliseconds(kConnectionGrace));
  // A site that vanished without a word (power, cable) is noticed within these two.
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, Milliseconds(kClientKeepalive));
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, Milliseconds(kKeepaliveTimeout));
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS,
                             Milliseconds(kServerPingMin));
  // Without probing, the window stays small: 6 to 20 times slower at 40 ms.
  builder.AddChannelArgument(GRPC_ARG_HTTP2_BDP_PROBE, 1);
  grpc::ResourceQuota quota("consilium");
  quota.Resize(kQuotaBytesBase + kQuotaBytesPerStream * limits::kUploadsInFlightMax);
  builder.SetResourceQuota(quota);
}

std::shared_ptr<grpc::Channel> MakeChannel(
    const std::string& address, const std::shared_ptr<grpc::ChannelCredentials>& credentials,
    ChannelKind kind) {
  InitRpc();
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_ENABLE_PER_MESSAGE_DECOMPRESSION, 0);
  const size_t message_bytes_max = kind == ChannelKind::kControl
                                       ? limits::kControlMessageBytesMax
                                       : limits::kChunkBytesMax + kFrameOverheadBytes;
  arguments.SetMaxReceiveMessageSize(static_cast<int>(message_bytes_max));
  arguments.SetMaxSendMessageSize(static_cast<int>(message_bytes_max));
  arguments.SetInt(GRPC_ARG_MAX_METADATA_SIZE, static_cast<int>(limits::kMetadataBytesMax));
  // Firewalls of hospitals drop idle connections; gRPC stops idle pings after two unless told so.
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, Milliseconds(kClientKeepalive));
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, Milliseconds(kKeepaliveTimeout));
  arguments.SetInt(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  arguments.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 1);
  // Channels with the same arguments would share one connection otherwise.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  // What to send again and when is the site's outbox's decision.
  arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, Milliseconds(kReconnectMin));
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, Milliseconds(limits::kHandshakeTimeout));
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, Milliseconds(kReconnectMax));
  return grpc::CreateCustomChannel(address, credentials, arguments);
}

}  // namespace consilium
