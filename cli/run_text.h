// A run's report as people read it.
//
// Threads: any, one object each.

#ifndef CONSILIUM_CLI_RUN_TEXT_H_
#define CONSILIUM_CLI_RUN_TEXT_H_

#include <cstdint>
#include <string>

#include "consilium/v1/admin.pb.h"

namespace consilium {

std::string RunText(const v1::RunReport& report);
// One line, for watching.
std::string ProgressText(const v1::RunReport& report);

// "log-loss 0.070, AUROC 0.999 (n 86)": the scores that the run's loss has, over all sites that
// reported. "-" for a score that nobody could or would say, and where nobody has reported.
std::string ValidationText(const v1::RunReport& report, const v1::VersionReport& version);

// The versions of a run that is watched, a line each, in order and once.
class VersionLines {
 public:
  // From version `first` on.
  explicit VersionLines(uint64_t first) : next_(first) {}

  // Lines of the versions that are new in `report`: those whose scores every site has reported, and
  // those for which nobody waits any more.
  std::string Next(const v1::RunReport& report);

 private:
  uint64_t next_;
};

}  // namespace consilium

#endif  // CONSILIUM_CLI_RUN_TEXT_H_
