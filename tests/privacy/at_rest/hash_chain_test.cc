#include "privacy/at_rest/hash_chain.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "privacy/at_rest/hex.h"
#include "tests/fakes/status_matchers.h"

namespace consilium {
namespace {

std::span<const uint8_t> Bytes(const std::string& text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

struct OwnedRow {
  Sequence sequence;
  std::string payload;
  Digest digest;
};

std::vector<OwnedRow> Chain(const std::vector<std::string>& payloads) {
  std::vector<OwnedRow> rows;
  ChainHead head;
  for (const std::string& payload : payloads) {
    head = Extend(head, Bytes(payload));
    rows.push_back({head.sequence, payload, head.digest});
  }
  return rows;
}

std::vector<std::string> ManyPayloads() {
  std::vector<std::string> payloads;
  payloads.reserve(20);
  for (int i = 0; i < 20; ++i) payloads.push_back("row " + std::to_string(i * i));
  return payloads;
}

ChainHead HeadOf(const OwnedRow& row) { return {row.sequence, row.digest}; }

struct Verdict {
  absl::Status status;
  uint64_t first_wrong;
};

Verdict Verify(const std::vector<OwnedRow>& rows, const std::vector<ChainHead>& known = {}) {
  ChainVerifier verifier({}, known);
  for (const OwnedRow& row : rows) {
    verifier.Check({row.sequence, Bytes(row.payload), row.digest}).IgnoreError();
  }
  absl::Status status = verifier.Finish();
  return {status, verifier.first_wrong().value_or(Sequence(0)).value()};
}

// python3 -c "
// import hashlib
// h=b'\0'*32
// for n,p in enumerate([b'first',b'',b'third row'],1):
//   h=hashlib.sha256(b'consilium.chain.v1'+h+n.to_bytes(8,'little')
//     +len(p).to_bytes(8,'little')+p).digest(); print(h.hex())"
TEST(HashChain, KnownAnswers) {
  const std::vector<OwnedRow> rows = Chain({"first", "", "third row"});
  EXPECT_EQ(Hex(rows[0].digest),
            "9f8f4305a4c695e25d84344acf33c73328f6d831e7cf3543ab83e1b0f4b698ed");
  EXPECT_EQ(Hex(rows[1].digest),
            "4bcfff4181c14c1d4ed67f4c5f83bba40eea3b3ad962b137427fb68c48644c60");
  EXPECT_EQ(Hex(rows[2].digest),
            "8ed3a49ea88e5075a04fd8ab6aa941a92ace7d39910a5d8a591ed5212fd07a91");
}

// FIPS 180-4, the example "abc".
TEST(HashChain, Sha256OfAbc) {
  EXPECT_EQ(Hex(DigestOf("abc")),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST(HashChain, WholeChainVerifies) {
  const std::vector<OwnedRow> rows = Chain(ManyPayloads());
  EXPECT_THAT(Verify(rows).status, IsOk());
  EXPECT_THAT(Verify(rows, {HeadOf(rows[4]), HeadOf(rows.back()), ChainHead{}}).status, IsOk());
  EXPECT_THAT(Verify({}).status, IsOk());
}

TEST(HashChain, AnyFlippedByteIsFoundAtItsRow) {
  const std::vector<OwnedRow> rows = Chain(ManyPayloads());
  for (size_t at = 0; at < rows.size(); ++at) {
    for (size_t byte = 0; byte < rows[at].payload.size(); ++byte) {
      std::vector<OwnedRow> bad = rows;
      bad[at].payload[byte] = static_cast<char>(bad[at].payload[byte] ^ 1);
      EXPECT_EQ(Verify(bad).first_wrong, at + 1);
    }
    for (size_t byte = 0; byte < rows[at].digest.size(); ++byte) {
      std::vector<OwnedRow> bad = rows;
      bad[at].digest[byte] ^= 0x80;
      EXPECT_EQ(Verify(bad).first_wrong, at + 1);
    }
  }
}

TEST(HashChain, DeletedRowIsNamed) {
  const std::vector<OwnedRow> rows = Chain(ManyPayloads());
  for (size_t at = 0; at + 1 < rows.size(); ++at) {
    std::vector<OwnedRow> bad = rows;
    bad.erase(bad.begin() + static_cast<ptrdiff_t>(at));
    EXPECT_EQ(Verify(bad).first_wrong, at + 1);
    // Closing the gap by renumbering is no better.
    for (size_t i = at; i < bad.size(); ++i) bad[i].sequence = Sequence(i + 1);
    EXPECT_EQ(Verify(bad).first_wrong, at + 1);
  }
}

TEST(HashChain, ReorderedRowsAreNamed) {
  const std::vector<OwnedRow> rows = Chain(ManyPayloads());
  for (size_t at = 0; at + 1 < rows.size(); ++at) {
    std::vector<OwnedRow> bad = rows;
    std::swap(bad[at], bad[at + 1]);
    EXPECT_EQ(Verify(bad).first_wrong, at + 1);
    std::swap(bad[at].sequence, bad[at + 1].sequence);
    EXPECT_EQ(Verify(bad).first_wrong, at + 1);
  }
}

TEST(HashChain, CutOffRowsShowAgainstAKnownHead) {
  const std::vector<OwnedRow> rows = Chain(ManyPayloads());
  const std::vector<OwnedRow> cut(rows.begin(), rows.begin() + 12);
  EXPECT_THAT(Verify(cut).status, IsOk());
  const Verdict verdict = Verify(cut, {HeadOf(rows.back())});
  EXPECT_THAT(verdict.status, IsError(absl::StatusCode::kDataLoss, "cut off"));
  EXPECT_EQ(verdict.first_wrong, 13u);
}

TEST(HashChain, ChainMadeAnewShowsAgainstAKnownHead) {
  const std::vector<OwnedRow> rows = Chain(ManyPayloads());
  std::vector<std::string> payloads = ManyPayloads();
  payloads[3] = "forged";
  const std::vector<OwnedRow> forged = Chain(payloads);
  EXPECT_THAT(Verify(forged).status, IsOk());
  EXPECT_EQ(Verify(forged, {HeadOf(rows[2])}).first_wrong, 0u);
  EXPECT_EQ(Verify(forged, {HeadOf(rows[9])}).first_wrong, 10u);
}

TEST(HashChain, ContradictingKnownHeadsFail) {
  const std::vector<OwnedRow> rows = Chain(ManyPayloads());
  ChainHead other = HeadOf(rows[5]);
  other.digest[0] ^= 1;
  EXPECT_EQ(Verify(rows, {HeadOf(rows[5]), other}).first_wrong, 6u);
}

TEST(HashChain, VerifiesFromTheMiddle) {
  const std::vector<OwnedRow> rows = Chain(ManyPayloads());
  ChainVerifier verifier(HeadOf(rows[9]), {HeadOf(rows[2]), HeadOf(rows[9])});
  for (size_t i = 10; i < rows.size(); ++i) {
    EXPECT_THAT(verifier.Check({rows[i].sequence, Bytes(rows[i].payload), rows[i].digest}), IsOk());
  }
  EXPECT_THAT(verifier.Finish(), IsOk());
  EXPECT_EQ(verifier.head(), HeadOf(rows.back()));
}

}  // namespace
}  // namespace consilium
