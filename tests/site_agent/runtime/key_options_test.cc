// Where a store's key comes from, as the agent's commands take it.

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <string>

#include "privacy/at_rest/key_file.h"
#include "protocol/core/files.h"
#include "site_agent/runtime/commands.h"
#include "site_agent/runtime/passphrase.h"
#include "tests/fakes/status_matchers.h"
#include "tests/fakes/temp_folder.h"

namespace consilium::site {
namespace {

using absl::StatusCode;

class KeyOptions : public ::testing::Test {
 protected:
  std::string SecretFile(const std::string& name, const std::string& content) {
    const std::string path = folder_.File("secrets/" + name);
    EXPECT_THAT(MakeFolders(folder_.File("secrets")), IsOk());
    EXPECT_THAT(WriteFileDurably(path, content), IsOk());
    return path;
  }
  ~KeyOptions() override { unsetenv("CREDENTIALS_DIRECTORY"); }

  TempFolder folder_;
};

TEST_F(KeyOptions, APassphraseOpensTheStoreAndNothingElseDoes) {
  StorePlace place = {.folder = folder_.File("store")};
  place.passphrase_file = SecretFile("right", "correct horse battery\n");
  const auto protection = InitStore(place);
  ASSERT_THAT(protection, IsOk());
  EXPECT_NE(protection->find("closed by the passphrase"), std::string::npos);
  EXPECT_THAT(OpenStore(place), IsOk());
  // Another tool's line end is not part of it.
  place.passphrase_file = SecretFile("windows", "correct horse battery\r\nsecond line");
  EXPECT_THAT(OpenStore(place), IsOk());
  place.passphrase_file = "";
  EXPECT_THAT(OpenStore(place), IsError(StatusCode::kFailedPrecondition, "--passphrase-file"));
  place.passphrase_file = SecretFile("wrong", "correct horse batterz\n");
  EXPECT_THAT(OpenStore(place), IsError(StatusCode::kInvalidArgument, "wrong passphrase"));
}

TEST_F(KeyOptions, RefusesAPassphraseThatProtectsNothing) {
  StorePlace place = {.folder = folder_.File("store")};
  place.passphrase_file = SecretFile("short", "elevenchars\n");
  EXPECT_THAT(InitStore(place), IsError(StatusCode::kInvalidArgument, "12 to 1024"));
  place.passphrase_file = SecretFile("empty", "\n");
  EXPECT_THAT(InitStore(place), IsError(StatusCode::kInvalidArgument, "no passphrase"));
  place.passphrase_file = SecretFile("open", "correct horse battery\n");
  ASSERT_EQ(chmod(place.passphrase_file.c_str(), 0644), 0);
  EXPECT_THAT(InitStore(place), IsError(StatusCode::kFailedPrecondition, "chmod"));
  EXPECT_FALSE(ReadFile(folder_.File("store-key/site.kek"), 4096).ok());
}

TEST_F(KeyOptions, ASystemdCredentialIsTheKey) {
  // As systemd would have decrypted it.
  ASSERT_THAT(CreateKek({.file = folder_.File("credentials/made")}), IsOk());
  ASSERT_EQ(rename(folder_.File("credentials/made").c_str(),
                   folder_.File(std::string("credentials/") + kKekCredentialName).c_str()),
            0);
  setenv("CREDENTIALS_DIRECTORY", folder_.File("credentials").c_str(), 1);
  const StorePlace place = {.folder = folder_.File("store")};
  const auto protection = InitStore(place);
  ASSERT_THAT(protection, IsOk());
  EXPECT_NE(protection->find("systemd's credential"), std::string::npos);
  EXPECT_FALSE(ReadFile(folder_.File("store-key/site.kek"), 4096).ok());
  EXPECT_THAT(OpenStore(place), IsOk());
  unsetenv("CREDENTIALS_DIRECTORY");
  EXPECT_THAT(OpenStore(place), IsError(StatusCode::kNotFound, "site.kek"));
}

}  // namespace
}  // namespace consilium::site
