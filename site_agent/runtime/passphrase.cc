#include "site_agent/runtime/passphrase.h"

#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "privacy/at_rest/key_file.h"
#include "protocol/core/files.h"
#include "protocol/core/status_macros.h"

namespace consilium::site {
namespace {

// One byte more than the longest, and the line's end.
constexpr size_t kLineBytesMax = kPassphraseBytesMax + 2;

// A terminal shows nothing of what is typed while it lives.
class SilentTerminal {
 public:
  SilentTerminal() : silent_(isatty(STDIN_FILENO) == 1 && tcgetattr(STDIN_FILENO, &before_) == 0) {
    if (!silent_) return;
    termios quiet = before_;
    quiet.c_lflag &= ~static_cast<tcflag_t>(ECHO);
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet);
    fputs("Passphrase: ", stderr);
  }
  ~SilentTerminal() {
    if (!silent_) return;
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &before_);
    fputs("\n", stderr);
  }
  SilentTerminal(const SilentTerminal&) = delete;
  SilentTerminal& operator=(const SilentTerminal&) = delete;

 private:
  termios before_ = {};
  const bool silent_;
};

absl::StatusOr<std::string> ReadLine(const std::string& file) {
  if (file != "-") {
    CONSILIUM_RETURN_IF_ERROR(CheckPrivate(file));
    return ReadFile(file, kLineBytesMax);
  }
  const SilentTerminal silence;
  std::string line;
  line.reserve(kLineBytesMax);  // No copy of it stays behind in a buffer that was too small.
  char byte = 0;
  while (line.size() < kLineBytesMax && read(STDIN_FILENO, &byte, 1) == 1 && byte != '\n') {
    line.push_back(byte);
  }
  return line;
}

}  // namespace

absl::StatusOr<std::optional<SecretBytes>> ReadPassphrase(const std::string& file) {
  if (file.empty()) return std::nullopt;
  CONSILIUM_ASSIGN_OR_RETURN(std::string text, ReadLine(file));
  const absl::Cleanup wiper = [&text] { explicit_bzero(text.data(), text.size()); };
  const size_t length = std::min(text.find_first_of("\r\n"), text.size());
  if (length == 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("there is no passphrase in ", file == "-" ? "standard input" : file));
  }
  const auto* bytes = reinterpret_cast<const uint8_t*>(text.data());
  return std::optional<SecretBytes>(SecretBytes(std::span<const uint8_t>(bytes, length)));
}

}  // namespace consilium::site
