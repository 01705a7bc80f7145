#include "sim/engine/checkpoint.h"

#include <stdio.h>

#include <cstring>
#include <exception>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "protocol/core/files.h"
#include "protocol/core/status_macros.h"
#include "protocol/wire/hash.h"
#include "sim/engine/frame_file.h"

namespace consilium {
namespace {

using Json = nlohmann::json;
using Values = SimulationVectors::Values;

constexpr char kHead = 'H';
constexpr char kVector = 'V';
constexpr char kUse = 'P';  // The vector before it, at one more place.
constexpr char kFirstUpdate = 'A';
constexpr char kEnd = 'Z';

// Where a vector is held.
constexpr char kInStore[] = "store";
constexpr char kStaged[] = "staged";
constexpr char kModel[] = "model";
constexpr char kUpdate[] = "update";
constexpr char kKept[] = "kept";

absl::string_view AsBytes(const std::vector<float>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)};
}

std::vector<float> AsFloats(absl::string_view bytes) {
  std::vector<float> values(bytes.size() / sizeof(float));
  memcpy(values.data(), bytes.data(), values.size() * sizeof(float));
  return values;
}

Json ToJson(const VectorName& name) {
  return {{"kind", static_cast<int>(name.kind)},
          {"number", name.number},
          {"update", ToHex(name.update)}};
}

VectorName NameFrom(const Json& json) {
  VectorName name;
  name.kind = static_cast<VectorName::Kind>(json.at("kind").get<int>());
  name.number = json.at("number").get<uint64_t>();
  name.update = DigestFromHex(json.at("update").get<std::string>()).value();
  return name;
}

Json PlaceOfModel(Version version) { return {{"at", kModel}, {"version", version.value()}}; }

struct InMemory {
  std::map<Values, std::vector<Json>> places;  // By vector.
  std::set<Version> models;                    // That have theirs among them.
};

// Each vector that is in memory once, however many hold it; but what sites keep, which nobody
// shares. Says which models it has found there: threads at work put others there meanwhile.
InMemory FindInMemory(const SimulationVectors& vectors) {
  InMemory found;
  std::map<Values, std::vector<Json>>& places = found.places;
  for (const auto& [name, values] : vectors.store.vectors) {
    places[values].push_back({{"at", kInStore}, {"name", ToJson(name)}});
  }
  for (const auto& [key, values] : vectors.store.staged_state) {
    places[values].push_back(
        {{"at", kStaged}, {"makes", key.first.value()}, {"name", ToJson(key.second)}});
  }
  for (const auto& [version, held] : vectors.models) {
    const Values values = held->InMemory();
    if (values == nullptr) continue;
    places[values].push_back(PlaceOfModel(version));
    found.models.insert(version);
  }
  for (const auto& [id, values] : vectors.updates) {
    places[values].push_back({{"at", kUpdate}, {"update", ToHex(id)}});
  }
  return found;
}

absl::Status Place(const Json& place, const Values& values, IdleVectors& idle,
                   SimulationVectors& out) {
  const std::string at = place.at("at").get<std::string>();
  if (at == kInStore) {
    out.store.vectors[NameFrom(place.at("name"))] = values;
  } else if (at == kStaged) {
    out.store
        .staged_state[{Version(place.at("makes").get<uint64_t>()), NameFrom(place.at("name"))}] =
        values;
  } else if (at == kModel) {
    CONSILIUM_ASSIGN_OR_RETURN(out.models[Version(place.at("version").get<uint64_t>())],
                               idle.Keep(values));
  } else if (at == kKept) {
    CONSILIUM_ASSIGN_OR_RETURN(
        out.kept[DigestFromHex(place.at("update").get<std::string>()).value()], idle.Keep(values));
  } else {
    out.updates[DigestFromHex(place.at("update").get<std::string>()).value()] = values;
  }
  return absl::OkStatus();
}

std::string EncodeHead(const CheckpointHead& head) {
  return Json({{"identity", head.identity},
               {"steps", head.steps},
               {"state", ToHex(head.state)},
               {"log_bytes", head.log.log_bytes},
               {"updates_bytes", head.log.updates_bytes},
               {"updates_left_out", head.log.updates_left_out},
               {"wall_seconds", head.wall_seconds},
               {"is_last", head.is_last}})
      .dump();
}

CheckpointHead DecodeHead(const std::string& text) {
  const Json json = Json::parse(text);
  CheckpointHead head;
  head.identity = json.at("identity").get<std::map<std::string, std::string>>();
  head.steps = json.at("steps").get<uint64_t>();
  head.state = DigestFromHex(json.at("state").get<std::string>()).value();
  head.log.log_bytes = json.at("log_bytes").get<uint64_t>();
  head.log.updates_bytes = json.at("updates_bytes").get<uint64_t>();
  head.log.updates_left_out = json.at("updates_left_out").get<uint64_t>();
  head.wall_seconds = json.at("wall_seconds").get<double>();
  head.is_last = json.at("is_last").get<bool>();
  return head;
}

