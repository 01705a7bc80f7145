#include "site_agent/runtime/control_socket.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>

#include "site_agent/runtime/request_handler.h"
#include "tests/fakes/status_matchers.h"
#include "tests/fakes/temp_folder.h"

namespace consilium::site {
namespace {

using ::testing::HasSubstr;

TEST(ControlSocket, WhatACommandThrowsIsAnsweredAndTheServerGoesOn) {
  const TempFolder folder;
  const auto server = ControlServer::Start(folder.path(), [](const nlohmann::json& request) {
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

}  // namespace
}  // namespace consilium::site
