#include "sim/commands/progress.h"

#include <stdio.h>
#include <unistd.h>

#include <algorithm>

#include "absl/strings/str_format.h"
#include "absl/time/clock.h"

namespace consilium {
namespace {

constexpr int kBarChars = 24;

}  // namespace

Progress::Progress(absl::string_view what)
    : what_(what), terminal_(isatty(STDERR_FILENO) == 1), started_(absl::Now()) {}

Progress::~Progress() {
  if (terminal_ && shown_ != absl::Time()) fputs("\r\033[K", stderr);
}

void Progress::Show(double done, double of, absl::string_view detail) {
  const absl::Time now = absl::Now();
  if (!terminal_ || of <= 0 || now - shown_ < absl::Milliseconds(100)) return;
  shown_ = now;
  const double part = std::clamp(done / of, 0.0, 1.0);
  const int full = static_cast<int>(part * kBarChars);
  const double elapsed = absl::ToDoubleSeconds(now - started_);
  const double left = part > 0 ? elapsed / part - elapsed : 0;
  absl::FPrintF(stderr, "\r\033[K%s [%s%s] %3.0f %%  %s  about %.0f s left", what_,
                std::string(full, '='), std::string(kBarChars - full, ' '), 100 * part, detail,
                left);
}

}  // namespace consilium
