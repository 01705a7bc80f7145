#include "sim/datasets/motif.h"

#include <cmath>
#include <set>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "protocol/core/status_macros.h"

namespace consilium {
namespace {

constexpr absl::string_view kLetters = "ACGTRYSWKMBDHVN";
// What six decimals leave of a sum of four.
constexpr double kSumTolerance = 1e-4;

std::vector<absl::string_view> WordsOf(absl::string_view line) {
  return absl::StrSplit(line, absl::ByAnyChar(" \t\r"), absl::SkipEmpty());
}

absl::StatusOr<BaseShares> ParseRow(absl::string_view line) {
  const std::vector<absl::string_view> words = WordsOf(line);
  if (words.size() != 5 || words[0].size() != 1 ||
      kLetters.find(words[0][0]) == absl::string_view::npos) {
    return absl::DataLossError("a base is a letter and four probabilities");
  }
  BaseShares shares;
  double sum = 0;
  for (size_t base = 0; base < shares.size(); ++base) {
    if (!absl::SimpleAtod(words[base + 1], &shares[base]) ||
        !(shares[base] >= 0 && shares[base] <= 1)) {
      return absl::DataLossError("a probability is no number from 0 to 1");
    }
    sum += shares[base];
  }
  if (std::abs(sum - 1) > kSumTolerance) {
    return absl::DataLossError("the probabilities do not sum to 1");
  }
  return shares;
}

// Reads line by line, and keeps the motif of one name.
class MotifReader {
 public:
  explicit MotifReader(absl::string_view wanted) : wanted_(wanted) {}

  absl::Status Take(absl::string_view line) {
    if (absl::ConsumePrefix(&line, ">")) return Begin(line);
    if (names_.empty()) return absl::DataLossError("a motif begins with >NAME");
    if (++rows_ > kMotifBasesMax) {
      return absl::ResourceExhaustedError(
          absl::StrCat("a motif of more than ", kMotifBasesMax, " bases"));
    }
    CONSILIUM_ASSIGN_OR_RETURN(const BaseShares row, ParseRow(line));
    if (is_wanted_) motif_.push_back(row);
    return absl::OkStatus();
  }

  absl::Status End() const {
    if (names_.empty() || rows_ > 0) return absl::OkStatus();
    return absl::DataLossError("a motif without bases");
  }

  Motif TakeMotif() && { return std::move(motif_); }

 private:
  absl::Status Begin(absl::string_view line) {
    CONSILIUM_RETURN_IF_ERROR(End());
    const std::vector<absl::string_view> words = WordsOf(line);
    if (words.empty()) return absl::DataLossError("a motif without a name");
    if (!names_.emplace(words[0]).second) return absl::DataLossError("a motif is there twice");
    is_wanted_ = words[0] == wanted_;
    rows_ = 0;
    return absl::OkStatus();
  }

  absl::string_view wanted_;
  std::set<std::string> names_;
  bool is_wanted_ = false;
  size_t rows_ = 0;  // Of the motif that is being read.
  Motif motif_;
};

}  // namespace

absl::StatusOr<Motif> ParseMotif(absl::string_view text, absl::string_view name) {
  if (text.size() > kMotifFileBytesMax) {
    return absl::ResourceExhaustedError(
        absl::StrCat("motifs of more than ", kMotifFileBytesMax, " bytes"));
  }
  MotifReader reader(name);
  size_t number = 0;
  const auto at_line = [&number](const absl::Status& status) {
    return absl::Status(status.code(), absl::StrCat("line ", number, ": ", status.message()));
  };
  for (const absl::string_view line : absl::StrSplit(text, '\n')) {
    ++number;
    if (absl::StripAsciiWhitespace(line).empty()) continue;
    if (const absl::Status taken = reader.Take(line); !taken.ok()) return at_line(taken);
  }
  if (const absl::Status ended = reader.End(); !ended.ok()) return at_line(ended);
  Motif motif = std::move(reader).TakeMotif();
  if (motif.empty()) return absl::NotFoundError(absl::StrCat("there is no motif ", name));
  return motif;
}

}  // namespace consilium
