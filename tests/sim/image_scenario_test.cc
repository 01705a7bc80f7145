// The committed image scenario over few versions, on images that are made here: it needs no data
// set, and tells whether images, convolutions and a hundred sites go together.

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "absl/strings/str_cat.h"
#include "protocol/core/files.h"
#include "protocol/wire/derived_seed.h"
#include "protocol/wire/limits.h"
#include "sim/commands/run_command.h"
#include "tests/fakes/status_matchers.h"
#include "tests/fakes/temp_folder.h"

namespace consilium {
namespace {

constexpr int kSide = 28;
const char kScenario[] = CONSILIUM_SOURCE_DIR "/sim/scenarios/fashion-mnist-hundred-sites";

std::string BigEndian(uint32_t value) {
  std::string out;
  for (int shift = 24; shift >= 0; shift -= 8) out.push_back(static_cast<char>(value >> shift));
  return out;
}

// A kind of image is two bright rows, in noise.
void WriteImages(const TempFolder& folder, const std::string& part, uint32_t count) {
  RandomStream random(SeedPath{5, "image_scenario_test", part, 0});
  std::string images = absl::StrCat(std::string("\0\0\x08\x03", 4), BigEndian(count),
                                    BigEndian(kSide), BigEndian(kSide));
  std::string labels = absl::StrCat(std::string("\0\0\x08\x01", 4), BigEndian(count));
  for (uint32_t i = 0; i < count; ++i) {
    const int kind = static_cast<int>(i % 10);
    labels.push_back(static_cast<char>(kind));
    for (int y = 0; y < kSide; ++y) {
      const bool bright = y == 2 * kind + 3 || y == 2 * kind + 4;
      for (int x = 0; x < kSide; ++x) {
        images.push_back(static_cast<char>((bright ? 150 : 0) + random.NextBelow(100)));
      }
    }
  }
  std::ofstream(folder.File(part + "-images-idx3-ubyte.gz"), std::ios::binary) << images;
  std::ofstream(folder.File(part + "-labels-idx1-ubyte.gz"), std::ios::binary) << labels;
}

TEST(ImageScenarioTest, AHundredSitesLearnImages) {
  const TempFolder folder;
  WriteImages(folder, "train", 3000);
  WriteImages(folder, "t10k", 1000);
  RunCommand command;
  command.run_file = absl::StrCat(kScenario, "/run.textproto");
  command.scenario_file = absl::StrCat(kScenario, "/scenario.textproto");
  command.data_folder = folder.path();
  // These images are not those of the data set's name.
  command.overrides = {"stop.versions_max=20", "data.split.validation=0.1",
                       "scenario.dataset.name=\"\""};
  command.baselines = RunCommand::Baselines::kLeaveOut;
  command.out = folder.File("out");
  ASSERT_THAT(Execute(command), IsOk());
  const auto text = ReadFile(folder.File("out/summary.json"), limits::kTextFileBytesMax);
  ASSERT_THAT(text, IsOk());
  const auto summary = nlohmann::json::parse(*text);
  EXPECT_EQ(summary.at("versions"), 20);
  EXPECT_EQ(summary.at("updates"), 200);
  // By chance 90 of 100 are wrong.
  EXPECT_LT(summary.at("federated").at("errors_per_100"), 60) << summary.at("federated");
}

}  // namespace
}  // namespace consilium
