#include "aggregator/server/vector_cache.h"

#include <algorithm>

namespace consilium {
namespace {

constexpr size_t kAskedForMax = 1024;

size_t BytesOf(const SharedVector& values) { return values->size() * sizeof(float); }

}  // namespace

SharedVector VectorCache::Find(const Digest& name) {
  absl::MutexLock lock(&mu_);
  const auto it = kept_.find(name);
  if (it == kept_.end()) return nullptr;
  by_use_.splice(by_use_.begin(), by_use_, it->second.place);
  return it->second.values;
}

void VectorCache::Put(const Digest& name, SharedVector values) {
  if (!Fits(BytesOf(values))) return;
  absl::MutexLock lock(&mu_);
  if (const auto it = kept_.find(name); it != kept_.end()) Drop(it);
  bytes_ += BytesOf(values);
  by_use_.push_front(name);
  kept_[name] = {std::move(values), by_use_.begin()};
  while (bytes_ > bytes_max_) Drop(kept_.find(by_use_.back()));
}

void VectorCache::Remove(const Digest& name) {
  absl::MutexLock lock(&mu_);
  if (const auto it = kept_.find(name); it != kept_.end()) Drop(it);
}

bool VectorCache::WasAskedFor(const Digest& name) {
  absl::MutexLock lock(&mu_);
  if (std::find(asked_for_.begin(), asked_for_.end(), name) != asked_for_.end()) return true;
  asked_for_.push_back(name);
  if (asked_for_.size() > kAskedForMax) asked_for_.pop_front();
  return false;
}

void VectorCache::Drop(std::map<Digest, Kept>::iterator it) {
  bytes_ -= BytesOf(it->second.values);
  by_use_.erase(it->second.place);
  kept_.erase(it);
}

}  // namespace consilium
