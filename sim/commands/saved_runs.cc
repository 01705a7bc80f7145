#include "sim/commands/saved_runs.h"

#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "models/spec/preset_traits.h"
#include "models/spec/run_plan.h"
#include "models/spec/safetensors.h"
#include "protocol/core/files.h"
#include "protocol/core/status_macros.h"
#include "protocol/wire/hash.h"
#include "protocol/wire/journal_export.h"
#include "protocol/wire/limits.h"
#include "protocol/wire/signing_key.h"
#include "sim/engine/frame_file.h"
#include "site_agent/core/personal_model.h"
#include "spdlog/spdlog.h"

namespace consilium {
namespace {

using Json = nlohmann::json;

constexpr char kIdentityFrame = 'H';
constexpr char kAloneFrame = 'A';
constexpr char kPooledFrame = 'P';
constexpr char kOverAllFrame = 'O';
constexpr char kEndFrame = 'Z';

std::string ExperimentFile(const std::string& folder) {
  return absl::StrCat(folder, "/experiment.json");
}

Json Describe(const SavedRuns::Experiment& experiment, SavedRunsOptions::Clock clock) {
  const FederationData no_data;
  SimulationInput input;
  input.plan = experiment.plan;
  input.scenario = experiment.scenario;
  input.data = &no_data;
  input.trainer_name = std::string(experiment.trainer);
  Json json = IdentityOf(input);
  json["seeds"] = experiment.seeds;
  json["clock"] = clock == SavedRunsOptions::Clock::kWall ? "wall" : "virtual";
  // Without --seeds that of the files counts; with it, those of the files do not.
  if (!experiment.seeds.empty()) json.erase("seed");
  json.erase("data");  // It may hang on the seed; each run has its own.
  return json;
}

bool HasSeeds(const Json& json) {
  if (!json.is_object() || !json.contains("seeds") || !json.at("seeds").is_array()) return false;
  const Json& seeds = json.at("seeds");
  return std::all_of(seeds.begin(), seeds.end(),
                     [](const Json& seed) { return seed.is_number_unsigned(); });
}

std::vector<std::string> Differences(const Json& here, const Json& asked) {
  std::vector<std::string> parts;
  for (const auto& item : asked.items()) {
    if (item.key() == "seeds") continue;
    // Folders of earlier versions do not tell their clock.
    if (item.key() == "clock" && item.value() == here.value("clock", "virtual")) continue;
    if (!here.contains(item.key()) || here.at(item.key()) != item.value()) {
      parts.push_back(absl::StrCat("another ", item.key()));
    }
  }
  const auto done = here.at("seeds").get<std::vector<uint64_t>>();
  const auto seeds = asked.at("seeds").get<std::vector<uint64_t>>();
  const bool includes = std::includes(seeds.begin(), seeds.end(), done.begin(), done.end());
  if (!includes || (done.empty() && !seeds.empty())) parts.emplace_back("other seeds");
  return parts;
}

// The frame's bytes are the site's id, a zero and the sums.
std::string SumsOf(const SiteId& site, const v1::MetricSums& sums) {
  std::string bytes = site.value();
  bytes.push_back('\0');
  return bytes + sums.SerializeAsString();
}

bool TakeSums(absl::string_view bytes, std::map<SiteId, v1::MetricSums>& out) {
  const size_t end = bytes.find('\0');
  if (end == absl::string_view::npos) return false;
  return out[SiteId(std::string(bytes.substr(0, end)))].ParseFromString(
      std::string(bytes.substr(end + 1)));
}

std::string BaselinesIdentity(const SimulationInput& input) {
  return Json(IdentityOf(input)).dump();
}

absl::StatusOr<std::optional<Baselines>> ReadBaselines(const std::string& path,
                                                       const std::string& identity) {
  CONSILIUM_ASSIGN_OR_RETURN(FrameReader file,
                             FrameReader::Open(path, std::nullopt, kOutcomeBytesMax));
  Baselines baselines;
  while (true) {
    CONSILIUM_ASSIGN_OR_RETURN(const std::optional<Frame> frame, file.Next());
    if (!frame.has_value()) return std::nullopt;
    bool fits = true;
    if (frame->kind == kEndFrame) return baselines;
    if (frame->kind == kIdentityFrame) fits = frame->bytes == identity;
    if (frame->kind == kAloneFrame) fits = TakeSums(frame->bytes, baselines.alone);
    if (frame->kind == kPooledFrame) fits = TakeSums(frame->bytes, baselines.pooled);
    if (frame->kind == kOverAllFrame) {
      fits = baselines.pooled_over_all.ParseFromString(frame->bytes);
    }
    if (!fits) return std::nullopt;
  }
}

// Under another name until it is whole.
class NewFile {
 public:
  explicit NewFile(std::string path)
      : path_(std::move(path)),
        temporary_(absl::StrCat(path_, ".new")),
        file_(fopen(temporary_.c_str(), "wbe")) {}

