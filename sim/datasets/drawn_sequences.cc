#include "sim/datasets/drawn_sequences.h"

#include <filesystem>

#include "absl/strings/str_cat.h"
#include "protocol/core/files.h"
#include "protocol/core/status_macros.h"
#include "protocol/wire/derived_seed.h"
#include "sim/datasets/idx_writer.h"

namespace consilium {
namespace {

constexpr size_t kBases = 4;

// The first base at which the sum of shares is above u; the last possible one where they sum to a
// little less than 1.
uint8_t DrawBase(const BaseShares& shares, RandomStream& random) {
  const double u = random.NextUnit();
  double sum = 0;
  uint8_t last = 0;
  for (uint8_t base = 0; base < kBases; ++base) {
    if (shares[base] <= 0) continue;
    sum += shares[base];
    last = base;
    if (u < sum) return base;
  }
  return last;
}

RandomStream StreamOf(const v1::DrawnSequences& drawn, uint32_t index) {
  return RandomStream(SeedPath{drawn.seed(), "dna", "", index});
}

bool DrawBound(RandomStream& random) { return random.NextBelow(2) == 1; }

absl::Status Check(const v1::DrawnSequences& drawn) {
  const auto refuse = [](absl::string_view what) {
    return absl::InvalidArgumentError(absl::StrCat("drawn_sequences.", what));
  };
  if (drawn.sequences() == 0) return refuse("sequences must be given");
  if (drawn.bases() == 0 || drawn.bases() > kSequenceBasesMax) {
    return refuse(absl::StrCat("bases must be 1 to ", kSequenceBasesMax));
  }
  if (!(drawn.gc_share() >= 0 && drawn.gc_share() <= 1)) return refuse("gc_share is 0 to 1");
  if (drawn.content() != v1::DrawnSequences::ONE_HOT &&
      drawn.content() != v1::DrawnSequences::BOUND) {
    return refuse("content must be given");
  }
  return absl::OkStatus();
}

absl::StatusOr<Motif> ReadMotif(const std::string& folder, const v1::DrawnSequences& drawn) {
  const std::string path = (std::filesystem::path(folder) / drawn.motifs()).string();
  CONSILIUM_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kMotifFileBytesMax));
  absl::StatusOr<Motif> motif = ParseMotif(text, drawn.motif());
  if (motif.ok() && motif->size() <= drawn.bases()) return motif;
  if (motif.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": the motif is longer than a sequence of ", drawn.bases(), " bases"));
  }
  return absl::Status(motif.status().code(), absl::StrCat(path, ": ", motif.status().message()));
}

std::string OneHot(const v1::DrawnSequences& drawn, const Motif& motif) {
  const uint32_t shape[] = {drawn.sequences(), kBases, drawn.bases()};
  std::string file = IdxHeader(IdxType::kUnsignedByte, shape);
  const size_t row_bytes = kBases * drawn.bases();
  size_t row = file.size();
  file.resize(file.size() + row_bytes * drawn.sequences());
  for (uint32_t i = 0; i < drawn.sequences(); ++i, row += row_bytes) {
    const DnaSequence sequence = DrawSequence(drawn, motif, i);
    for (size_t at = 0; at < sequence.bases.size(); ++at) {
      file[row + sequence.bases[at] * drawn.bases() + at] = 1;
    }
  }
  return file;
}

std::string Bound(const v1::DrawnSequences& drawn) {
  std::vector<uint8_t> bound(drawn.sequences());
  for (uint32_t i = 0; i < drawn.sequences(); ++i) {
    RandomStream random = StreamOf(drawn, i);
    bound[i] = DrawBound(random) ? 1 : 0;
  }
  return IdxOfBytes(bound);
}

}  // namespace

DnaSequence DrawSequence(const v1::DrawnSequences& drawn, const Motif& motif, uint32_t index) {
  RandomStream random = StreamOf(drawn, index);
  DnaSequence sequence;
  sequence.bound = DrawBound(random);
  const double gc = drawn.gc_share() / 2;
  const double at = (1 - drawn.gc_share()) / 2;
  const BaseShares background = {at, gc, gc, at};
  sequence.bases.resize(drawn.bases());
  for (uint8_t& base : sequence.bases) base = DrawBase(background, random);
  if (!sequence.bound) return sequence;
  sequence.place = random.NextBelow(drawn.bases() - motif.size() + 1);
  sequence.reversed = random.NextBelow(2) == 1;
  for (size_t i = 0; i < motif.size(); ++i) {
    const uint8_t base = DrawBase(motif[i], random);
    // Of A, C, G, T the complement of base b is 3 − b.
    sequence.bases[sequence.place + (sequence.reversed ? motif.size() - 1 - i : i)] =
        sequence.reversed ? static_cast<uint8_t>(kBases - 1 - base) : base;
  }
  return sequence;
}

absl::StatusOr<std::string> MakeDrawnSequences(const std::string& folder,
                                               const v1::DrawnSequences& drawn, uint64_t bytes) {
  CONSILIUM_RETURN_IF_ERROR(Check(drawn));
  CONSILIUM_ASSIGN_OR_RETURN(const Motif motif, ReadMotif(folder, drawn));
  const bool one_hot = drawn.content() == v1::DrawnSequences::ONE_HOT;
  // A header of rank 3, or of rank 1. Far below 64 bits, by the limits of Check().
  const uint64_t needed = one_hot ? 16 + uint64_t{kBases} * drawn.bases() * drawn.sequences()
                                  : uint64_t{8} + drawn.sequences();
  if (needed != bytes) {
    return absl::DataLossError(absl::StrCat("the array has ", needed, " bytes, not ", bytes));
  }
  return one_hot ? OneHot(drawn, motif) : Bound(drawn);
}

}  // namespace consilium
