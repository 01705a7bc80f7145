// Which examples each step of a task sees: a shuffled order of all, taken in batches without
// replacement; the last batch of an order may be smaller. When the order is used up, the next one
// is drawn from the same stream.
//
// Threads: one at a time.

#ifndef CONSILIUM_SITE_AGENT_TRAIN_BATCH_ORDER_H_
#define CONSILIUM_SITE_AGENT_TRAIN_BATCH_ORDER_H_

#include <cstddef>
#include <span>
#include <vector>

#include "protocol/wire/derived_seed.h"

namespace consilium {

class BatchOrder {
 public:
  struct Sizes {
    size_t examples = 0;  // >= 1.
    size_t batch = 0;     // >= 1; more than `examples` means all of them.
  };
  BatchOrder(const Sizes& sizes, const RandomStream& shuffle);

  // Indices of the next batch's examples; valid until the next call.
  std::span<const size_t> Next();

 private:
  void Shuffle();

  RandomStream shuffle_;
  size_t batch_;
  std::vector<size_t> order_;
  size_t next_;
};

}  // namespace consilium

#endif  // CONSILIUM_SITE_AGENT_TRAIN_BATCH_ORDER_H_