  absl::Status Write(absl::string_view bytes) {
    if (file_ == nullptr || fwrite(bytes.data(), 1, bytes.size(), file_.get()) != bytes.size()) {
      return SystemError("can not write", temporary_);
    }
    return absl::OkStatus();
  }

  absl::Status Finish() {
    if (fflush(file_.get()) != 0 || fsync(fileno(file_.get())) != 0) {
      return SystemError("can not sync", temporary_);
    }
    if (rename(temporary_.c_str(), path_.c_str()) != 0) {
      return SystemError("can not rename to", path_);
    }
    return SyncFolder(std::filesystem::path(path_).parent_path().string());
  }

 private:
  struct Closer {
    void operator()(FILE* file) const { fclose(file); }
  };
  std::string path_;
  std::string temporary_;
  std::unique_ptr<FILE, Closer> file_;
};

// For this user alone: what single sites have sent can be inverted into rows. A folder that is
// there already may be open to others.
absl::Status MakePrivateFolder(const std::string& path) {
  CONSILIUM_RETURN_IF_ERROR(MakeFolders(path, 0700));
  if (chmod(path.c_str(), 0700) != 0) return SystemError("can not keep others out of", path);
  return absl::OkStatus();
}

constexpr char kModelFile[] = ".safetensors";

// Models that an earlier simulation has left in the folder, and the folder where it held nothing
// else. Whatever else a person keeps there stays.
absl::Status RemoveModels(const std::filesystem::path& folder) {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    if (entry.path().extension() != kModelFile) continue;
    std::filesystem::remove(entry.path(), error);
    if (error) break;
  }
  if (error == std::errc::no_such_file_or_directory) return absl::OkStatus();
  if (error) {
    return absl::UnavailableError(absl::StrCat("can not remove the models of an earlier run in ",
                                               folder.string(), ": ", error.message()));
  }
  std::filesystem::remove(folder, error);  // Not where it is not empty.
  return absl::OkStatus();
}

absl::Status RemovePersonalModels(const std::string& out) {
  std::error_code error;
  const std::filesystem::path all = std::filesystem::path(out) / "personal";
  for (const auto& entry : std::filesystem::directory_iterator(all, error)) {
    if (entry.is_symlink(error) || !entry.is_directory(error)) continue;
    CONSILIUM_RETURN_IF_ERROR(RemoveModels(entry.path()));
  }
  std::filesystem::remove(all, error);  // Not where it is not empty.
  return absl::OkStatus();
}

// Made once for a folder.
absl::StatusOr<PublicKey> RecipientOf(const std::string& folder) {
  const std::string path = absl::StrCat(folder, "/recipient.key");
  if (!std::filesystem::exists(path)) {
    CONSILIUM_ASSIGN_OR_RETURN(const RecipientKey made, GenerateRecipientKey());
    CONSILIUM_RETURN_IF_ERROR(WriteRecipientKey(made, path));
  }
  CONSILIUM_ASSIGN_OR_RETURN(const RecipientKey key, ReadRecipientKey(path));
  return key.public_key;
}

}  // namespace

std::string SavedRuns::folder() const { return absl::StrCat(options_.out, "/checkpoint"); }

absl::Status SavedRuns::Lock() {
  const std::string path = absl::StrCat(folder(), "/lock");
  lock_.reset(fopen(path.c_str(), "ae"));
  if (lock_ == nullptr) return SystemError("can not open", path);
  if (flock(fileno(lock_.get()), LOCK_EX | LOCK_NB) != 0) {
    return absl::FailedPreconditionError(
        absl::StrCat(options_.out, " is in use: another consilium-sim simulates into it"));
  }
  return absl::OkStatus();
}

