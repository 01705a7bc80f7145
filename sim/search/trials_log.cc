#include "sim/search/trials_log.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "protocol/core/files.h"
#include "protocol/core/status_macros.h"
#include "sim/report/json_file.h"

namespace consilium {
namespace {

using Json = nlohmann::json;

constexpr size_t kLogBytesMax = kJsonFileBytesMax;
// Of one trial; longer ones take more memory than they are worth.
constexpr size_t kLineBytesMax = size_t{4} << 20;
constexpr char kFormat[] = "consilium-search-1";
// Of successive halving: of at most 1e12 milliseconds, and each rung has twice as many at least.
constexpr uint64_t kRungMax = 40;

Json ToLine(const Trial& trial) {
  Json line = {{"trial", trial.number()},
               {"slot", trial.proposal.slot},
               {"rung", trial.proposal.rung},
               {"point", trial.proposal.point},
               {"texts", trial.texts}};
  if (trial.same_as.has_value()) line["same_as"] = *trial.same_as;
  const TrialResult& result = trial.result;
  if (!result.error.empty()) {
    line["error"] = result.error;
    return line;
  }
  line["objectives"] = result.objectives;
  line["deviations"] = result.deviations;
  line["costs"] = {{"parameters", result.costs.parameters},
                   {"multiply_adds", result.costs.multiply_adds},
                   {"virtual_seconds", result.costs.virtual_seconds},
                   {"upload_bytes", result.costs.upload_bytes},
                   {"wall_seconds", result.costs.wall_seconds}};
  return line;
}

bool AllFinite(const std::vector<double>& numbers) {
  for (const double number : numbers) {
    if (!std::isfinite(number)) return false;
  }
  return true;
}

// Throws nlohmann's exceptions for what is not there or of another type.
uint64_t Unsigned(const Json& line, const char* key) {
  const Json& number = line.at(key);
  // get() would make a large number of a negative one.
  return number.is_number_unsigned() ? number.get<uint64_t>() : Json("no number").get<uint64_t>();
}

// Throws as Unsigned.
Trial FromLine(const Json& line) {
  Trial trial;
  trial.proposal.trial = Unsigned(line, "trial");
  trial.proposal.slot = Unsigned(line, "slot");
  // One more than there is stands for all that there are not.
  trial.proposal.rung = static_cast<uint32_t>(std::min(Unsigned(line, "rung"), kRungMax + 1));
  trial.proposal.point = line.at("point").get<Point>();
  trial.texts = line.at("texts").get<std::vector<std::string>>();
  if (line.contains("same_as")) trial.same_as = Unsigned(line, "same_as");
  if (line.contains("error")) {
    trial.result.error = line.at("error").get<std::string>();
    return trial;
  }
  trial.result.objectives = line.at("objectives").get<std::vector<double>>();
  trial.result.deviations = line.at("deviations").get<std::vector<double>>();
  const Json& costs = line.at("costs");
  trial.result.costs = {
      costs.at("parameters").get<uint64_t>(), costs.at("multiply_adds").get<uint64_t>(),
      costs.at("virtual_seconds").get<double>(), costs.at("upload_bytes").get<double>(),
      costs.at("wall_seconds").get<double>()};
  return trial;
}

bool Fits(const Trial& trial, const v1::SearchSpace& space) {
  const auto objectives = static_cast<size_t>(space.objectives_size());
  if (trial.proposal.rung > (space.has_successive_halving() ? kRungMax : 0)) return false;
  if (trial.proposal.point.size() != static_cast<size_t>(space.parameters_size()) ||
      !AllFinite(trial.proposal.point) || TextsAt(space, trial.proposal.point) != trial.texts) {
    return false;
  }
  return !trial.succeeded() ||
         (trial.result.objectives.size() == objectives &&
          trial.result.deviations.size() == objectives && AllFinite(trial.result.objectives));
}

absl::StatusOr<Trial> ParseLine(absl::string_view text, const v1::SearchSpace& space) {
  try {
    if (text.size() > kLineBytesMax) return absl::DataLossError("is damaged");
    CONSILIUM_ASSIGN_OR_RETURN(const Json line, ParseJson("line", text));
    Trial trial = FromLine(line);
    if (Fits(trial, space)) return trial;
  } catch (const Json::exception&) {
    // As what does not fit.
  }
  return absl::DataLossError("is damaged");
}

absl::Status CheckIdentity(const std::string& path, absl::string_view text,
                           const TrialsLog::Identity& identity) {
  const absl::StatusOr<Json> parsed = ParseJson(path, text.substr(0, kLineBytesMax));
  const Json header = parsed.ok() ? *parsed : Json();
  if (!header.is_object() || header.value("format", Json()) != Json(kFormat)) {
    return absl::FailedPreconditionError(absl::StrCat(path, " is no log of a search"));
  }
  std::vector<std::string> others;
  for (const auto& [part, digest] : identity) {
    if (header.value(part, Json()) != Json(digest))
      others.push_back(absl::StrCat("another ", part));
  }
  if (others.empty()) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrFormat("%s is of another search (%s): give another --out, or remove that folder",
                      path, absl::StrJoin(others, ", ")));
}

}  // namespace

