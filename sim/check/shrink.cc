#include "sim/check/shrink.h"

#include <google/protobuf/message.h>

#include <algorithm>
#include <string>
#include <utility>

namespace consilium {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using Path = std::vector<const FieldDescriptor*>;

constexpr uint32_t kSitesMin = 1;

// Without these the files are none, or the federation another.
bool IsNeeded(const FieldDescriptor& field) {
  const std::string& name = field.full_name();
  return name == "consilium.v1.RunConfig.name" || name == "consilium.v1.RunConfig.model" ||
         name == "consilium.v1.ModelConfig.spec_file" || name == "consilium.v1.RunConfig.seed" ||
         name == "consilium.v1.RunConfig.data" || name == "consilium.v1.RunConfig.stop" ||
         name == "consilium.v1.StopConfig.versions_max" ||
         name == "consilium.v1.DataConfig.contract_file";
}

// Paths of all fields that are set, the outer ones before what is in them. Repeated ones as a
// whole.
void CollectPaths(const Message& message, const Path& prefix, std::vector<Path>& out) {
  std::vector<const FieldDescriptor*> fields;
  message.GetReflection()->ListFields(message, &fields);
  std::vector<Path> inner;
  for (const FieldDescriptor* field : fields) {
    Path path = prefix;
    path.push_back(field);
    out.push_back(path);
    if (field->is_repeated() || field->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE) continue;
    CollectPaths(message.GetReflection()->GetMessage(message, field), path, inner);
  }
  out.insert(out.end(), inner.begin(), inner.end());
}

Message* Holder(const Path& path, Message* root) {
  for (size_t i = 0; i + 1 < path.size(); ++i) {
    root = root->GetReflection()->MutableMessage(root, path[i]);
  }
  return root;
}

// Whether there was something to halve.
bool Halve(const Path& path, Message* root) {
  Message* holder = Holder(path, root);
  const auto* reflection = holder->GetReflection();
  const FieldDescriptor* field = path.back();
  if (field->is_repeated()) return false;
  if (field->cpp_type() == FieldDescriptor::CPPTYPE_UINT32) {
    const uint32_t value = reflection->GetUInt32(*holder, field);
    if (value > 1) reflection->SetUInt32(holder, field, value / 2);
    return value > 1;
  }
  return false;
}

template <typename Root>
void AddEdits(const FederationCase& federation, const Root& root,
              std::vector<FederationCase>& out) {
  std::vector<Path> paths;
  FederationCase probe = federation;
  CollectPaths(*root(probe), {}, paths);
  for (const Path& path : paths) {
    if (IsNeeded(*path.back())) continue;
    FederationCase smaller = federation;
    Message* holder = Holder(path, root(smaller));
    holder->GetReflection()->ClearField(holder, path.back());
    out.push_back(std::move(smaller));
  }
  for (const Path& path : paths) {
    FederationCase smaller = federation;
    if (Halve(path, root(smaller))) out.push_back(std::move(smaller));
  }
}

void AddFewerSites(const FederationCase& federation, std::vector<FederationCase>& out) {
  const uint32_t sites = federation.scenario.dataset().partitioned().sites();
  for (const uint32_t fewer : {sites / 2, sites - 1}) {
    if (fewer < kSitesMin || fewer >= sites) continue;
    out.push_back(federation);
    out.back().scenario.mutable_dataset()->mutable_partitioned()->set_sites(fewer);
  }
}

void AddFewerVersions(const FederationCase& federation, std::vector<FederationCase>& out) {
  const uint32_t versions = federation.plan.config().stop().versions_max();
  for (const uint32_t fewer : {versions / 2, versions - 1}) {
    if (fewer < 1 || fewer >= versions) continue;
    out.push_back(federation);
    out.back().plan.mutable_config()->mutable_stop()->set_versions_max(fewer);
  }
}

}  // namespace

std::vector<FederationCase> Smaller(const FederationCase& federation) {
  std::vector<FederationCase> out;
  AddFewerSites(federation, out);
  AddFewerVersions(federation, out);
  AddEdits(
      federation, [](FederationCase& f) -> Message* { return f.scenario.mutable_sites(); }, out);
  AddEdits(
      federation, [](FederationCase& f) -> Message* { return f.plan.mutable_config(); }, out);
  return out;
}

Shrunk Shrink(const FederationCase& federation,
              const std::function<bool(const FederationCase&)>& is_broken, uint64_t tries_max) {
  Shrunk shrunk = {federation};
  bool goes_on = true;
  while (goes_on) {
    goes_on = false;
    for (FederationCase& smaller : Smaller(shrunk.federation)) {
      if (shrunk.tried == tries_max) return shrunk;
      ++shrunk.tried;
      if (!is_broken(smaller)) continue;
      shrunk.federation = std::move(smaller);
      goes_on = true;
      break;
    }
  }
  return shrunk;
}

}  // namespace consilium
