#include "sim/report/event_files.h"

#include "sim/report/event_records.h"

namespace consilium {

std::string EventFile(const RunSummary& run) {
  std::string file = BeginEventFile();
  for (const CurvePoint& point : run.curve) {
    const EventTime at = {point.seconds, point.version};
    if (point.validation_loss.has_value()) {
      AppendScalar(at, "validation/loss", *point.validation_loss, file);
    }
    if (point.score.has_value()) AppendScalar(at, "validation/score", *point.score, file);
    if (point.worst_score.has_value()) {
      AppendScalar(at, "validation/worst_site_score", *point.worst_score, file);
    }
    AppendScalar(at, "progress/updates", static_cast<double>(point.updates), file);
    AppendScalar(at, "progress/upload_bytes", static_cast<double>(point.upload_bytes), file);
  }
  return file;
}

}  // namespace consilium
