#include <sys/stat.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "cli/command.h"
#include "cli/output.h"
#include "consilium/v1/enrolment.pb.h"
#include "protocol/core/files.h"
#include "protocol/core/status_macros.h"
#include "protocol/rpc/pki.h"
#include "protocol/wire/hash.h"
#include "protocol/wire/journal_export.h"

namespace consilium {
namespace {

// Also where it may not be read, or is a link to nowhere.
bool Exists(const std::string& path) {
  struct stat info;
  return lstat(path.c_str(), &info) == 0;
}

absl::Status Init(const CommandLine& line, const std::string& folder,
                  const std::string& federation) {
  const std::string root_key = absl::StrCat(folder, "/root.key");
  if (Exists(root_key)) {
    return absl::FailedPreconditionError(absl::StrFormat(
        "%s exists: a federation has one root for ever; choose another folder", root_key));
  }
  const absl::Time now = absl::Now();
  CONSILIUM_RETURN_IF_ERROR(MakeFolders(folder, 0700));
  CONSILIUM_ASSIGN_OR_RETURN(const CertificateAuthority root,
                             CertificateAuthority::CreateRoot(federation, now));
  CONSILIUM_ASSIGN_OR_RETURN(const CertificateAuthority intermediate, root.CreateIntermediate(now));
  const std::string root_pem = root.certificate().ToPem();
  CONSILIUM_RETURN_IF_ERROR(root.key().Write(root_key));
  CONSILIUM_RETURN_IF_ERROR(WriteFileDurably(absl::StrCat(folder, "/root.pem"), root_pem, 0644));
  CONSILIUM_RETURN_IF_ERROR(intermediate.key().Write(absl::StrCat(folder, "/intermediate.key")));
  CONSILIUM_RETURN_IF_ERROR(WriteFileDurably(absl::StrCat(folder, "/intermediate.pem"),
                                             intermediate.certificate().ToPem(), 0644));
  const std::string fingerprint = ToHex(root.certificate().Fingerprint());
  const std::string text = absl::StrFormat(
      "The certificate authority of '%s' is in %s.\n"
      "  root.key            keep it offline: who has it can invent hospitals\n"
      "  root.pem            every site gets it in its join file; fingerprint\n"
      "                      %s\n"
      "  intermediate.key/.pem  for the aggregator: consilium-aggregator init --pki %s\n",
      federation, folder, fingerprint, folder);
  Print(line,
        nlohmann::json{
            {"dir", folder}, {"federation", federation}, {"root_certificate_sha256", fingerprint}},
        text);
  return absl::OkStatus();
}

absl::Status MakeRecipient(const CommandLine& line, const std::string& path) {
  if (Exists(path)) {
    return absl::FailedPreconditionError(absl::StrFormat("%s exists and is not overwritten", path));
  }
  CONSILIUM_ASSIGN_OR_RETURN(const RecipientKey key, GenerateRecipientKey());
  CONSILIUM_RETURN_IF_ERROR(WriteRecipientKey(key, path));
  const std::string hex = ToHex(std::span<const uint8_t>(key.public_key));
  CONSILIUM_RETURN_IF_ERROR(
      WriteFileDurably(absl::StrCat(path, ".pub"), absl::StrCat(hex, "\n"), 0644));
  Print(line,
        nlohmann::json{{"private_key_file", path},
                       {"public_key_file", absl::StrCat(path, ".pub")},
                       {"public_key", hex}},
        absl::StrFormat("%s is private; give %s.pub to `consilium run export --recipient`", path,
                        path));
  return absl::OkStatus();
}

}  // namespace

void AddPkiCommands(CLI::App& app, CommandLine& line) {
  CLI::App* pki = app.add_subcommand("pki", "Keys and certificates of the federation.");
  pki->require_subcommand(1);
  pki->footer(
      "Examples:\n  consilium pki init --dir pki --federation heart-study\n"
      "  consilium pki recipient --out reader.key");
  CLI::App* init = pki->add_subcommand("init", "Create the federation's private authority.");
  init->footer("Example:\n  consilium pki init --dir pki --federation heart-study");
  auto folder = std::make_shared<std::string>();
  auto federation = std::make_shared<std::string>();
  init->add_option("--dir", *folder, "Folder for the keys; made with mode 0700")->required();
  init->add_option("--federation", *federation, "Name, a-z 0-9 and '-'")->required();
  init->callback([&line, folder, federation] {
    line.chosen = [&line, folder, federation] { return Init(line, *folder, *federation); };
  });
  CLI::App* recipient =
      pki->add_subcommand("recipient", "Create a key pair for someone who may read run exports.");
  recipient->footer("Example:\n  consilium pki recipient --out reader.key");
  auto path = std::make_shared<std::string>();
  recipient->add_option("--out", *path, "Private key file; the public one gets .pub")->required();
  recipient->callback(
      [&line, path] { line.chosen = [&line, path] { return MakeRecipient(line, *path); }; });
}

}  // namespace consilium
