// What a search knows, in a file that only grows: one JSON object a line, each synced before the
// search goes on, the first one telling which search it is. A line that a crash left half written
// is dropped; the trials that were under way are lost.
//
// Threads: one call at a time. A second process on the same file is refused.

#ifndef CONSILIUM_SIM_SEARCH_TRIALS_LOG_H_
#define CONSILIUM_SIM_SEARCH_TRIALS_LOG_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "consilium/v1/search_space.pb.h"
#include "sim/search/trial.h"

namespace consilium {

class TrialsLog {
 public:
  // What has to be the same for a search to go on, each part with its digest: {"space": "3fa…"}.
  using Identity = std::map<std::string, std::string>;

  // Makes the file where there is none. FAILED_PRECONDITION: another search's, naming in what; or
  // in use by another process. DATA_LOSS: a line within it is damaged, by its number.
  static absl::StatusOr<std::unique_ptr<TrialsLog>> Open(const std::string& path,
                                                         const v1::SearchSpace& space,
                                                         const Identity& identity);
  ~TrialsLog();
  TrialsLog(const TrialsLog&) = delete;
  TrialsLog& operator=(const TrialsLog&) = delete;

  // Those that were there, in the order in which they were known.
  std::vector<Trial> TakeTrials() { return std::move(trials_); }

  // Durable when it returns OK; else as if it had not been called.
  absl::Status Append(const Trial& trial);

 private:
  TrialsLog(std::string path, int file) : path_(std::move(path)), file_(file) {}
  absl::Status Read(const v1::SearchSpace& space, const Identity& identity);
  absl::Status WriteLine(const std::string& json);

  const std::string path_;
  const int file_;
  uint64_t size_bytes_ = 0;  // Of whole lines.
  std::vector<Trial> trials_;
};

}  // namespace consilium

#endif  // CONSILIUM_SIM_SEARCH_TRIALS_LOG_H_
