#include "models/spec/describe.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "models/spec/spec_defaults.h"
#include "protocol/wire/hash.h"

namespace consilium {
namespace {

std::string KindOf(const v1::Layer& layer) {
  if (layer.has_activation()) {
    return absl::AsciiStrToLower(v1::Activation::Function_Name(layer.activation().function()));
  }
  const auto* field = v1::Layer::descriptor()->FindFieldByNumber(layer.kind_case());
  return field == nullptr ? "" : field->name();
}

LayerDescription DescribeLayer(const ModelGraph& graph, const GraphLayer& layer) {
  LayerDescription out;
  out.name = layer.name;
  out.kind = KindOf(layer.spec);
  for (const int source : layer.inputs) {
    out.inputs.push_back(source < 0 ? std::string(kInputName) : graph.layers[source].name);
  }
  out.output_shape = layer.output_shape;
  for (const int tensor : layer.tensors) {
    out.parameters += graph.layout.tensors[tensor].elements();
  }
  out.multiply_adds = layer.multiply_adds;
  return out;
}

// "1,234,567".
std::string Grouped(uint64_t number) {
  const std::string digits = absl::StrCat(number);
  std::string out;
  for (size_t i = 0; i < digits.size(); ++i) {
    if (i > 0 && (digits.size() - i) % 3 == 0) out.push_back(',');
    out.push_back(digits[i]);
  }
  return out;
}

std::string Bytes(uint64_t bytes) {
  if (bytes < 10'240) return absl::StrCat(Grouped(bytes), " bytes");
  double value = static_cast<double>(bytes) / 1024;
  const char* unit = "KiB";
  for (const char* next : {"MiB", "GiB"}) {
    if (value < 1024) break;
    value /= 1024;
    unit = next;
  }
  return absl::StrFormat("%.1f %s", value, unit);
}

std::string Shape(const std::vector<int64_t>& shape) {
  return absl::StrCat("[", absl::StrJoin(shape, ", "), "]");
}

constexpr size_t kColumns = 6;
constexpr size_t kFirstNumber = 4;  // Columns from here on are set to the right.
using Row = std::array<std::string, kColumns>;

std::string Table(const std::vector<Row>& rows) {
  std::array<size_t, kColumns> widths = {};
  for (const Row& row : rows) {
    for (size_t c = 0; c < kColumns; ++c) widths[c] = std::max(widths[c], row[c].size());
  }
  std::string text;
  for (const Row& row : rows) {
    std::string line;
    for (size_t c = 0; c < kColumns; ++c) {
      const std::string blanks(widths[c] - row[c].size(), ' ');
      absl::StrAppend(&line, c == 0 ? "" : "  ", c >= kFirstNumber ? blanks : "", row[c],
                      c < kFirstNumber ? blanks : "");
    }
    absl::StrAppend(&text, line, "\n");
  }
  return text;
}

}  // namespace

ModelDescription DescribeModel(const ModelGraph& graph) {
  ModelDescription out;
  out.name = graph.name;
  out.input_shape = graph.input_shape;
  out.loss = v1::Loss::Kind_Name(graph.loss);
  for (const GraphLayer& layer : graph.layers) {
    out.layers.push_back(DescribeLayer(graph, layer));
    uint64_t elements = 1;
    for (const int64_t size : layer.output_shape) elements *= static_cast<uint64_t>(size);
    out.activation_bytes += elements * sizeof(float);
  }
  out.parameters = graph.layout.elements();
  out.multiply_adds = graph.multiply_adds();
  out.payload_bytes = graph.layout.payload_bytes();
  out.layout_hash = ToHex(graph.layout.Hash());
  return out;
}

std::string DescriptionText(const ModelDescription& description) {
  std::vector<Row> rows = {{"layer", "kind", "reads", "output", "parameters", "multiply-adds"}};
  for (const LayerDescription& layer : description.layers) {
    rows.push_back({layer.name, layer.kind, absl::StrJoin(layer.inputs, ", "),
                    Shape(layer.output_shape), Grouped(layer.parameters),
                    Grouped(layer.multiply_adds)});
  }
  rows.push_back(
      {"all", "", "", "", Grouped(description.parameters), Grouped(description.multiply_adds)});
  return absl::StrCat(description.name, ": input ", Shape(description.input_shape), ", loss ",
                      description.loss, "\n\n", Table(rows),
                      "\none version or update: ", Bytes(description.payload_bytes),
                      "\noutputs of one example in training: ", Bytes(description.activation_bytes),
                      "\nlayout: ", description.layout_hash, "\n");
}

nlohmann::ordered_json DescriptionJson(const ModelDescription& description) {
  nlohmann::ordered_json layers = nlohmann::ordered_json::array();
  for (const LayerDescription& layer : description.layers) {
    layers.push_back({{"name", layer.name},
                      {"kind", layer.kind},
                      {"inputs", layer.inputs},
                      {"output_shape", layer.output_shape},
                      {"parameters", layer.parameters},
                      {"multiply_adds", layer.multiply_adds}});
  }
  return {{"name", description.name},
          {"input_shape", description.input_shape},
          {"loss", description.loss},
          {"layers", std::move(layers)},
          {"parameters", description.parameters},
          {"multiply_adds", description.multiply_adds},
          {"payload_bytes", description.payload_bytes},
          {"activation_bytes", description.activation_bytes},
          {"layout_hash", description.layout_hash}};
}

}  // namespace consilium
