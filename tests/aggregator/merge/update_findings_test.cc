#include "aggregator/merge/update_findings.h"

#include <cmath>
#include <limits>
#include <vector>

#include "gtest/gtest.h"
#include "protocol/wire/derived_seed.h"

namespace consilium {
namespace {

RandomStream Random(uint64_t seed) {
  return RandomStream(SeedPath{.run_seed = seed, .purpose = "test", .site = "", .task = 0});
}

std::vector<float> Normals(size_t count) {
  RandomStream random = Random(5);
  std::vector<float> values(count);
  for (float& value : values) value = static_cast<float>(random.NextNormal());
  return values;
}

TEST(UpdateFindings, NormAgreesWithAnIndependentSum) {
  const std::vector<float> values = Normals(100003);
  long double sum = 0;
  for (float value : values) sum += static_cast<long double>(value) * value;
  UpdateFindings findings;
  findings.Add(values);
  EXPECT_TRUE(findings.finite());
  EXPECT_EQ(findings.elements(), values.size());
  EXPECT_NEAR(findings.norm(), static_cast<double>(std::sqrt(sum)), 1e-11 * findings.norm());
}

TEST(UpdateFindings, HowTheStreamIsCutChangesNoBit) {
  const std::vector<float> values = Normals(9973);
  UpdateFindings whole;
  whole.Add(values);
  RandomStream random = Random(6);
  for (int repetition = 0; repetition < 50; ++repetition) {
    UpdateFindings cut;
    std::span<const float> rest(values);
    while (!rest.empty()) {
      const size_t n = std::min<size_t>(rest.size(), random.NextBelow(70));
      cut.Add(rest.first(n));
      rest = rest.subspan(n);
    }
    ASSERT_EQ(cut.norm(), whole.norm());
  }
}

TEST(UpdateFindings, OneValueThatIsNotFiniteIsFoundAnywhere) {
  std::vector<float> values(1000, 1.0F);
  for (float poison :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
        -std::numeric_limits<float>::infinity()}) {
    for (size_t place : {0, 15, 16, 500, 999}) {
      std::vector<float> poisoned = values;
      poisoned[place] = poison;
      UpdateFindings findings;
      findings.Add(poisoned);
      EXPECT_FALSE(findings.finite()) << poison << " at " << place;
    }
  }
}

TEST(UpdateFindings, TheLargestFiniteValuesAreFinite) {
  UpdateFindings findings;
  findings.Add(std::vector<float>(100000, std::numeric_limits<float>::max()));
  EXPECT_TRUE(findings.finite());
}

}  // namespace
}  // namespace consilium
