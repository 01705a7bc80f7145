#include "sim/datasets/drawn_sequences.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "protocol/wire/hash.h"
#include "sim/datasets/manifests.h"
#include "sim/datasets/motif.h"
#include "sim/datasets/unpack.h"
#include "site_agent/ingest/array_files.h"
#include "tests/fakes/status_matchers.h"
#include "tests/fakes/temp_folder.h"
#include "tests/sim/datasets/small_manifest.h"
#include "tests/sim/datasets/tal1_motif.h"

namespace consilium {
namespace {

using absl::StatusCode;
using Counts = std::array<double, 4>;

constexpr char kName[] = "TAL1_known5";

TEST(MotifTest, IsReadOutOfAFileOfThem) {
  const auto motif = ParseMotif(absl::StrCat(">other x\nN .25 .25 .25 .25\n\n", kTal1Motif), kName);
  ASSERT_THAT(motif, IsOk());
  ASSERT_EQ(motif->size(), 12u);
  EXPECT_EQ(motif->front(), (BaseShares{0.295455, 0.318182, 0.181818, 0.204545}));
  EXPECT_EQ(motif->back(), (BaseShares{0.090909, 0.090909, 0.045455, 0.772727}));
  EXPECT_THAT(ParseMotif(absl::StrReplaceAll(kTal1Motif, {{"\n", "\r\n"}}), kName), IsOk());
  EXPECT_THAT(ParseMotif(kTal1Motif, "TAL1_known"), IsError(StatusCode::kNotFound, "TAL1_known"));
}

TEST(MotifTest, NamesTheLineThatIsDamaged) {
  const auto refuses = [](const std::string& text, StatusCode code, const char* words) {
    EXPECT_THAT(ParseMotif(text, kName), IsError(code, words)) << text.substr(0, 300);
  };
  const auto damaged = [&](const char* from, const char* to, const char* words) {
    refuses(absl::StrReplaceAll(kTal1Motif, {{from, to}}), StatusCode::kDataLoss, words);
  };
  damaged("N 0.295455", "N", "line 2: a base is a letter");
  damaged("N 0.295455", "N 0.295455 0", "line 2: a base is a letter");
  damaged("N 0.295455", "X 0.295455", "line 2: a base is a letter");
  damaged("N 0.295455", "NN 0.295455", "line 2: a base is a letter");
  damaged("0.886364", "0.876364", "line 4: the probabilities do not sum");
  damaged("0.886364", "-0.886364", "line 4: a probability");
  damaged("0.886364", "nan", "line 4: a probability");
  damaged("0.886364", "1.5", "line 4: a probability");
  damaged("0.886364", "x", "line 4: a probability");
  refuses("A 1 0 0 0\n", StatusCode::kDataLoss, "line 1: a motif begins with >NAME");
  refuses(">\nA 1 0 0 0\n", StatusCode::kDataLoss, "line 1: a motif without a name");
  refuses(">a\n>b\nA 1 0 0 0\n", StatusCode::kDataLoss, "line 2: a motif without bases");
  refuses(">a\n", StatusCode::kDataLoss, "a motif without bases");
  refuses(absl::StrCat(kTal1Motif, kTal1Motif), StatusCode::kDataLoss, "line 14: a motif is there");
  refuses("", StatusCode::kNotFound, kName);
  std::string many = absl::StrCat(">", kName, "\n");
  for (size_t i = 0; i <= kMotifBasesMax; ++i) absl::StrAppend(&many, "A 1 0 0 0\n");
  refuses(many, StatusCode::kResourceExhausted, "line 258: a motif of more than 256");
  refuses(std::string(kMotifFileBytesMax + 1, '\n'), StatusCode::kResourceExhausted, "bytes");
}

class DrawnSequencesTest : public testing::Test {
 protected:
  void SetUp() override {
    Write(folder_.File("tal1_encode_motifs.txt"), kTal1Motif);
    motif_ = *ParseMotif(kTal1Motif, kName);
    drawn_ = FindFile(manifest_, "bases.idx")->drawn_sequences();
  }

  absl::Status MakeOf(const v1::DrawnSequences& drawn, uint64_t bytes) const {
    return MakeDrawnSequences(folder_.path(), drawn, bytes).status();
  }

  TempFolder folder_;
  const v1::DatasetManifest& manifest_ = **FindManifest("dna-tal1");
  Motif motif_;
  v1::DrawnSequences drawn_;
};

// Σ (observed − expected)²/expected, and how many numbers may vary.
struct ChiSquare {
  double sum = 0;
  double freedom = 0;

  void Add(const Counts& counts, const BaseShares& shares) {
    double n = 0;
    for (const double count : counts) n += count;
    freedom -= 1;
    for (size_t base = 0; base < 4; ++base) {
      if (shares[base] == 0) {
        EXPECT_EQ(counts[base], 0) << "a base that the matrix has not";
        continue;
      }
      const double expected = n * shares[base];
      sum += (counts[base] - expected) * (counts[base] - expected) / expected;
      freedom += 1;
    }
  }