absl::Status SavedRuns::CheckExperiment(const Experiment& experiment) const {
  const std::string path = ExperimentFile(folder());
  const Json asked = Describe(experiment, options_.clock);
  const auto text = ReadFile(path, limits::kTextFileBytesMax);
  if (text.ok()) {
    const Json here = Json::parse(*text, nullptr, /*allow_exceptions=*/false);
    if (!HasSeeds(here)) {
      return absl::DataLossError(absl::StrCat(path, " is damaged; --restart begins anew"));
    }
    const std::vector<std::string> parts = Differences(here, asked);
    if (!parts.empty()) {
      return absl::FailedPreconditionError(
          absl::StrCat(options_.out, " holds another simulation (", absl::StrJoin(parts, ", "),
                       "): give another --out, or --restart to begin anew and lose that one"));
    }
  } else if (!absl::IsNotFound(text.status())) {
    return text.status();
  }
  return WriteFileDurably(path, absl::StrCat(asked.dump(2), "\n"), 0644);
}

absl::StatusOr<std::unique_ptr<SavedRuns>> SavedRuns::Open(SavedRunsOptions options,
                                                           const Experiment& experiment) {
  std::unique_ptr<SavedRuns> runs(new SavedRuns(std::move(options)));
  const std::string folder = runs->folder();
  CONSILIUM_RETURN_IF_ERROR(MakeFolders(runs->options_.out, 0755));
  CONSILIUM_RETURN_IF_ERROR(MakePrivateFolder(folder));
  CONSILIUM_RETURN_IF_ERROR(runs->Lock());
  const auto begin = runs->options_.begin;
  if (begin == SavedRunsOptions::Begin::kGoOn && !std::filesystem::exists(ExperimentFile(folder))) {
    return absl::NotFoundError(
        absl::StrCat("--resume: there is nothing in ", runs->options_.out, " to go on from"));
  }
  if (begin == SavedRunsOptions::Begin::kEither &&
      runs->options_.clock == SavedRunsOptions::Clock::kWall &&
      std::filesystem::exists(ExperimentFile(folder))) {
    return absl::FailedPreconditionError(
        absl::StrCat(runs->options_.out,
                     " holds a run already, and none goes on on a wall clock: give another --out, "
                     "or --restart to begin anew and lose that one"));
  }
  if (begin == SavedRunsOptions::Begin::kRestart) {
    CONSILIUM_RETURN_IF_ERROR(RemovePersonalModels(runs->options_.out));
    std::error_code ignored;
    for (const auto& entry : std::filesystem::directory_iterator(folder, ignored)) {
      if (entry.path().filename() != "lock") std::filesystem::remove(entry.path(), ignored);
    }
  }
  CONSILIUM_RETURN_IF_ERROR(runs->CheckExperiment(experiment));
  return runs;
}

// --- Runs ---------------------------------------------------------------------------------------

absl::StatusOr<std::unique_ptr<SavedSimulation>> SavedRuns::OpenRun(
    const std::string& name, const SimulationInput& input) const {
  SavedSimulationOptions saved;
  saved.folder = folder();
  saved.name = name;
  saved.identity = IdentityOf(input);
  saved.interval = options_.interval;
  saved.updates_bytes_max = options_.journal_updates_bytes_max;
  return SavedSimulation::Open(std::move(saved));
}

absl::StatusOr<std::unique_ptr<RunLog>> SavedRuns::OpenWallRun(const std::string& name) const {
  const std::string base = absl::StrCat(folder(), "/", name);
  return RunLog::Create({absl::StrCat(base, ".log"), absl::StrCat(base, ".updates"),
                         options_.journal_updates_bytes_max});
}

absl::Status SavedRuns::FinishWallRun(const std::string& name, const RunId& run,
                                      RunLog& log) const {
  CONSILIUM_RETURN_IF_ERROR(WriteJournal(name, run, log));
  std::error_code ignored;
  for (const char* kind : {".log", ".updates"}) {
    std::filesystem::remove(absl::StrCat(folder(), "/", name, kind), ignored);
  }
  return absl::OkStatus();
}

std::string SavedRuns::JournalOf(const std::string& name) const {
  return absl::StrCat(options_.out, "/journal/", name, ".export");
}

