// How commands of the same user reach a running agent, which has its store to itself: a Unix socket
// in the store's folder (0700), one JSON request and one JSON answer per connection, each a line; a
// request with "progress": true hears before its answer, on lines of their own, how far it came.
// Who closes the connection before the answer ends what tells of its progress.
// An open file may come with the request: the person's own, for what the agent writes for them. The
// agent may see other folders than the person does, and may write to fewer.
//
// Ownership: a server owns its socket. Threads: one of its own, on which the handler is called.

#ifndef CONSILIUM_SITE_AGENT_RUNTIME_CONTROL_SOCKET_H_
#define CONSILIUM_SITE_AGENT_RUNTIME_CONTROL_SOCKET_H_

#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <thread>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "privacy/at_rest/sealed_blob.h"

namespace consilium::site {

inline constexpr size_t kControlBytesMax = size_t{8} << 20;
inline constexpr int kNoFile = -1;

class ControlServer {
 public:
  // Sends {"progress": `progress`} where the request asks for it and whoever asks can take it now:
  // nobody is waited for. CANCELLED, also of a request that asks for none, where whoever asked has
  // closed the connection, or the server is to end: what is not done then had better not be.
  using Tell = std::function<absl::Status(const nlohmann::json& progress)>;
  // `file` came with the request, or is kNoFile; it is closed after the call.
  using Handler =
      std::function<nlohmann::json(const nlohmann::json& request, int file, const Tell& tell)>;

  // Whoever is not this user is not answered. `folder` is the store's. What the handler throws is
  // answered as an error (request_handler.h). The disk's errors.
  static absl::StatusOr<std::unique_ptr<ControlServer>> Start(const std::string& folder,
                                                              Handler handler);
  ~ControlServer();
  ControlServer(const ControlServer&) = delete;
  ControlServer& operator=(const ControlServer&) = delete;

 private:
  ControlServer(FileDescriptor folder, FileDescriptor socket, FileDescriptor wake, Handler handler);
  void Run();
  void Answer(int connection) const;

  const FileDescriptor folder_;
  const FileDescriptor socket_;
  const FileDescriptor wake_;  // An eventfd: readable when the server is to end.
  const Handler handler_;
  std::thread thread_;
};

// How long whoever asks waits for an answer, and a server for a question.
inline constexpr absl::Duration kControlPatience = absl::Seconds(30);

using HearProgress = std::function<void(const nlohmann::json& progress)>;

// The answer of the agent that runs on this store; nothing where none does. UNAVAILABLE where it
// does not answer within `patience`. `file`, open, goes with the request unless it is kNoFile.
// `hear`, unless it is null, gets what is told of the progress.
absl::StatusOr<std::optional<nlohmann::json>> AskRunningAgent(
    const std::string& folder, const nlohmann::json& request,
    absl::Duration patience = kControlPatience, int file = kNoFile,
    const HearProgress& hear = nullptr);

}  // namespace consilium::site

#endif  // CONSILIUM_SITE_AGENT_RUNTIME_CONTROL_SOCKET_H_
