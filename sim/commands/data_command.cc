#include "sim/commands/data_command.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "protocol/core/progress.h"
#include "protocol/core/status_macros.h"
#include "sim/datasets/fetch.h"
#include "sim/datasets/locate.h"
#include "sim/datasets/manifests.h"

namespace consilium {
namespace {

using Manifests = std::vector<const v1::DatasetManifest*>;

absl::StatusOr<Manifests> Named(const std::vector<std::string>& names) {
  Manifests manifests;
  for (const std::string& name : names) {
    CONSILIUM_ASSIGN_OR_RETURN(const v1::DatasetManifest* const manifest, FindManifest(name));
    manifests.push_back(manifest);
  }
  return manifests;
}

absl::string_view TextOf(DatasetState::Kind kind) {
  switch (kind) {
    case DatasetState::Kind::kPresent:
      return "present";
    case DatasetState::Kind::kDamaged:
      return "damaged";
    case DatasetState::Kind::kMissing:
      break;
  }
  return "missing";
}

nlohmann::json ToJson(const v1::DatasetManifest& manifest, const DatasetState& state) {
  nlohmann::json files = nlohmann::json::array();
  uint64_t bytes = 0;
  for (const v1::DatasetFile& file : manifest.files()) {
    files.push_back({{"path", file.path()}, {"bytes", file.bytes()}, {"sha256", file.sha256()}});
    bytes += file.bytes();
  }
  return {{"name", manifest.name()},
          {"title", manifest.title()},
          {"source", manifest.source()},
          {"licence", manifest.licence()},
          {"citation", manifest.citation()},
          {"contract", manifest.contract_file()},
          {"no_table", manifest.no_table()},
          {"rows", manifest.rows()},
          {"sites", manifest.sites()},
          {"sites_told_by", manifest.sites_told_by()},
          {"bytes", bytes},
          {"files", std::move(files)},
          {"state", std::string(TextOf(state.kind))},
          {"folder", state.folder},
          {"why", state.why}};
}

// 0 stands for what is not told.
std::string CountText(uint64_t count) { return count == 0 ? "-" : absl::StrCat(count); }

void PrintLine(const v1::DatasetManifest& manifest, const DatasetState& state) {
  absl::PrintF("%-18s %7s %6s  %-8s %s%s\n", manifest.name(), CountText(manifest.rows()),
               CountText(manifest.sites()), TextOf(state.kind), manifest.licence(),
               state.folder.empty() ? "" : absl::StrCat("; in ", state.folder));
}

void PrintAll(const v1::DatasetManifest& manifest, const DatasetState& state) {
  const auto line = [](absl::string_view what, absl::string_view text) {
    if (!text.empty()) absl::PrintF("  %-10s %s\n", what, text);
  };
  absl::PrintF("%s: %s\n", manifest.name(), manifest.title());
  line("source", manifest.source());
  line("licence", manifest.licence());
  line("citation", manifest.citation());
  line("contract", manifest.contract_file());
  line("no table", manifest.no_table());
  line("rows", CountText(manifest.rows()));
  line("sites", absl::StrCat(CountText(manifest.sites()), ": ", manifest.sites_told_by()));
  line("files", absl::StrCat(manifest.files_size()));
  line("state", absl::StrCat(TextOf(state.kind), state.folder.empty() ? "" : " in ", state.folder));
}

}  // namespace

absl::Status Execute(const DataListCommand& command) {
  CONSILIUM_ASSIGN_OR_RETURN(Manifests manifests, Named(command.names));
  if (manifests.empty()) {
    for (const v1::DatasetManifest& manifest : AllManifests()) manifests.push_back(&manifest);
  }
  const bool json = command.output == DataListCommand::Output::kJson;
  nlohmann::json all = nlohmann::json::array();
  std::string damaged;
  if (!json && command.names.empty()) {
    absl::PrintF("%-18s %7s %6s  %-8s %s\n", "name", "rows", "sites", "state", "licence; folder");
  }
  for (const v1::DatasetManifest* manifest : manifests) {
    const DatasetState state = StateOf(*manifest, command.data_folder);
    if (!state.why.empty()) damaged = state.why;
    if (json) {
      all.push_back(ToJson(*manifest, state));
    } else if (command.names.empty()) {
      PrintLine(*manifest, state);
    } else {
      PrintAll(*manifest, state);
    }
  }
  if (json) absl::PrintF("%s\n", nlohmann::json{{"datasets", std::move(all)}}.dump(2));
  return damaged.empty() ? absl::OkStatus() : absl::DataLossError(damaged);
}

absl::Status Execute(const DataFetchCommand& command) {
  CONSILIUM_ASSIGN_OR_RETURN(const Manifests manifests, Named(command.names));
  nlohmann::json all = nlohmann::json::array();
  for (const v1::DatasetManifest* manifest : manifests) {
    FetchOptions options;
    options.from = command.from;
    options.into = command.into.empty() ? DefaultDatasetsFolder() : command.into;
    Progress progress(manifest->name());
    options.progress = [&progress](uint64_t done, uint64_t of, absl::string_view file) {
      progress.Show(static_cast<double>(done), static_cast<double>(of), file);
    };
    CONSILIUM_ASSIGN_OR_RETURN(const FetchReport report, FetchDataset(*manifest, options));
    if (command.output == DataFetchCommand::Output::kText) {
      absl::PrintF("%s: %d files in %s (%d fetched, %d made, %d there already), SHA-256 checked\n",
                   manifest->name(), manifest->files_size(), report.folder, report.fetched,
                   report.made, report.there_already);
    }
    all.push_back({{"name", manifest->name()},
                   {"folder", report.folder},
                   {"licence", manifest->licence()},
                   {"fetched", report.fetched},
                   {"made", report.made},
                   {"there_already", report.there_already}});
  }
  if (command.output == DataFetchCommand::Output::kJson) {
    absl::PrintF("%s\n", nlohmann::json{{"datasets", std::move(all)}}.dump(2));
  }
  return absl::OkStatus();
}

}  // namespace consilium