absl::Status SavedRuns::WriteJournal(const std::string& name, const RunId& run, RunLog& log) const {
  const std::string folder = absl::StrCat(options_.out, "/journal");
  // The key lies beside what it opens.
  CONSILIUM_RETURN_IF_ERROR(MakePrivateFolder(folder));
  CONSILIUM_ASSIGN_OR_RETURN(const PublicKey recipient, RecipientOf(folder));
  CONSILIUM_ASSIGN_OR_RETURN(const SigningKey signer, SigningKey::Generate());
  v1::ExportHeader header;
  header.set_federation("simulated");
  header.set_run_id(run.value());
  header.set_aggregator_signing_key(signer.public_key().data(), signer.public_key().size());
  header.set_software_version(SimulatorVersion());
  header.set_with_updates(options_.journal_updates_bytes_max > 0);
  header.set_exported_unix_s(absl::ToUnixSeconds(absl::Now()));
  const std::string path = JournalOf(name);
  NewFile file(path);
  CONSILIUM_ASSIGN_OR_RETURN(
      const auto writer,
      JournalExportWriter::Create(header, recipient, signer,
                                  [&](absl::string_view bytes) { return file.Write(bytes); }));
  RunLog::Reader reader;
  reader.on_input = [&](const v1::JournalEntry& entry) { return writer->AddEntry(entry); };
  reader.on_update = [&](const Digest& id, absl::string_view payload) {
    return writer->AddUpdate(id, payload);
  };
  CONSILIUM_RETURN_IF_ERROR(log.Read(reader));
  CONSILIUM_RETURN_IF_ERROR(writer->Finish());
  if (log.updates_left_out() > 0 && header.with_updates()) {
    spdlog::warn("{} lacks the last {} updates, for which --journal-mib has no room", path,
                 log.updates_left_out());
  }
  return file.Finish();
}

absl::Status SavedRuns::FinishRun(const std::string& name, const Simulation& simulation,
                                  SavedSimulation& saved) const {
  return saved.Finish(simulation,
                      [&](RunLog& log) { return WriteJournal(name, simulation.run().run, log); });
}

absl::Status SavedRuns::WritePersonalModels(const std::string& name, const v1::RunPlan& plan,
                                            std::span<const float> result,
                                            const Simulation& simulation) const {
  CONSILIUM_ASSIGN_OR_RETURN(const ModelGraph graph, GraphOf(plan));
  const std::string folder = absl::StrCat(options_.out, "/personal/", name);
  // Of sites that keep nothing now, or are not there any more.
  CONSILIUM_RETURN_IF_ERROR(RemoveModels(folder));
  CONSILIUM_RETURN_IF_ERROR(MakeFolders(folder, 0700));
  for (const auto& [site, participant] : simulation.run().participants) {
    CONSILIUM_ASSIGN_OR_RETURN(const Weights own, simulation.KeptOf(site));
    if (own == nullptr) continue;
    CONSILIUM_ASSIGN_OR_RETURN(const std::vector<float> model,
                               PersonalModelOf(graph, KeptBySites(plan.config()), result, *own));
    TensorFileContent content;
    content.layout = &graph.layout;
    content.values = model;
    content.mode = 0600;
    content.metadata = {{"site", site.value()}, {"spec", graph.name}};
    CONSILIUM_RETURN_IF_ERROR(
        WriteTensorFile(absl::StrCat(folder, "/", site.value(), kModelFile), content));
  }
  return absl::OkStatus();
}

// --- Baselines ----------------------------------------------------------------------------------

std::optional<Baselines> SavedRuns::FindBaselines(const std::string& name,
                                                  const SimulationInput& input) const {
  const auto found =
      ReadBaselines(absl::StrCat(folder(), "/", name, ".baselines"), BaselinesIdentity(input));
  return found.ok() ? *found : std::nullopt;
}

absl::Status SavedRuns::KeepBaselines(const std::string& name, const SimulationInput& input,
                                      const Baselines& baselines) const {
  CONSILIUM_ASSIGN_OR_RETURN(FrameWriter file,
                             FrameWriter::Create(absl::StrCat(folder(), "/", name, ".baselines")));
  CONSILIUM_RETURN_IF_ERROR(file.Add(kIdentityFrame, BaselinesIdentity(input)));
  for (const auto& [site, sums] : baselines.alone) {
    CONSILIUM_RETURN_IF_ERROR(file.Add(kAloneFrame, SumsOf(site, sums)));
  }
  for (const auto& [site, sums] : baselines.pooled) {
    CONSILIUM_RETURN_IF_ERROR(file.Add(kPooledFrame, SumsOf(site, sums)));
  }
  CONSILIUM_RETURN_IF_ERROR(file.Add(kOverAllFrame, baselines.pooled_over_all.SerializeAsString()));
  CONSILIUM_RETURN_IF_ERROR(file.Add(kEndFrame, ""));
  return file.Sync().status();
}

}  // namespace consilium
