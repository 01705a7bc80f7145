#include "site_agent/runtime/commands.h"

#include <spdlog/spdlog.h>
#include <stdlib.h>

#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "protocol/core/files.h"
#include "protocol/core/status_macros.h"
#include "protocol/wire/hash.h"
#include "site_agent/runtime/new_file.h"
#include "site_agent/runtime/passphrase.h"
#include "site_agent/runtime/request_handler.h"

namespace consilium::site {
namespace {

using nlohmann::json;

constexpr size_t kPathBytesMax = 4096;

std::string Absolute(const std::string& path) {
  return std::filesystem::absolute(path).lexically_normal().string();
}

std::string LocationFile(const std::string& folder) { return folder + "/kek.location"; }

// `passphrase` is borrowed.
KekLocation LocationOf(const StorePlace& place, const std::string& kek_file,
                       const std::optional<SecretBytes>& passphrase) {
  const char* credentials = getenv("CREDENTIALS_DIRECTORY");
  return {.file = kek_file,
          .credentials_folder = credentials == nullptr ? "" : credentials,
          .store_folder = Absolute(place.folder),
          .passphrase = passphrase.has_value() ? &*passphrase : nullptr};
}

// Where `init` put the key, unless the caller says so.
absl::StatusOr<std::string> KekFileOf(const StorePlace& place) {
  if (!place.kek_file.empty()) return Absolute(place.kek_file);
  absl::StatusOr<std::string> content = ReadFile(LocationFile(place.folder), kPathBytesMax);
  if (!content.ok() && absl::IsNotFound(content.status())) {
    return absl::NotFoundError(absl::StrCat("there is no store in ", place.folder,
                                            ": consilium-agent init --store ", place.folder));
  }
  CONSILIUM_RETURN_IF_ERROR(content.status());
  return std::string(absl::StripSuffix(*content, "\n"));
}

// An import takes as long as its file is, an export as long as its model.
absl::Duration PatienceFor(const json& request) {
  const bool is_long = request.at("command") == "import" || request.at("command") == "model_export";
  return is_long ? absl::InfiniteDuration() : kControlPatience;
}

// The lock of a store is flock's, which has no deadline of its own: it is asked this often.
constexpr absl::Duration kLockInterval = absl::Milliseconds(50);

absl::StatusOr<Kek> KekOf(const StorePlace& place) {
  CONSILIUM_ASSIGN_OR_RETURN(const std::string kek_file, KekFileOf(place));
  CONSILIUM_ASSIGN_OR_RETURN(const std::optional<SecretBytes> passphrase,
                             ReadPassphrase(place.passphrase_file));
  return LoadKek(LocationOf(place, kek_file, passphrase));
}

// Tries until it is not another program that is in the way, or the patience is over.
template <typename Try>
auto WhileStoreIsBusy(const StorePlace& place, Try once) -> decltype(once()) {
  const absl::Time give_up = absl::Now() + place.lock_patience;
  auto result = once();
  if (absl::IsUnavailable(result.status())) {
    spdlog::info("waits: {}", std::string(result.status().message()));
  }
  while (absl::IsUnavailable(result.status()) && absl::Now() < give_up) {
    absl::SleepFor(kLockInterval);
    result = once();
  }
  return result;
}

absl::StatusOr<std::optional<json>> AskAgent(const StorePlace& place, const json& request, int file,
                                             const HearProgress& hear) {
  std::error_code ignored;
  if (!std::filesystem::is_directory(place.folder, ignored)) return std::nullopt;
  return AskRunningAgent(place.folder, request, PatienceFor(request), file, hear);
}

// The answer of a running agent, or of the store itself. An agent that is starting has the store
// and does not answer yet: it is asked again. `file`, open, is for what the request is to write.
absl::StatusOr<json> AskAgentOrStore(const StorePlace& place, const json& request,
                                     int file = kNoFile, const HearProgress& hear = nullptr) {
  CONSILIUM_ASSIGN_OR_RETURN(std::optional<json> answer, AskAgent(place, request, file, hear));
  if (answer.has_value()) return ResultOf(*answer);
  CONSILIUM_ASSIGN_OR_RETURN(const Kek kek, KekOf(place));
  absl::StatusOr<std::unique_ptr<SiteStore>> store =
      WhileStoreIsBusy(place, [&]() -> absl::StatusOr<std::unique_ptr<SiteStore>> {
        absl::StatusOr<std::unique_ptr<SiteStore>> opened =
            SiteStore::Open(kek, Absolute(place.folder));
        if (opened.ok() || !absl::IsUnavailable(opened.status())) return opened;
        const absl::Status busy = opened.status();
        CONSILIUM_ASSIGN_OR_RETURN(answer, AskAgent(place, request, file, hear));
        return answer.has_value() ? absl::StatusOr<std::unique_ptr<SiteStore>>(nullptr) : busy;
      });
  if (answer.has_value()) return ResultOf(*answer);
  CONSILIUM_RETURN_IF_ERROR(store.status());
  const TellProgress tell = [&hear](const json& progress) {
    if (hear != nullptr) hear(progress);
    return absl::OkStatus();
  };
  return ResultOf(HandleRequest(**store, nullptr, request, file, tell));
}

}  // namespace

absl::StatusOr<std::string> InitStore(const StorePlace& place) {
  const std::string folder = Absolute(place.folder);
  const std::string kek_file =
      place.kek_file.empty() ? folder + "-key/site.kek" : Absolute(place.kek_file);
  CONSILIUM_ASSIGN_OR_RETURN(const std::optional<SecretBytes> passphrase,
                             ReadPassphrase(place.passphrase_file));
  const KekLocation location = LocationOf(place, kek_file, passphrase);
  absl::StatusOr<Kek> kek = CreateKek(location);
  // An `init` that was cut off, or a key that was put there on purpose.
  if (absl::IsAlreadyExists(kek.status())) kek = LoadKek(location);
  CONSILIUM_RETURN_IF_ERROR(kek.status());
  CONSILIUM_RETURN_IF_ERROR(MakeFolders(folder));
  CONSILIUM_RETURN_IF_ERROR(SiteStore::Create(*kek, folder).status());
  CONSILIUM_RETURN_IF_ERROR(WriteFileDurably(LocationFile(folder), absl::StrCat(kek_file, "\n")));
  std::string protection = DescribeProtection(location);
  if (location.credentials_folder.empty() && !passphrase.has_value()) {
    absl::StrAppend(&protection,
                    " `init --passphrase-file` makes a key file that a passphrase closes.");
  }
  return protection;
}

absl::StatusOr<std::unique_ptr<SiteStore>> OpenStore(const StorePlace& place) {
  CONSILIUM_ASSIGN_OR_RETURN(const Kek kek, KekOf(place));
  return WhileStoreIsBusy(place, [&] { return SiteStore::Open(kek, Absolute(place.folder)); });
}

absl::StatusOr<json> ImportData(const StorePlace& place, const ImportOptions& options,
                                const HearProgress& hear) {
  json request = ImportRequest(options);
  request["progress"] = hear != nullptr;
  return AskAgentOrStore(place, request, kNoFile, hear);
}

absl::StatusOr<json> ListData(const StorePlace& place) {
  return AskAgentOrStore(place, {{"command", "data_list"}});
}

absl::StatusOr<json> SiteStatus(const StorePlace& place) {
  return AskAgentOrStore(place, {{"command", "status"}});
}

absl::StatusOr<json> VerifyAudit(const StorePlace& place) {
  return AskAgentOrStore(place, {{"command", "audit"}});
}

absl::Status Approve(const StorePlace& place, const std::optional<Digest>& plan_hash) {
  json request = {{"command", "approve_all"}};
  if (plan_hash.has_value()) {
    request = {{"command", "approve"}, {"plan_sha256", ToHex(*plan_hash)}};
  }
  return AskAgentOrStore(place, request).status();
}

absl::Status ApproveRun(const StorePlace& place, const std::string& run,
                        const std::optional<Digest>& plan_hash) {
  json request = {{"command", "approve"}, {"run", run}};
  if (plan_hash.has_value()) request["plan_sha256"] = ToHex(*plan_hash);
  return AskAgentOrStore(place, request).status();
}

absl::Status ApproveOneByOne(const StorePlace& place) {
  return AskAgentOrStore(place, {{"command", "approve_one_by_one"}}).status();
}

absl::Status Withdraw(const StorePlace& place, const std::string& run) {
  return AskAgentOrStore(place, {{"command", "withdraw"}, {"run", run}}).status();
}

absl::StatusOr<json> ListRuns(const StorePlace& place) {
  return AskAgentOrStore(place, {{"command", "runs_list"}});
}

absl::StatusOr<json> ShowRun(const StorePlace& place, const std::string& run) {
  return AskAgentOrStore(place, {{"command", "runs_show"}, {"run", run}});
}

absl::StatusOr<json> ExportModel(const StorePlace& place, const std::string& run,
                                 const std::string& out) {
  if (out.empty()) return absl::InvalidArgumentError("--out names no file");
  const std::string path = Absolute(out);
  CONSILIUM_ASSIGN_OR_RETURN(NewFile file, NewFile::Create(path));
  CONSILIUM_ASSIGN_OR_RETURN(
      json written,
      AskAgentOrStore(place, {{"command", "model_export"}, {"run", run}}, file.descriptor()));
  CONSILIUM_ASSIGN_OR_RETURN(const uint64_t bytes, file.Commit());
  written["file"] = path;
  written["bytes"] = bytes;
  return written;
}

absl::StatusOr<json> SitePolicy(const StorePlace& place,
                                const std::optional<uint64_t>& minimum_count) {
  json request = {{"command", "policy"}};
  if (minimum_count.has_value()) request["minimum_count"] = *minimum_count;
  return AskAgentOrStore(place, request);
}

}  // namespace consilium::site
