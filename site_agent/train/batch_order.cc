#include "site_agent/train/batch_order.h"

#include <algorithm>
#include <numeric>
#include <utility>

namespace consilium {

BatchOrder::BatchOrder(const Sizes& sizes, const RandomStream& shuffle)
    : shuffle_(shuffle), batch_(sizes.batch), order_(sizes.examples), next_(sizes.examples) {
  std::iota(order_.begin(), order_.end(), size_t{0});
}

// Fisher and Yates' shuffle; std::shuffle gives another order with each standard library.
void BatchOrder::Shuffle() {
  for (size_t i = order_.size(); i > 1; --i) {
    std::swap(order_[i - 1], order_[shuffle_.NextBelow(i)]);
  }
  next_ = 0;
}

std::span<const size_t> BatchOrder::Next() {
  if (next_ == order_.size()) Shuffle();
  const size_t count = std::min(batch_, order_.size() - next_);
  const std::span<const size_t> batch(order_.data() + next_, count);
  next_ += count;
  return batch;
}

}  // namespace consilium
