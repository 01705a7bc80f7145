#include "site_agent/runtime/control_socket.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>

#include "protocol/core/files.h"
#include "site_agent/runtime/request_handler.h"
#include "tests/fakes/status_matchers.h"
#include "tests/fakes/temp_folder.h"

namespace consilium::site {
namespace {

using ::testing::HasSubstr;

TEST(ControlSocket, WhatACommandThrowsIsAnsweredAndTheServerGoesOn) {
  const TempFolder folder;
  const auto server =
      ControlServer::Start(folder.path(), [](const nlohmann::json& request, int /*file*/) {
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
  const auto server = ControlServer::Start(folder.path(), [](const nlohmann::json&, int file) {
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

}  // namespace
}  // namespace consilium::site