  // About 1 of 30,000 is beyond 4 deviations of what is nearly normal.
  void ExpectPlausible() const {
    EXPECT_LT(sum, freedom + 4 * std::sqrt(2 * freedom));
    EXPECT_GT(sum, freedom - 4 * std::sqrt(2 * freedom));
  }
};

TEST_F(DrawnSequencesTest, HaveTheMotifWhereTheySayAndItsMatrixThere) {
  std::vector<Counts> at(motif_.size());
  Counts background = {};
  std::array<double, 10> places = {};
  double bound = 0;
  double reversed = 0;
  for (uint32_t i = 0; i < drawn_.sequences(); ++i) {
    const DnaSequence sequence = DrawSequence(drawn_, motif_, i);
    ASSERT_EQ(sequence.bases.size(), 500u);
    if (!sequence.bound) {
      for (const uint8_t base : sequence.bases) background[base] += 1;
      continue;
    }
    bound += 1;
    reversed += sequence.reversed ? 1 : 0;
    ASSERT_LE(sequence.place, 488u);
    places[sequence.place * places.size() / 489] += 1;
    for (size_t m = 0; m < motif_.size(); ++m) {
      const size_t from = sequence.reversed ? motif_.size() - 1 - m : m;
      const uint8_t base = sequence.bases[sequence.place + from];
      at[m][sequence.reversed ? 3u - base : base] += 1;
    }
  }
  ChiSquare motif;
  for (size_t m = 0; m < motif_.size(); ++m) motif.Add(at[m], motif_[m]);
  motif.ExpectPlausible();
  ChiSquare of_background;
  of_background.Add(background, {.3, .2, .2, .3});
  EXPECT_LT(of_background.sum, 21.1) << "beyond 1 of 10,000 with 3 degrees of freedom";
  // √n/2 is a deviation of a fair coin's.
  EXPECT_NEAR(bound, 8000, 4 * 63.2);
  EXPECT_NEAR(reversed, bound / 2, 4 * 44.7);
  double of_places = 0;
  for (const double count : places) {
    of_places += (count - bound / 10) * (count - bound / 10) / (bound / 10);
  }
  EXPECT_LT(of_places, 33.7) << "beyond 1 of 10,000 with 9 degrees of freedom";
}

// Decimals are cut off, so a row may sum to a little less; what is left goes to no base that can
// not be.
TEST_F(DrawnSequencesTest, HaveNoBaseThatTheMatrixHasNot) {
  const Motif motif(kMotifBasesMax, BaseShares{0.99995, 0, 0, 0});
  for (uint32_t i = 0; i < 3000; ++i) {
    const DnaSequence sequence = DrawSequence(drawn_, motif, i);
    for (size_t m = 0; sequence.bound && m < motif.size(); ++m) {
      ASSERT_EQ(sequence.bases[sequence.place + m], sequence.reversed ? 3 : 0);
    }
  }
}

// Those that NumPy draws (fixtures/drawn_sequences.py), which the manifest has.
TEST_F(DrawnSequencesTest, AreTheSameBytesEverywhere) {
  for (const char* path : {"bases.idx", "bound.idx"}) {
    const v1::DatasetFile& file = *FindFile(manifest_, path);
    const auto content = MakeFile(folder_.path(), file);
    ASSERT_THAT(content, IsOk());
    EXPECT_EQ(ToHex(Sha256Of(*content)), file.sha256()) << path;
  }
}

TEST_F(DrawnSequencesTest, AreOneHotArraysOfWhatIsDrawn) {
  drawn_.set_sequences(20);
  const auto content = MakeDrawnSequences(folder_.path(), drawn_, 16 + 20 * 4 * 500);
  ASSERT_THAT(content, IsOk());
  Write(folder_.File("made.idx"), *content);
  const auto format = IdxFormat(folder_.File("made.idx"));
  ASSERT_THAT(format, IsOk());
  const auto array = ReadIdxFile(folder_.File("made.idx"), *format);
  ASSERT_THAT(array, IsOk());
  EXPECT_EQ(array->row_shape(), (std::vector<uint64_t>{4, 500}));
  for (uint32_t i = 0; i < 20; ++i) {
    const DnaSequence sequence = DrawSequence(drawn_, motif_, i);
    for (size_t item = 0; item < 2000; ++item) {
      ASSERT_EQ(array->Number(i * 2000 + item), sequence.bases[item % 500] == item / 500 ? 1 : 0);
    }
  }
  drawn_.set_seed(2);
  EXPECT_NE(*MakeDrawnSequences(folder_.path(), drawn_, content->size()), *content);
}

TEST_F(DrawnSequencesTest, AreRefusedBeforeTheyCostMemory) {
  const auto refuses = [&](StatusCode code, const char* words, const auto& change) {
    v1::DrawnSequences drawn = drawn_;
    drawn.set_sequences(10);
    change(drawn);
    EXPECT_THAT(MakeOf(drawn, 16 + 10 * 2000), IsError(code, words));
  };
  constexpr StatusCode kInvalid = StatusCode::kInvalidArgument;
  constexpr StatusCode kDamaged = StatusCode::kDataLoss;
  refuses(kInvalid, "sequences", [](auto& d) { d.clear_sequences(); });
  refuses(kInvalid, "bases", [](auto& d) { d.clear_bases(); });
  refuses(kInvalid, "bases", [](auto& d) { d.set_bases(kSequenceBasesMax + 1); });
  refuses(kInvalid, "gc_share", [](auto& d) { d.set_gc_share(1.1); });
  refuses(kInvalid, "gc_share", [](auto& d) { d.set_gc_share(std::nan("")); });
  refuses(kInvalid, "content", [](auto& d) { d.clear_content(); });
  refuses(kInvalid, "longer than a sequence of 11", [](auto& d) { d.set_bases(11); });
  refuses(kDamaged, "not 20016", [](auto& d) { d.set_sequences(4'000'000'000); });
  refuses(kDamaged, "18 bytes", [](auto& d) { d.set_content(v1::DrawnSequences::BOUND); });
  refuses(StatusCode::kNotFound, "motifs.txt: there is no motif",
          [](auto& d) { d.set_motif("none"); });
  refuses(StatusCode::kNotFound, "missing", [](auto& d) { d.set_motifs("missing"); });
  Write(folder_.File("tal1_encode_motifs.txt"), "damaged");
  refuses(kDamaged, "tal1_encode_motifs.txt: line 1", [](auto&) {});
}

}  // namespace
}  // namespace consilium
