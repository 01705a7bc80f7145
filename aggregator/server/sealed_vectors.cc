#include "aggregator/server/sealed_vectors.h"

#include <algorithm>
#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "protocol/core/failpoint.h"
#include "protocol/core/status_macros.h"
#include "protocol/wire/hash.h"

namespace consilium {
namespace {

std::span<const uint8_t> BytesOf(std::span<const float> values) {
  return {reinterpret_cast<const uint8_t*>(values.data()), values.size_bytes()};
}

static_assert(kBlobRecordBytes == kShardElements * sizeof(float),
              "a record of a sealed blob is one shard of its vector");

}  // namespace

class SealedVectors::MemoryReader final : public VectorReader {
 public:
  explicit MemoryReader(SharedVector values) : values_(std::move(values)) {}
  absl::StatusOr<std::span<const float>> Read(size_t shard, std::span<float>) const override {
    return std::span<const float>(*values_).subspan(shard * kShardElements,
                                                    ShardSize(values_->size(), shard));
  }

 private:
  SharedVector values_;
};

// Reads records straight from the blob; each thread takes a reader of its own.
class SealedVectors::BlobReader final : public VectorReader {
 public:
  BlobReader(std::shared_ptr<BlobStore> blobs, const Digest& name, SealedBlobReader first)
      : blobs_(std::move(blobs)), name_(name) {
    free_.push_back(std::make_unique<SealedBlobReader>(std::move(first)));
  }

  absl::StatusOr<std::span<const float>> Read(size_t shard,
                                              std::span<float> buffer) const override {
    CONSILIUM_ASSIGN_OR_RETURN(std::unique_ptr<SealedBlobReader> reader, Take());
    const std::span<float> values = buffer.first(ShardSize(reader->size() / sizeof(float), shard));
    CONSILIUM_RETURN_IF_ERROR(reader->ReadRecordInto(
        shard, {reinterpret_cast<uint8_t*>(values.data()), values.size_bytes()}));
    absl::MutexLock lock(&mu_);
    free_.push_back(std::move(reader));
    return std::span<const float>(values);
  }

 private:
  absl::StatusOr<std::unique_ptr<SealedBlobReader>> Take() const {
    {
      absl::MutexLock lock(&mu_);
      if (!free_.empty()) {
        std::unique_ptr<SealedBlobReader> reader = std::move(free_.back());
        free_.pop_back();
        return reader;
      }
    }
    CONSILIUM_ASSIGN_OR_RETURN(SealedBlobReader reader, blobs_->Read(name_));
    return std::make_unique<SealedBlobReader>(std::move(reader));
  }

  const std::shared_ptr<BlobStore> blobs_;
  const Digest name_;
  mutable absl::Mutex mu_;
  mutable std::vector<std::unique_ptr<SealedBlobReader>> free_ ABSL_GUARDED_BY(mu_);
};

// A blob is written from its beginning to its end; shards that come early wait for their turn, one
// for each thread of the program at most.
class SealedVectors::Writer final : public VectorWriter {
 public:
  struct Target {
    Digest name = {};
    uint64_t elements = 0;
    VectorName::Kind kind = VectorName::Kind::kModel;
  };
  Writer(const Target& target, std::shared_ptr<BlobStore> blobs, VectorCache& cache,
         SealedBlobWriter blob)
      : target_(target), blobs_(std::move(blobs)), cache_(cache), blob_(std::move(blob)) {
    if (cache_.Fits(target_.elements * sizeof(float))) {
      kept_ = cache_.NewVector(target_.elements);
    }
  }

  absl::Status Write(size_t shard, std::span<const float> values) override {
    absl::MutexLock lock(&mu_);
    if (kept_ != nullptr) {
      std::copy(values.begin(), values.end(), kept_->begin() + shard * kShardElements);
    }
    if (shard != next_) {
      early_[shard].assign(values.begin(), values.end());
      return absl::OkStatus();
    }
    CONSILIUM_RETURN_IF_ERROR(blob_.Append(BytesOf(values)));
    ++next_;
    for (auto it = early_.begin(); it != early_.end() && it->first == next_; ++next_) {
      CONSILIUM_RETURN_IF_ERROR(blob_.Append(BytesOf(it->second)));
      it = early_.erase(it);
    }
    return absl::OkStatus();
  }

  absl::Status Finish() override {
    absl::MutexLock lock(&mu_);
    if (blob_.size() != target_.elements * sizeof(float)) {
      return absl::InternalError("a vector was finished before all of its shards were written");
    }
    CONSILIUM_RETURN_IF_ERROR(blobs_->Seal(blob_, target_.name));
    CONSILIUM_RETURN_IF_ERROR(blob_.Sync());
    if (target_.kind == VectorName::Kind::kModel) Failpoint("aggregator.model_synced");
    CONSILIUM_RETURN_IF_ERROR(blobs_->Commit(std::move(blob_)));
    if (kept_ != nullptr) cache_.Put(target_.name, std::move(kept_));
    return absl::OkStatus();
  }