absl::StatusOr<std::unique_ptr<TrialsLog>> TrialsLog::Open(const std::string& path,
                                                           const v1::SearchSpace& space,
                                                           const Identity& identity) {
  const int file = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (file < 0) return SystemError("can not open", path);
  std::unique_ptr<TrialsLog> log(new TrialsLog(path, file));
  if (flock(file, LOCK_EX | LOCK_NB) != 0) {
    return absl::FailedPreconditionError(
        absl::StrCat(path, " is in use: another process searches there"));
  }
  CONSILIUM_RETURN_IF_ERROR(SyncFolder(std::filesystem::absolute(path).parent_path().string()));
  CONSILIUM_RETURN_IF_ERROR(log->Read(space, identity));
  return log;
}

TrialsLog::~TrialsLog() { close(file_); }

absl::Status TrialsLog::Read(const v1::SearchSpace& space, const Identity& identity) {
  const absl::StatusOr<std::string> read = ReadFile(path_, kLogBytesMax);
  if (absl::IsResourceExhausted(read.status())) {
    return absl::ResourceExhaustedError(
        absl::StrCat(read.status().message(), ": give another --out"));
  }
  CONSILIUM_RETURN_IF_ERROR(read.status());
  const std::string& text = *read;
  std::set<uint64_t> numbers;
  size_t line = 0;
  for (size_t end = text.find('\n'); end != std::string::npos; end = text.find('\n', size_bytes_)) {
    const absl::string_view bytes = absl::string_view(text).substr(size_bytes_, end - size_bytes_);
    size_bytes_ = end + 1;
    if (line++ == 0) {
      CONSILIUM_RETURN_IF_ERROR(CheckIdentity(path_, bytes, identity));
      continue;
    }
    absl::StatusOr<Trial> trial = ParseLine(bytes, space);
    if (!trial.ok() || !numbers.insert(trial->number()).second) {
      return absl::DataLossError(absl::StrFormat("%s: line %d is damaged", path_, line));
    }
    trials_.push_back(*std::move(trial));
  }
  if (ftruncate(file_, static_cast<off_t>(size_bytes_)) != 0) {
    return SystemError("can not shorten", path_);
  }
  if (line > 0) return absl::OkStatus();
  Json header(identity);
  header["format"] = kFormat;
  return WriteLine(header.dump());
}

absl::Status TrialsLog::Append(const Trial& trial) {
  return WriteLine(ToLine(trial).dump(-1, ' ', true, Json::error_handler_t::replace));
}

absl::Status TrialsLog::WriteLine(const std::string& json) {
  const std::string line = absl::StrCat(json, "\n");
  size_t written = 0;
  while (written < line.size()) {
    const ssize_t n = pwrite(file_, line.data() + written, line.size() - written,
                             static_cast<off_t>(size_bytes_ + written));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) break;
    written += static_cast<size_t>(n);
  }
  if (written < line.size() || fdatasync(file_) != 0) {
    const absl::Status error = SystemError("can not write", path_);
    // Where this fails, too, the next process drops what is left of the line.
    [[maybe_unused]] const int cut = ftruncate(file_, static_cast<off_t>(size_bytes_));
    return error;
  }
  size_bytes_ += line.size();
  return absl::OkStatus();
}

}  // namespace consilium
