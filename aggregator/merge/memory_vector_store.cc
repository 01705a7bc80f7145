#include "aggregator/merge/memory_vector_store.h"

#include "absl/strings/str_cat.h"

namespace consilium {
namespace {

absl::Status NotFound(const VectorName& name) {
  return absl::NotFoundError(absl::StrCat("no vector of kind ", static_cast<int>(name.kind),
                                          " and number ", name.number, " in this run"));
}

}  // namespace

class MemoryVectorStore::Reader final : public VectorReader {
 public:
  explicit Reader(Values values) : values_(std::move(values)) {}

  absl::StatusOr<std::span<const float>> Read(size_t shard, std::span<float>) const override {
    return std::span<const float>(*values_).subspan(shard * kShardElements,
                                                    ShardSize(values_->size(), shard));
  }

 private:
  Values values_;
};

class MemoryVectorStore::Writer final : public VectorWriter {
 public:
  Writer(MemoryVectorStore& store, const VectorName& name, Version makes)
      : values_(std::make_shared<std::vector<float>>(store.elements_)),
        store_(store),
        name_(name),
        makes_(makes) {}

  absl::Status Write(size_t shard, std::span<const float> values) override {
    std::copy(values.begin(), values.end(), values_->begin() + shard * kShardElements);
    return absl::OkStatus();
  }

  absl::Status Finish() override {
    if (name_.kind != VectorName::Kind::kState) {
      store_.contents_.vectors[name_] = std::move(values_);
    } else {
      store_.contents_.staged_state[{makes_, name_}] = std::move(values_);
    }
    return absl::OkStatus();
  }

 private:
  std::shared_ptr<std::vector<float>> values_;
  MemoryVectorStore& store_;
  VectorName name_;
  Version makes_;
};

absl::Status MemoryVectorStore::Put(const VectorName& name, std::vector<float> values) {
  return Put(name, std::make_shared<const std::vector<float>>(std::move(values)));
}

absl::Status MemoryVectorStore::Put(const VectorName& name, Values values) {
  if (name.kind == VectorName::Kind::kState || name.kind == VectorName::Kind::kScratch) {
    return absl::InvalidArgumentError("what programs keep for themselves comes from no one else");
  }
  if (values->size() != elements_) {
    return absl::InvalidArgumentError(
        absl::StrCat("a vector of ", values->size(), " floats where the run has ", elements_));
  }
  contents_.vectors[name] = std::move(values);
  return absl::OkStatus();
}

void MemoryVectorStore::Forget(const VectorName& name) { contents_.vectors.erase(name); }

absl::StatusOr<std::shared_ptr<const std::vector<float>>> MemoryVectorStore::Get(
    const VectorName& name) const {
  const auto found = contents_.vectors.find(name);
  if (found == contents_.vectors.end()) return NotFound(name);
  return found->second;
}

absl::StatusOr<std::unique_ptr<VectorReader>> MemoryVectorStore::OpenForReading(
    const VectorName& name) {
  auto values = Get(name);
  if (!values.ok()) return values.status();
  return std::make_unique<Reader>(*std::move(values));
}

absl::StatusOr<std::unique_ptr<VectorWriter>> MemoryVectorStore::OpenForWriting(
    const VectorName& name, Version makes) {
  const bool is_own = name == VectorName::Model(makes) || name == VectorName::Control(makes);
  if (!is_own && name.kind != VectorName::Kind::kState) {
    return absl::InvalidArgumentError("a program writes its own version and state slots only");
  }
  return std::make_unique<Writer>(*this, name, makes);
}

absl::Status MemoryVectorStore::SwitchState(Version made) {
  while (!contents_.staged_state.empty() && contents_.staged_state.begin()->first.first <= made) {
    auto& [key, values] = *contents_.staged_state.begin();
    if (key.first == made) contents_.vectors[key.second] = std::move(values);
    contents_.staged_state.erase(contents_.staged_state.begin());
  }
  return absl::OkStatus();
}

}  // namespace consilium