 private:
  const Target target_;
  const std::shared_ptr<BlobStore> blobs_;
  VectorCache& cache_;
  absl::Mutex mu_;
  SealedBlobWriter blob_ ABSL_GUARDED_BY(mu_);
  size_t next_ ABSL_GUARDED_BY(mu_) = 0;
  std::map<size_t, std::vector<float>> early_ ABSL_GUARDED_BY(mu_);
  std::shared_ptr<std::vector<float>> kept_ ABSL_GUARDED_BY(mu_);
};

Digest SealedVectors::StateBlob(uint64_t slot, Version version) const {
  return FieldHasher("consilium.state_blob.v1")
      .Add(absl::string_view(run_.value()))
      .Add(slot)
      .Add(version.value())
      .Finish();
}

Digest SealedVectors::VersionBlob(absl::string_view domain, Version version) const {
  return FieldHasher(domain).Add(absl::string_view(run_.value())).Add(version.value()).Finish();
}

std::optional<Digest> SealedVectors::BlobOf(const VectorName& name) const {
  switch (name.kind) {
    case VectorName::Kind::kUpdate:
      return name.update;
    case VectorName::Kind::kModel:
      return VersionBlob("consilium.model_blob.v1", Version(name.number));
    case VectorName::Kind::kControl:
      return VersionBlob("consilium.control_blob.v1", Version(name.number));
    case VectorName::Kind::kState: {
      absl::MutexLock lock(&mu_);
      const auto it = current_state_.find(name.number);
      if (it == current_state_.end()) return std::nullopt;
      return StateBlob(name.number, it->second);
    }
    case VectorName::Kind::kScratch:
      break;
  }
  return std::nullopt;
}

absl::StatusOr<std::unique_ptr<VectorReader>> SealedVectors::OpenForReading(
    const VectorName& name) {
  const std::optional<Digest> blob = BlobOf(name);
  if (!blob.has_value()) {
    return absl::NotFoundError(absl::StrCat("state slot ", name.number, " was never written"));
  }
  if (SharedVector values = cache_.Find(*blob); values != nullptr) {
    return std::make_unique<MemoryReader>(std::move(values));
  }
  CONSILIUM_ASSIGN_OR_RETURN(SealedBlobReader reader, blobs_->Read(*blob));
  const uint64_t bytes = elements_ * sizeof(float);
  if (reader.size() != bytes) {
    return absl::DataLossError(absl::StrCat("the blob ", ToHex(*blob), " of run ", run_.value(),
                                            " has ", reader.size(), " bytes and not ", bytes));
  }
  // An update that is folded once and never read again is not worth its memory.
  const bool keep = name.kind != VectorName::Kind::kUpdate || cache_.WasAskedFor(*blob);
  if (!keep || !cache_.Fits(bytes)) {
    return std::make_unique<BlobReader>(blobs_, *blob, std::move(reader));
  }
  const std::shared_ptr<std::vector<float>> values = cache_.NewVector(elements_);
  for (uint64_t i = 0; i < reader.records(); ++i) {
    const std::span<float> shard =
        std::span<float>(*values).subspan(i * kShardElements, ShardSize(elements_, i));
    CONSILIUM_RETURN_IF_ERROR(
        reader.ReadRecordInto(i, {reinterpret_cast<uint8_t*>(shard.data()), shard.size_bytes()}));
  }
  cache_.Put(*blob, values);
  return std::make_unique<MemoryReader>(values);
}

absl::StatusOr<std::unique_ptr<VectorWriter>> SealedVectors::OpenForWriting(const VectorName& name,
                                                                            Version makes) {
  Writer::Target target{.elements = elements_, .kind = name.kind};
  if (name == VectorName::Model(makes) || name == VectorName::Control(makes)) {
    target.name = *BlobOf(name);
  } else if (name.kind == VectorName::Kind::kState) {
    target.name = StateBlob(name.number, makes);
  } else {
    return absl::InvalidArgumentError("a program writes its own version and state slots only");
  }
  CONSILIUM_ASSIGN_OR_RETURN(SealedBlobWriter blob, blobs_->NewWriter());
  return std::make_unique<Writer>(target, blobs_, cache_, std::move(blob));
}

void SealedVectors::NoteProgram(Version makes, const std::vector<uint64_t>& state_slots) {
  absl::MutexLock lock(&mu_);
  programs_[makes] = state_slots;
}

absl::Status SealedVectors::SwitchState(Version made) {
  std::vector<Digest> old;
  {
    absl::MutexLock lock(&mu_);
    const auto program = programs_.find(made);
    if (program == programs_.end()) return absl::OkStatus();
    for (const uint64_t slot : program->second) {
      if (const auto it = current_state_.find(slot); it != current_state_.end()) {
        if (it->second >= made) continue;
        old.push_back(StateBlob(slot, it->second));
      }
      current_state_[slot] = made;
    }
    programs_.erase(programs_.begin(), std::next(program));
  }
  for (const Digest& blob : old) {
    cache_.Remove(blob);
    CONSILIUM_RETURN_IF_ERROR(blobs_->Remove(blob));
  }
  return absl::OkStatus();
}

absl::Status SealedVectors::Remove(const VectorName& name) {
  const std::optional<Digest> blob = BlobOf(name);
  if (!blob.has_value()) return absl::OkStatus();
  cache_.Remove(*blob);
  return blobs_->Remove(*blob);
}

absl::StatusOr<uint64_t> SealedVectors::Sweep(const std::vector<VectorName>& needed) {
  std::set<Digest> keep;
  for (const VectorName& name : needed) {
    if (const std::optional<Digest> blob = BlobOf(name); blob.has_value()) keep.insert(*blob);
  }
  {
    absl::MutexLock lock(&mu_);
    for (const auto& [slot, version] : current_state_) keep.insert(StateBlob(slot, version));
  }
  CONSILIUM_ASSIGN_OR_RETURN(const std::vector<Digest> all, blobs_->List());
  uint64_t removed = 0;
  for (const Digest& blob : all) {
    if (keep.contains(blob)) continue;
    CONSILIUM_RETURN_IF_ERROR(blobs_->Remove(blob));
    ++removed;
  }
  return removed;
}

}  // namespace consilium
