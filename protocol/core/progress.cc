#include "protocol/core/progress.h"

#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"

namespace consilium {
namespace {

constexpr size_t kColumnsDefault = 80;
constexpr size_t kBarCharsMax = 24;
constexpr size_t kBarCharsMin = 4;  // Less is no picture.
constexpr size_t kFrameChars = 3;   // Of the bar, with a blank behind it.
constexpr size_t kWhatCharsMin = 4;

size_t ColumnsOfTerminal() {
  winsize size = {};
  if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return kColumnsDefault;
  return size.ws_col;
}

std::string BarOf(double part, size_t chars) {
  const auto full = static_cast<size_t>(part * static_cast<double>(chars));
  return absl::StrCat("[", std::string(full, '='), std::string(chars - full, ' '), "] ");
}

}  // namespace

std::string ShortDuration(absl::Duration duration) {
  const double seconds = absl::ToDoubleSeconds(duration);
  if (seconds < 0.9995) return absl::StrFormat("%.0fms", 1000 * seconds);
  if (seconds < 9.95) return absl::StrFormat("%.1fs", seconds);
  if (seconds < 99.5) return absl::StrFormat("%.0fs", seconds);
  if (seconds < 99.5 * 60) return absl::StrFormat("%.0fm", seconds / 60);
  const double hours = seconds / 3600;
  if (hours < 9.95) return absl::StrFormat("%.1fh", hours);
  if (hours < 99.5) return absl::StrFormat("%.0fh", hours);
  return absl::StrFormat("%.0fd", hours / 24);
}

std::string TextOf(const ProgressLine& line, size_t columns) {
  const double part = std::clamp(line.part, 0.0, 1.0);
  const std::string left =
      part > 0 ? ShortDuration(line.wall_clock / part - line.wall_clock) : std::string("?");
  const std::string said = absl::StrFormat("%3.0f%% %s wall %s left %s", 100 * part, line.detail,
                                           ShortDuration(line.wall_clock), left);
  // The cursor stands behind the last character.
  const size_t room = columns > 0 ? columns - 1 : 0;
  if (said.size() >= room) return said.substr(0, room);
  const size_t free = room - said.size();
  const size_t bar_min = free >= kBarCharsMin + kFrameChars ? kBarCharsMin + kFrameChars : 0;
  std::string what;
  if (free - bar_min > kWhatCharsMin) what = line.what.substr(0, free - bar_min - 1) + " ";
  if (bar_min == 0) return what + said;
  const size_t chars = std::min(kBarCharsMax, free - what.size() - kFrameChars);
  return absl::StrCat(what, BarOf(part, chars), said);
}

Progress::Progress(absl::string_view what)
    : what_(what), terminal_(isatty(STDERR_FILENO) == 1), started_(absl::Now()) {}

Progress::~Progress() {
  if (terminal_ && shown_ != absl::Time()) fputs("\r\033[K", stderr);
}

void Progress::Show(double done, double of, absl::string_view detail) {
  const absl::Time now = absl::Now();
  if (!terminal_ || of <= 0 || (done < of && now - shown_ < absl::Milliseconds(100))) return;
  shown_ = now;
  const ProgressLine line = {what_, done / of, std::string(detail), now - started_};
  absl::FPrintF(stderr, "\r\033[K%s", TextOf(line, ColumnsOfTerminal()));
}

}  // namespace consilium
