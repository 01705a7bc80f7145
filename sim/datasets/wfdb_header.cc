#include "sim/datasets/wfdb_header.h"

#include <cmath>
#include <limits>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "protocol/core/status_macros.h"

namespace consilium {
namespace {

// A line that says something, and where it stands.
struct Line {
  size_t number = 0;
  std::vector<absl::string_view> words;
};

// Positions of a signal's words in its line.
enum SignalWord { kFile, kFormat, kGain, kAdcBits, kAdcZero, kFirst, kChecksum, kBlock, kName };

absl::Status At(const Line& line, absl::StatusCode code, absl::string_view what) {
  return {code, absl::StrCat("line ", line.number, ": ", what)};
}

absl::Status Wrong(const Line& line, absl::string_view what) {
  return At(line, absl::StatusCode::kDataLoss, what);
}

absl::Status Unknown(const Line& line, absl::string_view what) {
  return At(line, absl::StatusCode::kUnimplemented, what);
}

// Without comments and blank lines. No more than the most that a header may have, and one.
std::vector<Line> LinesOf(absl::string_view text) {
  std::vector<Line> lines;
  size_t number = 0;
  for (const absl::string_view raw : absl::StrSplit(text, '\n')) {
    ++number;
    const absl::string_view stripped = absl::StripAsciiWhitespace(raw);
    if (stripped.empty() || stripped[0] == '#') continue;
    lines.push_back({number, absl::StrSplit(stripped, absl::ByAnyChar(" \t"), absl::SkipEmpty())});
    if (lines.size() > kWfdbSignalsMax + 1) break;
  }
  return lines;
}

absl::StatusOr<int64_t> Integer(const Line& line, absl::string_view word, absl::string_view what,
                                int64_t min, int64_t max) {
  int64_t value = 0;
  if (!absl::SimpleAtoi(word, &value) || value < min || value > max) {
    return Wrong(line, absl::StrCat(what, " is no whole number from ", min, " to ", max));
  }
  return value;
}

absl::StatusOr<double> Positive(const Line& line, absl::string_view word, absl::string_view what) {
  double value = 0;
  if (!absl::SimpleAtod(word, &value) || !std::isfinite(value) || value <= 0) {
    return Wrong(line, absl::StrCat(what, " is no number above 0"));
  }
  return value;
}

// NAME SIGNALS RATE[/…] SAMPLES …
absl::StatusOr<size_t> ParseRecordLine(const Line& line, absl::string_view record,
                                       WfdbHeader& header) {
  if (line.words.size() < 4) {
    return Wrong(line,
                 "a record has a name, and numbers of signals, of samples a second and of "
                 "samples");
  }
  if (absl::StrContains(line.words[0], '/')) return Unknown(line, "a record of several segments");
  if (line.words[0] != record) return Wrong(line, "it is another record's header");
  CONSILIUM_ASSIGN_OR_RETURN(const int64_t signals,
                             Integer(line, line.words[1], "the number of signals", 1,
                                     std::numeric_limits<int32_t>::max()));
  CONSILIUM_ASSIGN_OR_RETURN(const int64_t samples,
                             Integer(line, line.words[3], "the number of samples", 1,
                                     std::numeric_limits<int32_t>::max()));
  const absl::string_view rate = line.words[2].substr(0, line.words[2].find('/'));
  CONSILIUM_ASSIGN_OR_RETURN(header.samples_per_s, Positive(line, rate, "the sampling rate"));
  // Neither product is beyond 64 bits.
  if (static_cast<size_t>(signals) > kWfdbSignalsMax ||
      2 * static_cast<uint64_t>(samples) * static_cast<uint64_t>(signals) > kWfdbDataBytesMax) {
    return At(line, absl::StatusCode::kResourceExhausted,
              absl::StrCat("more than ", kWfdbSignalsMax, " signals, or ", kWfdbDataBytesMax,
                           " bytes of samples"));
  }
  header.samples = static_cast<size_t>(samples);
  return static_cast<size_t>(signals);
}

// GAIN[(BASELINE)][/UNITS]
absl::Status ParseGain(const Line& line, WfdbSignal& signal) {
  const std::vector<absl::string_view> parts =
      absl::StrSplit(line.words[kGain], absl::MaxSplits('/', 1));
  if (parts.size() == 2 && parts[1] != "mV") return Unknown(line, "units other than mV");
  absl::string_view gain = parts[0];
  absl::string_view baseline = line.words[kAdcZero];
  if (const size_t open = gain.find('('); open != absl::string_view::npos) {
    baseline = gain.substr(open + 1);
    if (!absl::ConsumeSuffix(&baseline, ")")) return Wrong(line, "the baseline is not closed");
    gain = gain.substr(0, open);
  }
  CONSILIUM_ASSIGN_OR_RETURN(signal.gain, Positive(line, gain, "the gain"));
  CONSILIUM_ASSIGN_OR_RETURN(const int64_t zero, Integer(line, baseline, "the baseline",
                                                         std::numeric_limits<int32_t>::min(),
                                                         std::numeric_limits<int32_t>::max()));
  signal.baseline = static_cast<int32_t>(zero);
  return absl::OkStatus();
}

// One that stays in its folder, whatever is put before it.
bool IsPlainName(absl::string_view name) {
  return !name.empty() && name != "." && name != ".." &&
         name.find_first_of(absl::string_view("/\\\0", 3)) == absl::string_view::npos;
}

absl::Status ParseSignalLine(const Line& line, WfdbHeader& header) {
  if (line.words.size() <= kChecksum) {
    return Wrong(line,
                 "a signal has a file, a format, a gain, three numbers of its converter, and "
                 "a checksum");
  }
  if (!IsPlainName(line.words[kFile])) return Wrong(line, "its file lies in another folder");
  if (header.signals.empty()) {
    header.data_file = std::string(line.words[kFile]);
  } else if (line.words[kFile] != header.data_file) {
    return Unknown(line, "a record of several files");
  }
  if (line.words[kFormat] != "16") return Unknown(line, "another format than 16");
  WfdbSignal& signal = header.signals.emplace_back();
  CONSILIUM_RETURN_IF_ERROR(ParseGain(line, signal));
  // Some write it with a sign, some without.
  CONSILIUM_ASSIGN_OR_RETURN(const int64_t checksum,
                             Integer(line, line.words[kChecksum], "the checksum", -32768, 65535));
  signal.checksum = static_cast<uint16_t>(checksum);
  if (line.words.size() > kName) {
    signal.name = absl::StrJoin(line.words.begin() + kName, line.words.end(), " ");
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<WfdbHeader> ParseWfdbHeader(absl::string_view text, absl::string_view record) {
  if (text.size() > kWfdbHeaderBytesMax) {
    return absl::ResourceExhaustedError(
        absl::StrCat("a header of more than ", kWfdbHeaderBytesMax, " bytes"));
  }
  const std::vector<Line> lines = LinesOf(text);
  if (lines.empty()) return absl::DataLossError("line 1: the header is empty");
  WfdbHeader header;
  CONSILIUM_ASSIGN_OR_RETURN(const size_t signals, ParseRecordLine(lines[0], record, header));
  if (lines.size() != signals + 1) {
    return Wrong(lines.back(), absl::StrCat("lines of ", lines.size() - 1,
                                            " signals, where there "
                                            "must be ",
                                            signals));
  }
  for (size_t i = 1; i < lines.size(); ++i) {
    CONSILIUM_RETURN_IF_ERROR(ParseSignalLine(lines[i], header));
  }
  return header;
}

}  // namespace consilium
