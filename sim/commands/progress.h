// A line of progress on stderr: redrawn in place on a terminal, silent otherwise.
//
// Threads: one.

#ifndef CONSILIUM_SIM_COMMANDS_PROGRESS_H_
#define CONSILIUM_SIM_COMMANDS_PROGRESS_H_

#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace consilium {

class Progress {
 public:
  explicit Progress(absl::string_view what);
  ~Progress();  // Ends the line.

  // `detail` is shown after the bar. At most ten times a second.
  void Show(double done, double of, absl::string_view detail);

 private:
  const std::string what_;
  const bool terminal_;
  const absl::Time started_;
  absl::Time shown_;
};

}  // namespace consilium

#endif  // CONSILIUM_SIM_COMMANDS_PROGRESS_H_
