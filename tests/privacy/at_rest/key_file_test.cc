#include "privacy/at_rest/key_file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <string>

#include "privacy/at_rest/hex.h"
#include "protocol/core/files.h"
#include "tests/fakes/status_matchers.h"
#include "tests/fakes/temp_folder.h"

namespace consilium {
namespace {

SecretBytes Passphrase(const std::string& text) {
  return SecretBytes({reinterpret_cast<const uint8_t*>(text.data()), text.size()});
}

class KeyFileTest : public testing::Test {
 protected:
  TempFolder folder_;
  KekLocation location_{.file = folder_.File("keys/kek")};
};

TEST_F(KeyFileTest, MakesAPrivateFileAndReadsIt) {
  const absl::StatusOr<Kek> made = CreateKek(location_);
  ASSERT_THAT(made, IsOk());
  struct stat info;
  ASSERT_EQ(stat(location_.file.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0600u);
  EXPECT_EQ(info.st_nlink, 1u);
  ASSERT_EQ(stat(folder_.File("keys").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0700u);
  const absl::StatusOr<Kek> read = LoadKek(location_);
  ASSERT_THAT(read, IsOk());
  EXPECT_EQ(Hex(read->key().span()), Hex(made->key().span()));
}

TEST_F(KeyFileTest, NeverOverwritesAKey) {
  const std::string id = CreateKek(location_)->id();
  EXPECT_THAT(CreateKek(location_), IsError(absl::StatusCode::kAlreadyExists, "would be lost"));
  EXPECT_EQ(LoadKek(location_)->id(), id);
}

TEST_F(KeyFileTest, LoosePermissionsAreRefusedWithTheirMend) {
  ASSERT_THAT(CreateKek(location_), IsOk());
  for (const mode_t mode : {0640, 0604, 0660, 0700}) {
    ASSERT_EQ(chmod(location_.file.c_str(), mode), 0);
    EXPECT_THAT(LoadKek(location_),
                IsError(absl::StatusCode::kFailedPrecondition, "chmod 600 " + location_.file));
  }
  ASSERT_EQ(chmod(location_.file.c_str(), 0600), 0);
  ASSERT_EQ(chmod(folder_.File("keys").c_str(), 0750), 0);
  EXPECT_THAT(LoadKek(location_),
              IsError(absl::StatusCode::kFailedPrecondition, "chmod 700 " + folder_.File("keys")));
}

TEST_F(KeyFileTest, LooseFolderLeavesNoKeyBehind) {
  ASSERT_EQ(mkdir(folder_.File("keys").c_str(), 0755), 0);
  ASSERT_EQ(chmod(folder_.File("keys").c_str(), 0755), 0);
  EXPECT_THAT(CreateKek(location_), IsError(absl::StatusCode::kFailedPrecondition, "chmod 700"));
  struct stat info;
  EXPECT_NE(stat(location_.file.c_str(), &info), 0);
}

TEST_F(KeyFileTest, LinkIsNotFollowed) {
  ASSERT_THAT(CreateKek(location_), IsOk());
  ASSERT_EQ(symlink(location_.file.c_str(), folder_.File("link").c_str()), 0);
  EXPECT_THAT(LoadKek({.file = folder_.File("link")}),
              IsError(absl::StatusCode::kFailedPrecondition, "not a regular file"));
}

TEST_F(KeyFileTest, DamagedFilesAreRefused) {
  ASSERT_THAT(CreateKek(location_), IsOk());
  const std::string good = *ReadFile(location_.file, 4096);
  const std::string bad[] = {"",
                             "\n",
                             "consilium-kek 1 plain",
                             good.substr(0, good.size() - 2) + "\n",
                             "consilium-kek 2" + good.substr(15),
                             good + good,
                             "consilium-kek 1 plain " + std::string(64, 'G') + "\n",
                             "consilium-kek 1 scrypt 40 8 1 00 00\n"};
  for (const std::string& content : bad) {
    ASSERT_THAT(WriteFileDurably(location_.file, content), IsOk());
    EXPECT_THAT(LoadKek(location_), IsError(absl::StatusCode::kDataLoss, "not a key file"))
        << content;
  }
  ASSERT_THAT(WriteFileDurably(location_.file, std::string(5000, 'x')), IsOk());
  EXPECT_THAT(LoadKek(location_), IsError(absl::StatusCode::kResourceExhausted, "at most"));
}

TEST_F(KeyFileTest, MissingFile) {
  EXPECT_THAT(LoadKek(location_),
              IsError(absl::StatusCode::kNotFound,
                      "no key file " + location_.file +
                          ", and no credential consilium-kek in $CREDENTIALS_DIRECTORY"));
}

TEST_F(KeyFileTest, PassphraseOpensAndNothingElse) {
  const SecretBytes right = Passphrase("correct horse battery");
  const SecretBytes wrong = Passphrase("correct horse batterz");
  location_.passphrase = &right;
  const absl::StatusOr<Kek> made = CreateKek(location_);
  ASSERT_THAT(made, IsOk());
  EXPECT_EQ(LoadKek(location_)->id(), made->id());
  const std::string content = *ReadFile(location_.file, 4096);
  EXPECT_EQ(content.find(Hex(made->key().span())), std::string::npos);
  location_.passphrase = &wrong;
  EXPECT_THAT(LoadKek(location_), IsError(absl::StatusCode::kInvalidArgument, "wrong passphrase"));
  location_.passphrase = nullptr;
  EXPECT_THAT(LoadKek(location_),
              IsError(absl::StatusCode::kFailedPrecondition, "needs its passphrase"));
}

TEST_F(KeyFileTest, FileCannotAskForAnyAmountOfMemory) {
  const SecretBytes passphrase = Passphrase("correct horse battery");
  location_.passphrase = &passphrase;
  ASSERT_THAT(MakeFolders(folder_.File("keys")), IsOk());
  for (const char* cost : {"21 8 1", "13 8 1", "17 9 1", "17 8 5", "17 8 0", "-1 8 1"}) {
    ASSERT_THAT(WriteFileDurably(location_.file, std::string("consilium-kek 1 scrypt ") + cost +
                                                     " " + std::string(32, 'a') + " " +
                                                     std::string(122, 'b') + "\n"),
                IsOk());
    EXPECT_THAT(LoadKek(location_), IsError(absl::StatusCode::kDataLoss, "not a key file")) << cost;
  }
}

TEST_F(KeyFileTest, ShortPassphraseIsRefused) {
  const SecretBytes passphrase = Passphrase("elevenchars");
  location_.passphrase = &passphrase;
  EXPECT_THAT(CreateKek(location_), IsError(absl::StatusCode::kInvalidArgument, "12 to 1024"));
}

TEST_F(KeyFileTest, CredentialWinsOverTheFile) {
  const Kek file = *CreateKek(location_);
  const Kek credential = *CreateKek({.file = folder_.File("given/consilium-kek")});
  location_.credentials_folder = folder_.File("given");
  EXPECT_EQ(LoadKek(location_)->id(), credential.id());
  EXPECT_EQ(CreateKek(location_)->id(), credential.id());
  // As systemd shows it to a user who has it by an ACL.
  ASSERT_EQ(chmod(folder_.File("given/consilium-kek").c_str(), 0440), 0);
  EXPECT_EQ(LoadKek(location_)->id(), credential.id());
  ASSERT_EQ(chmod(folder_.File("given/consilium-kek").c_str(), 0444), 0);
  EXPECT_THAT(LoadKek(location_),
              IsError(absl::StatusCode::kFailedPrecondition, "closed to others"));
  location_.credentials_folder = folder_.File("none");
  EXPECT_EQ(LoadKek(location_)->id(), file.id());
}

TEST_F(KeyFileTest, KeyInsideTheStoreIsRefused) {
  location_.store_folder = folder_.path();
  EXPECT_THAT(CreateKek(location_),
              IsError(absl::StatusCode::kInvalidArgument, "inside the store"));
  location_.store_folder = folder_.File("store");
  EXPECT_THAT(CreateKek(location_), IsOk());
  ASSERT_THAT(MakeFolders(folder_.File("store")), IsOk());
  location_.store_folder = folder_.File("store/../keys");
  EXPECT_THAT(LoadKek(location_), IsError(absl::StatusCode::kInvalidArgument, "inside the store"));
}

TEST_F(KeyFileTest, ProtectionIsDescribedByKind) {
  EXPECT_NE(DescribeProtection(location_).find(location_.file), std::string::npos);
  const SecretBytes passphrase = Passphrase("correct horse battery");
  location_.passphrase = &passphrase;
  EXPECT_NE(DescribeProtection(location_).find("guess the passphrase"), std::string::npos);
}

}  // namespace
}  // namespace consilium
