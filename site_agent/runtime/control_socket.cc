#include "site_agent/runtime/control_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <spdlog/spdlog.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdint>
#include <exception>
#include <nlohmann/json.hpp>
#include <span>
#include <utility>

#include "absl/strings/str_cat.h"
#include "protocol/core/files.h"
#include "protocol/core/status_macros.h"

namespace consilium::site {
namespace {

using nlohmann::json;

constexpr char kName[] = "agent.sock";

// A socket's path has at most 107 characters and a store's may have more, so it is named through
// the open folder.
sockaddr_un AddressIn(const FileDescriptor& folder) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  const std::string path = absl::StrCat("/proc/self/fd/", folder.get(), "/", kName);
  memcpy(address.sun_path, path.data(), path.size());
  return address;
}

absl::StatusOr<FileDescriptor> OpenFolder(const std::string& path) {
  FileDescriptor folder(open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (folder.get() < 0) return SystemError("can not open the folder", path);
  return folder;
}

absl::StatusOr<FileDescriptor> MakeSocket() {
  FileDescriptor made(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (made.get() < 0) return SystemError("can not make", "a Unix socket");
  return made;
}

void LimitWaits(int connection, absl::Duration patience) {
  // The system takes 0 for no limit.
  const timeval limit =
      patience == absl::InfiniteDuration() ? timeval{} : absl::ToTimeval(patience);
  setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
  setsockopt(connection, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
}

// With the bytes goes an open file (SCM_RIGHTS), unless it is kNoFile.
ssize_t SendSome(int connection, std::span<char> bytes, int file) {
  iovec piece = {.iov_base = bytes.data(), .iov_len = bytes.size()};
  msghdr message = {};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  alignas(cmsghdr) char room[CMSG_SPACE(sizeof(file))] = {};
  if (file != kNoFile) {
    message.msg_control = room;
    message.msg_controllen = sizeof(room);
    cmsghdr* rights = CMSG_FIRSTHDR(&message);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof(file));
    memcpy(CMSG_DATA(rights), &file, sizeof(file));
  }
  return sendmsg(connection, &message, MSG_NOSIGNAL);
}

bool SendLine(int connection, std::string line, int file = kNoFile) {
  line += '\n';
  std::span<char> rest(line);
  while (!rest.empty()) {
    const ssize_t n = SendSome(connection, rest, file);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    rest = rest.subspan(static_cast<size_t>(n));
    file = kNoFile;
  }
  return true;
}

// An open file that comes with the bytes goes to `file`; where that is null, the system drops it.
ssize_t ReceiveSome(int connection, std::span<char> bytes, FileDescriptor* file) {
  iovec piece = {.iov_base = bytes.data(), .iov_len = bytes.size()};
  msghdr message = {};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  alignas(cmsghdr) char room[CMSG_SPACE(sizeof(int))] = {};
  if (file != nullptr) {
    message.msg_control = room;
    message.msg_controllen = CMSG_LEN(sizeof(int));  // Room for one, without what aligns the next.
  }
  const ssize_t n = recvmsg(connection, &message, MSG_CMSG_CLOEXEC);
  const cmsghdr* rights = n < 0 || file == nullptr ? nullptr : CMSG_FIRSTHDR(&message);
  const bool has_file = rights != nullptr && rights->cmsg_level == SOL_SOCKET &&
                        rights->cmsg_type == SCM_RIGHTS &&
                        rights->cmsg_len == CMSG_LEN(sizeof(int));
  if (has_file) {
    int received = kNoFile;
    memcpy(&received, CMSG_DATA(rights), sizeof(received));
    *file = FileDescriptor(received);
  }
  return n;
}

class LineReader {
 public:
  explicit LineReader(int connection) : connection_(connection) {}

  // Nothing where the other side sends no whole line.
  std::optional<std::string> Next(FileDescriptor* file = nullptr) {
    char buffer[4096];
    size_t looked_at = 0;
    for (;;) {
      const size_t end = received_.find('\n', looked_at);
      if (end != std::string::npos) {
        std::string line = received_.substr(0, end);
        received_.erase(0, end + 1);
        return line;
      }
      if (received_.size() > kControlBytesMax) return std::nullopt;
      looked_at = received_.size();
      const ssize_t n = ReceiveSome(connection_, buffer, file);
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) return std::nullopt;
      received_.append(buffer, static_cast<size_t>(n));
    }
  }

 private:
  const int connection_;
  std::string received_;
};

// Never throws: a string that is no UTF-8 (a file's name may be none) loses what is not.
std::string OneLine(const json& value) {
  return value.dump(-1, ' ', false, json::error_handler_t::replace);
}

// Whatever a command meets, the agent goes on.
std::string AnswerOf(const ControlServer::Handler& handler, const json& request, int file,
                     const ControlServer::Tell& tell) {
  try {
    return OneLine(handler(request, file, tell));
  } catch (const std::exception& error) {
    spdlog::error("a command failed: {}", error.what());
    return OneLine(
        {{"ok", false}, {"message", absl::StrCat("the agent failed at it: ", error.what())}});
  }
}

// Room in the connection for more than a line of progress.
bool TakesMore(int connection) {
  pollfd waiting = {.fd = connection, .events = POLLOUT, .revents = 0};
  return poll(&waiting, 1, 0) == 1 && waiting.revents == POLLOUT;
}

// Whoever is at the other end has closed it. Who will only write no more waits for an answer still.
bool IsGone(int connection) {
  pollfd waiting = {.fd = connection, .events = 0, .revents = 0};
  return poll(&waiting, 1, 0) == 1 && (waiting.revents & (POLLHUP | POLLERR)) != 0;
}

bool IsReadable(int descriptor) {
  pollfd waiting = {.fd = descriptor, .events = POLLIN, .revents = 0};
  return poll(&waiting, 1, 0) == 1;
}

bool IsSameUser(int connection) {
  ucred peer = {};
  socklen_t size = sizeof(peer);
  return getsockopt(connection, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 &&
         (peer.uid == geteuid() || peer.uid == 0);
}

}  // namespace

ControlServer::ControlServer(FileDescriptor folder, FileDescriptor socket, FileDescriptor wake,
                             Handler handler)
    : folder_(std::move(folder)),
      socket_(std::move(socket)),
      wake_(std::move(wake)),
      handler_(std::move(handler)) {}

absl::StatusOr<std::unique_ptr<ControlServer>> ControlServer::Start(const std::string& path,
                                                                    Handler handler) {
  CONSILIUM_ASSIGN_OR_RETURN(FileDescriptor folder, OpenFolder(path));
  CONSILIUM_ASSIGN_OR_RETURN(FileDescriptor socket, MakeSocket());
  FileDescriptor wake(eventfd(0, EFD_CLOEXEC));
  if (wake.get() < 0) return SystemError("can not make", "an event");
  // The store's lock says that no other agent serves here, so what lies there is a dead one's.
  unlinkat(folder.get(), kName, 0);
  const sockaddr_un address = AddressIn(folder);
  if (bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0 ||
      fchmodat(folder.get(), kName, 0600, 0) != 0 || listen(socket.get(), 8) != 0) {
    return SystemError("can not listen at", absl::StrCat(path, "/", kName));
  }
  std::unique_ptr<ControlServer> server(
      new ControlServer(std::move(folder), std::move(socket), std::move(wake), std::move(handler)));
  server->thread_ = std::thread([s = server.get()] { s->Run(); });
  return server;
}

ControlServer::~ControlServer() {
  const uint64_t one = 1;
  if (write(wake_.get(), &one, sizeof(one)) != sizeof(one)) abort();
  thread_.join();
  unlinkat(folder_.get(), kName, 0);
}

void ControlServer::Run() {
  for (;;) {
    pollfd waiting[2] = {{.fd = socket_.get(), .events = POLLIN, .revents = 0},
                         {.fd = wake_.get(), .events = POLLIN, .revents = 0}};
    if (poll(waiting, 2, -1) < 0 && errno != EINTR) return;
    if (waiting[1].revents != 0) return;
    if (waiting[0].revents == 0) continue;
    const FileDescriptor connection(accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (connection.get() >= 0 && IsSameUser(connection.get())) Answer(connection.get());
  }
}

void ControlServer::Answer(int connection) const {
  LimitWaits(connection, kControlPatience);
  FileDescriptor file(kNoFile);
  const std::optional<std::string> line = LineReader(connection).Next(&file);
  if (!line.has_value()) return;
  const json request = json::parse(*line, nullptr, false);
  if (!request.is_object()) return;
  const auto asked = request.find("progress");
  const bool asks = asked != request.end() && *asked == true;
  const Tell tell = [this, connection, asks](const json& progress) {
    if (IsGone(connection)) return absl::CancelledError("whoever asked is gone");
    if (IsReadable(wake_.get())) return absl::CancelledError("the agent is stopping");
    if (asks && TakesMore(connection)) SendLine(connection, OneLine({{"progress", progress}}));
    return absl::OkStatus();
  };
  SendLine(connection, AnswerOf(handler_, request, file.get(), tell));
}

absl::StatusOr<std::optional<json>> AskRunningAgent(const std::string& path, const json& request,
                                                    absl::Duration patience, int file,
                                                    const HearProgress& hear) {
  CONSILIUM_ASSIGN_OR_RETURN(const FileDescriptor folder, OpenFolder(path));
  CONSILIUM_ASSIGN_OR_RETURN(const FileDescriptor connection, MakeSocket());
  const sockaddr_un address = AddressIn(folder);
  if (connect(connection.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) !=
      0) {
    return std::nullopt;
  }
  LimitWaits(connection.get(), patience);
  if (SendLine(connection.get(), OneLine(request), file)) {
    LineReader lines(connection.get());
    while (const std::optional<std::string> line = lines.Next()) {
      json answer = json::parse(*line, nullptr, false);
      if (!answer.is_object()) break;
      const auto progress = answer.find("progress");
      if (progress == answer.end()) return answer;
      if (hear != nullptr) hear(*progress);
    }
  }
  return absl::UnavailableError(
      absl::StrCat("the agent that runs on ", path, " does not answer; see its log"));
}

}  // namespace consilium::site
