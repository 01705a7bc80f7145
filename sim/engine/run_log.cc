#include "sim/engine/run_log.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "protocol/core/status_macros.h"
#include "protocol/wire/hash.h"

namespace consilium {
namespace {

// Frames that are no outcomes.
constexpr char kInputFrame = 'J';
constexpr char kUpdateFrame = 'U';
constexpr size_t kDigestBytes = 32;

}  // namespace

absl::StatusOr<std::unique_ptr<RunLog>> RunLog::Create(RunLogOptions options) {
  CONSILIUM_ASSIGN_OR_RETURN(FrameWriter log, FrameWriter::Create(options.log_path));
  CONSILIUM_ASSIGN_OR_RETURN(FrameWriter updates, FrameWriter::Create(options.updates_path));
  return std::unique_ptr<RunLog>(
      new RunLog(std::move(options), std::move(log), std::move(updates)));
}

absl::StatusOr<std::unique_ptr<RunLog>> RunLog::GoOn(RunLogOptions options,
                                                     const RunLogEnds& ends) {
  CONSILIUM_ASSIGN_OR_RETURN(FrameWriter log, FrameWriter::GoOn(options.log_path, ends.log_bytes));
  CONSILIUM_ASSIGN_OR_RETURN(FrameWriter updates,
                             ends.updates_bytes == 0
                                 ? FrameWriter::Create(options.updates_path)
                                 : FrameWriter::GoOn(options.updates_path, ends.updates_bytes));
  CONSILIUM_ASSIGN_OR_RETURN(FrameReader known,
                             FrameReader::Open(options.log_path, ends.log_bytes, kOutcomeBytesMax));
  std::unique_ptr<RunLog> run(new RunLog(std::move(options), std::move(log), std::move(updates)));
  run->known_.emplace(std::move(known));
  run->updates_left_out_ = ends.updates_left_out;
  return run;
}

absl::StatusOr<std::optional<Frame>> RunLog::NextOutcome() {
  while (true) {
    CONSILIUM_ASSIGN_OR_RETURN(std::optional<Frame> frame, known_->Next());
    if (!frame.has_value() || frame->kind != kInputFrame) return frame;
  }
}

absl::StatusOr<Frame> RunLog::Recall() {
  CONSILIUM_ASSIGN_OR_RETURN(std::optional<Frame> frame, NextOutcome());
  if (frame.has_value()) return *std::move(frame);
  return absl::DataLossError(
      absl::StrCat(options_.log_path, " ends before the simulation comes to its checkpoint"));
}

absl::Status RunLog::EndRecall() {
  CONSILIUM_ASSIGN_OR_RETURN(const std::optional<Frame> frame, NextOutcome());
  if (frame.has_value()) {
    return absl::DataLossError(
        absl::StrCat(options_.log_path, " tells of more than the simulation did"));
  }
  known_.reset();
  return absl::OkStatus();
}

absl::Status RunLog::Keep(char kind, absl::string_view outcome) {
  ++kept_;
  return log_.Add(kind, outcome);
}

absl::Status RunLog::AddInput(const v1::JournalEntry& entry) {
  return log_.Add(kInputFrame, entry.SerializeAsString());
}

absl::Status RunLog::AddUpdate(const Digest& id, std::span<const float> delta) {
  if (updates_.bytes() + delta.size_bytes() > options_.updates_bytes_max) {
    ++updates_left_out_;
    return absl::OkStatus();
  }
  std::string bytes = ToBytes(id);
  bytes.append(reinterpret_cast<const char*>(delta.data()), delta.size_bytes());
  return updates_.Add(kUpdateFrame, bytes);
}

absl::StatusOr<RunLogEnds> RunLog::Sync() {
  RunLogEnds ends;
  ends.updates_left_out = updates_left_out_;
  CONSILIUM_ASSIGN_OR_RETURN(ends.log_bytes, log_.Sync());
  CONSILIUM_ASSIGN_OR_RETURN(ends.updates_bytes, updates_.Sync());
  return ends;
}

absl::Status RunLog::Read(const Reader& reader) {
  CONSILIUM_ASSIGN_OR_RETURN(const RunLogEnds ends, Sync());
  CONSILIUM_ASSIGN_OR_RETURN(
      FrameReader log, FrameReader::Open(options_.log_path, ends.log_bytes, kOutcomeBytesMax));
  while (true) {
    CONSILIUM_ASSIGN_OR_RETURN(const std::optional<Frame> frame, log.Next());
    if (!frame.has_value()) break;
    if (frame->kind != kInputFrame) continue;
    v1::JournalEntry entry;
    if (!entry.ParseFromString(frame->bytes)) {
      return absl::DataLossError("an input in the simulation's log is not one");
    }
    CONSILIUM_RETURN_IF_ERROR(reader.on_input(entry));
  }
  CONSILIUM_ASSIGN_OR_RETURN(FrameReader updates,
                             FrameReader::Open(options_.updates_path, ends.updates_bytes));
  while (true) {
    CONSILIUM_ASSIGN_OR_RETURN(const std::optional<Frame> frame, updates.Next());
    if (!frame.has_value()) return absl::OkStatus();
    const absl::string_view bytes = frame->bytes;
    const auto id = DigestFromBytes(bytes.substr(0, kDigestBytes));
    if (!id.has_value()) return absl::DataLossError("an update in the simulation's log has no id");
    CONSILIUM_RETURN_IF_ERROR(reader.on_update(*id, bytes.substr(kDigestBytes)));
  }
}

}  // namespace consilium
