#include "models/spec/describe.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "protocol/wire/text_format.h"

namespace consilium {
namespace {

ModelDescription Described(const char* file, const std::map<std::string, int64_t>& parameters) {
  v1::ModelSpec spec;
  EXPECT_TRUE(
      ReadTextFormatFile(absl::StrCat(CONSILIUM_ZOO_FOLDER, "/", file, ".textproto"), spec).ok());
  const auto graph = BuildModelGraph(spec, parameters);
  EXPECT_TRUE(graph.ok()) << graph.status();
  return DescribeModel(*graph);
}

TEST(DescribeModel, CountsWhatAModelCosts) {
  const ModelDescription mlp = Described("mlp", {{"features", 30}, {"units", 100}});
  EXPECT_EQ(mlp.parameters, 30u * 100 + 100 + 100 * 50 + 50 + 50 + 1);
  EXPECT_EQ(mlp.multiply_adds, 30u * 100 + 100 * 50 + 50);
  EXPECT_EQ(mlp.payload_bytes, 4 * mlp.parameters);
  EXPECT_EQ(mlp.activation_bytes, 4u * (100 + 100 + 50 + 50 + 1));
  ASSERT_EQ(mlp.layers.size(), 5u);
  EXPECT_EQ(mlp.layers[0].kind, "linear");
  EXPECT_EQ(mlp.layers[0].parameters, 3100u);
  EXPECT_EQ(mlp.layers[1].kind, "relu");
  EXPECT_EQ(mlp.layers[1].inputs, std::vector<std::string>{"hidden1"});
  EXPECT_EQ(mlp.loss, "BCE_WITH_LOGITS");
}

TEST(DescribeModel, TextIsATable) {
  EXPECT_EQ(DescriptionText(Described("mlp", {{"features", 30}, {"units", 100}})),
            R"(mlp: input [30], loss BCE_WITH_LOGITS

layer    kind    reads    output  parameters  multiply-adds
hidden1  linear  input    [100]        3,100          3,000
relu1    relu    hidden1  [100]            0              0
hidden2  linear  relu1    [50]         5,050          5,000
relu2    relu    hidden2  [50]             0              0
logit    linear  relu2    [1]             51             50
all                                    8,201          8,050

one version or update: 32.0 KiB
outputs of one example in training: 1,204 bytes
layout: )" + Described("mlp", {{"features", 30}, {"units", 100}}).layout_hash +
                "\n");
}

TEST(DescribeModel, JsonHasEveryField) {
  const nlohmann::ordered_json json =
      DescriptionJson(Described("residual_mlp", {{"features", 13}, {"units", 4}}));
  EXPECT_EQ(json["name"], "residual_mlp");
  EXPECT_EQ(json["input_shape"].dump(), "[13]");
  EXPECT_EQ(json["layers"].size(), 16u);
  EXPECT_EQ(json["layers"][7]["kind"], "add");
  EXPECT_EQ(json["layers"][7]["inputs"].dump(), R"(["stem","narrow1"])");
  EXPECT_EQ(json["layers"][2]["kind"], "layer_norm");
  EXPECT_EQ(json["layers"][4]["kind"], "gelu");
  EXPECT_EQ(json["payload_bytes"], json["parameters"].get<uint64_t>() * 4);
  EXPECT_EQ(json["layout_hash"].get<std::string>().size(), 64u);
}

}  // namespace
}  // namespace consilium
