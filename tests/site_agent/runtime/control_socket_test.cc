#include "site_agent/runtime/control_socket.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <vector>

#include "absl/synchronization/notification.h"
#include "protocol/core/files.h"
#include "site_agent/runtime/request_handler.h"
#include "tests/fakes/status_matchers.h"
#include "tests/fakes/temp_folder.h"

namespace consilium::site {
namespace {

using ::testing::HasSubstr;

TEST(ControlSocket, WhatACommandThrowsIsAnsweredAndTheServerGoesOn) {
  const TempFolder folder;
  const auto server = ControlServer::Start(
      folder.path(),
      [](const nlohmann::json& request, int /*file*/, const ControlServer::Tell& /*tell*/) {
        if (request.at("command") == "bad") throw std::runtime_error("out of order");
        return nlohmann::json{{"ok", true}, {"result", 7}};
      });
  ASSERT_THAT(server, IsOk());
  const auto bad = AskRunningAgent(folder.path(), {{"command", "bad"}});
  ASSERT_THAT(bad, IsOk());
  ASSERT_TRUE(bad->has_value());
  EXPECT_THAT(std::string(ResultOf(**bad).status().message()), HasSubstr("out of order"));
  const auto good = AskRunningAgent(folder.path(), {{"command", "good"}});
  ASSERT_THAT(good, IsOk());
  ASSERT_TRUE(good->has_value());
  EXPECT_EQ(ResultOf(**good).value(), 7);
}

TEST(ControlSocket, AnOpenFileComesWithARequest) {
  const TempFolder folder;
  const auto server = ControlServer::Start(
      folder.path(), [](const nlohmann::json&, int file, const ControlServer::Tell&) {
        return nlohmann::json{{"ok", file != kNoFile && write(file, "told", 4) == 4}};
      });
  ASSERT_THAT(server, IsOk());
  const FileDescriptor out(open(folder.File("out").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
  // A long request comes in pieces, and the file with the first.
  const nlohmann::json request = {{"command", "write"}, {"more", std::string(1 << 20, 'x')}};
  const auto answer = AskRunningAgent(folder.path(), request, kControlPatience, out.get());
  ASSERT_THAT(answer, IsOk());
  EXPECT_EQ(**answer, (nlohmann::json{{"ok", true}}));
  EXPECT_EQ(ReadFile(folder.File("out"), 100).value(), "told");
  const auto none = AskRunningAgent(folder.path(), request);
  ASSERT_THAT(none, IsOk());
  EXPECT_EQ(**none, (nlohmann::json{{"ok", false}}));
}

// In order, and only who asks for it; who does not read is not waited for.
TEST(ControlSocket, WhoAsksHearsHowFarItCame) {
  const TempFolder folder;
  const auto server = ControlServer::Start(
      folder.path(), [](const nlohmann::json& request, int, const ControlServer::Tell& tell) {
        for (int i = 1; i <= request.at("times"); ++i) EXPECT_THAT(tell({{"done", i}}), IsOk());
        return nlohmann::json{{"ok", true}, {"result", 7}};
      });
  ASSERT_THAT(server, IsOk());
  std::vector<int> heard;
  const auto hear = [&heard](const nlohmann::json& told) { heard.push_back(told.at("done")); };
  const auto ask = [](const TempFolder& of, const nlohmann::json& request,
                      const HearProgress& listener) {
    const auto answer = AskRunningAgent(of.path(), request, kControlPatience, kNoFile, listener);
    ASSERT_THAT(answer, IsOk());
    ASSERT_TRUE(answer->has_value());
    EXPECT_EQ(ResultOf(**answer).value(), 7);
  };
  ask(folder, {{"times", 3}, {"progress", true}}, hear);
  EXPECT_EQ(heard, (std::vector<int>{1, 2, 3}));
  heard.clear();
  ask(folder, {{"times", 3}}, hear);
  ask(folder, {{"times", 3}, {"progress", "yes"}}, hear);
  EXPECT_TRUE(heard.empty());
  ask(folder, {{"times", 3}, {"progress", true}}, nullptr);
  // More than the connection holds: some are left out while the listener waits for the end.
  const TempFolder other;
  absl::Notification all_told;
  const auto flooding = ControlServer::Start(
      other.path(), [&](const nlohmann::json&, int, const ControlServer::Tell& tell) {
        for (int i = 1; i <= 100'000; ++i) EXPECT_THAT(tell({{"done", i}}), IsOk());
        all_told.Notify();
        return nlohmann::json{{"ok", true}, {"result", 7}};
      });
  ASSERT_THAT(flooding, IsOk());
  ask(other, {{"progress", true}}, [&](const nlohmann::json& told) {
    all_told.WaitForNotification();
    hear(told);
  });
  EXPECT_FALSE(heard.empty());
  EXPECT_LT(heard.size(), 100'000u);
}

// Who asks, and goes before the answer.
class RawAsker {
 public:
  RawAsker(const std::string& folder, const std::string& request)
      : socket_(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    const std::string path = folder + "/agent.sock";
    EXPECT_LT(path.size(), sizeof(address.sun_path));
    path.copy(address.sun_path, sizeof(address.sun_path) - 1);
    EXPECT_EQ(connect(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
    EXPECT_EQ(write(socket_, request.data(), request.size()), static_cast<ssize_t>(request.size()));
  }
  ~RawAsker() { Close(); }
  void Close() {
    if (socket_ >= 0) close(socket_);
    socket_ = -1;
  }
  void WriteNoMore() const { shutdown(socket_, SHUT_WR); }

 private:
  int socket_;
};

TEST(ControlSocket, ACommandHearsThatWhoeverAskedIsGone) {
  for (const char* request : {"{\"progress\": true}\n", "{}\n"}) {
    const TempFolder folder;
    absl::Notification writes_no_more;
    absl::Notification told;
    absl::Notification closed;
    absl::Status while_there;
    absl::Status when_gone;
    auto server = ControlServer::Start(
        folder.path(), [&](const nlohmann::json&, int, const ControlServer::Tell& tell) {
          writes_no_more.WaitForNotification();
          while_there = tell({{"done", 1}});
          told.Notify();
          closed.WaitForNotification();
          when_gone = tell({{"done", 2}});
          return nlohmann::json{{"ok", true}};
        });
    ASSERT_THAT(server, IsOk());
    RawAsker asker(folder.path(), request);
    asker.WriteNoMore();
    writes_no_more.Notify();
    told.WaitForNotification();
    asker.Close();
    closed.Notify();
    *server = nullptr;  // Waits for the handler.
    EXPECT_THAT(while_there, IsOk()) << request;
    EXPECT_THAT(when_gone, IsError(absl::StatusCode::kCancelled, "whoever asked is gone"))
        << request;
  }
}

TEST(ControlSocket, ACommandHearsThatTheServerIsToEnd) {
  const TempFolder folder;
  absl::Notification began;
  auto server = ControlServer::Start(
      folder.path(), [&](const nlohmann::json&, int, const ControlServer::Tell& tell) {
        absl::Status status = tell({{"done", 1}});
        EXPECT_THAT(status, IsOk());
        began.Notify();
        while (status.ok()) status = tell({{"done", 2}});
        EXPECT_THAT(status, IsError(absl::StatusCode::kCancelled, "is stopping"));
        return nlohmann::json{{"ok", true}};
      });
  ASSERT_THAT(server, IsOk());
  const RawAsker asker(folder.path(), "{}\n");
  began.WaitForNotification();
  *server = nullptr;
}

}  // namespace
}  // namespace consilium::site
