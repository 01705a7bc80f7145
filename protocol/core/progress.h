// A line of progress on stderr: redrawn in place on a terminal, silent otherwise.
//
// Threads: one.

#ifndef CONSILIUM_PROTOCOL_CORE_PROGRESS_H_
#define CONSILIUM_PROTOCOL_CORE_PROGRESS_H_

#include <cstddef>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace consilium {

// What a line of progress says.
struct ProgressLine {
  std::string what;           // Cut where the line is narrow, then left out.
  double part = 0;            // Done, from 0 to 1.
  std::string detail;         // Whole in every line that has room for it.
  absl::Duration wall_clock;  // Since the beginning; what is left is guessed by it.
};

// In less than `columns` columns, so that it stays one line:
// "WHAT [====    ]  50% DETAIL wall 12s left 12s". Room goes to what is said first, then to WHAT
// and the bar. `detail` is ASCII.
std::string TextOf(const ProgressLine& line, size_t columns);

// "850ms", "4.2s", "85s", "14m", "3.5h", "12d": at most five characters up to 9999 days.
std::string ShortDuration(absl::Duration duration);

class Progress {
 public:
  explicit Progress(absl::string_view what);
  ~Progress();  // Ends the line.

  // `detail` is shown after the bar. At most ten times a second, and whatever is all of it.
  void Show(double done, double of, absl::string_view detail);

 private:
  const std::string what_;
  const bool terminal_;
  const absl::Time started_;
  absl::Time shown_;
};

}  // namespace consilium

#endif  // CONSILIUM_PROTOCOL_CORE_PROGRESS_H_