absl::Status WriteHeld(const IdleVector& held, const Json& place, FrameWriter& file) {
  CONSILIUM_ASSIGN_OR_RETURN(const Values values, held.Peek());
  CONSILIUM_RETURN_IF_ERROR(file.Add(kVector, AsBytes(*values)));
  return file.Add(kUse, place.dump());
}

absl::Status WriteFrames(const CheckpointHead& head, const SimulationVectors& vectors,
                         FrameWriter& file) {
  CONSILIUM_RETURN_IF_ERROR(file.Add(kHead, EncodeHead(head)));
  const InMemory in_memory = FindInMemory(vectors);
  for (const auto& [values, places] : in_memory.places) {
    CONSILIUM_RETURN_IF_ERROR(file.Add(kVector, AsBytes(*values)));
    for (const Json& place : places) CONSILIUM_RETURN_IF_ERROR(file.Add(kUse, place.dump()));
  }
  for (const auto& [version, held] : vectors.models) {
    if (in_memory.models.contains(version)) continue;
    CONSILIUM_RETURN_IF_ERROR(WriteHeld(*held, PlaceOfModel(version), file));
  }
  for (const auto& [id, held] : vectors.kept) {
    CONSILIUM_RETURN_IF_ERROR(WriteHeld(*held, {{"at", kKept}, {"update", ToHex(id)}}, file));
  }
  for (const auto& [site, values] : vectors.first_updates) {
    CONSILIUM_RETURN_IF_ERROR(file.Add(kVector, AsBytes(values)));
    CONSILIUM_RETURN_IF_ERROR(file.Add(kFirstUpdate, site.value()));
  }
  return file.Add(kEnd, "");
}

struct Content {
  CheckpointHead head;
  SimulationVectors vectors;
};

// The blocks' digests vouch for what is in the frames; they are read by their writer alone. Only
// the head where `idle` is null.
absl::StatusOr<Content> Read(const std::string& path, IdleVectors* idle) {
  CONSILIUM_ASSIGN_OR_RETURN(FrameReader file, FrameReader::Open(path, std::nullopt));
  Content content;
  Values values;
  while (true) {
    CONSILIUM_ASSIGN_OR_RETURN(const std::optional<Frame> frame, file.Next());
    if (!frame.has_value()) return absl::DataLossError(absl::StrCat(path, " is cut off"));
    if (frame->kind == kEnd) return content;
    if (frame->kind == kHead) content.head = DecodeHead(frame->bytes);
    if (idle == nullptr) continue;
    if (frame->kind == kVector) {
      values = std::make_shared<const std::vector<float>>(AsFloats(frame->bytes));
    } else if (frame->kind != kHead && values == nullptr) {
      return absl::DataLossError(absl::StrCat(path, " is no checkpoint: a place has no vector"));
    } else if (frame->kind == kUse) {
      CONSILIUM_RETURN_IF_ERROR(Place(Json::parse(frame->bytes), values, *idle, content.vectors));
    } else if (frame->kind == kFirstUpdate) {
      content.vectors.first_updates[SiteId(frame->bytes)] = *values;
    }
  }
}

// A file of this format that says something else than it did.
absl::StatusOr<Content> ReadSafely(const std::string& path, IdleVectors* idle) {
  try {
    return Read(path, idle);
  } catch (const std::exception& error) {
    return absl::DataLossError(absl::StrCat(path, " is no checkpoint: ", error.what()));
  }
}

}  // namespace

absl::Status WriteCheckpoint(const std::string& path, const CheckpointHead& head,
                             const SimulationVectors& vectors) {
  const std::string temporary = absl::StrCat(path, ".new");
  CONSILIUM_ASSIGN_OR_RETURN(FrameWriter file, FrameWriter::Create(temporary));
  CONSILIUM_RETURN_IF_ERROR(WriteFrames(head, vectors, file));
  CONSILIUM_RETURN_IF_ERROR(file.Sync().status());
  if (rename(temporary.c_str(), path.c_str()) != 0) return SystemError("can not rename to", path);
  return SyncFolder(std::filesystem::path(path).parent_path().string());
}

absl::StatusOr<CheckpointHead> ReadCheckpointHead(const std::string& path) {
  CONSILIUM_ASSIGN_OR_RETURN(Content content, ReadSafely(path, nullptr));
  return content.head;
}

absl::StatusOr<SimulationVectors> ReadCheckpointVectors(const std::string& path,
                                                        IdleVectors& idle) {
  CONSILIUM_ASSIGN_OR_RETURN(Content content, ReadSafely(path, &idle));
  return std::move(content.vectors);
}

}  // namespace consilium
