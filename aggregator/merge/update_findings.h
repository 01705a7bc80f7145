// What the aggregator finds out about an update's values while they stream past: whether all are
// finite, and the norm. No vector is held.
//
// Threads: one object per thread.

#ifndef CONSILIUM_AGGREGATOR_MERGE_UPDATE_FINDINGS_H_
#define CONSILIUM_AGGREGATOR_MERGE_UPDATE_FINDINGS_H_

#include <cstdint>
#include <span>

#include "aggregator/merge/shard_math.h"

namespace consilium {

class UpdateFindings {
 public:
  // The next values of the update, in any portions: how they are cut changes nothing.
  void Add(std::span<const float> values);

  uint64_t elements() const { return elements_; }
  // ‖Δ‖₂ = √Σ Δ[i]² in f64, in the order of kDotLanes (shard_math.h). Not finite where a value is
  // not.
  double norm() const;
  // No NaN and no infinity: squares of finite f32 can not overflow an f64 sum, so the sum tells.
  bool finite() const;

 private:
  DotLanes lanes_ = {};
  uint64_t elements_ = 0;
};

}  // namespace consilium

#endif  // CONSILIUM_AGGREGATOR_MERGE_UPDATE_FINDINGS_H_
