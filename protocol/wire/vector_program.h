// What the engine asks the compute pool to do with vectors that it never holds itself: a short
// list of element-wise steps over named vectors, in a fixed order, as data. With it every
// aggregation rule is decisions in aggregator/core plus a program for aggregator/merge.
//
// Ownership: values. Threads: as any value.

#ifndef CONSILIUM_PROTOCOL_WIRE_VECTOR_PROGRAM_H_
#define CONSILIUM_PROTOCOL_WIRE_VECTOR_PROGRAM_H_

#include <compare>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "protocol/core/ids.h"

namespace consilium {

// All vectors of a run have the same length: the layout's element count, f32.
struct VectorName {
  enum class Kind : uint8_t {
    kModel,    // A version's weights; `number` is the version.
    kUpdate,   // An accepted update's Δ; `update` is its id. Read-only.
    kState,    // Server optimizer state kept between programs; `number` is the slot.
    kScratch,  // Starts as zeros, gone when the program ends; `number` tells them apart.
    kControl,  // The server's control variate of a version (SCAFFOLD); `number` is the version.
  };
  Kind kind = Kind::kScratch;
  uint64_t number = 0;
  Digest update = {};

  static VectorName Model(Version v) { return {Kind::kModel, v.value(), {}}; }
  static VectorName Update(const Digest& id) { return {Kind::kUpdate, 0, id}; }
  static VectorName State(uint64_t slot) { return {Kind::kState, slot, {}}; }
  static VectorName Scratch(uint64_t number) { return {Kind::kScratch, number, {}}; }
  static VectorName Control(Version v) { return {Kind::kControl, v.value(), {}}; }
  friend auto operator<=>(const VectorName&, const VectorName&) = default;
};

// One of the vectors that a step takes together with others: scale·vector[i], rounded once.
struct VectorTerm {
  VectorName vector;
  double scale = 1;
};

// One step; i runs over all elements. Arithmetic is f32, `a`, `b`, `c`, `d` rounded to f32 once;
// no fused multiply-add, so the result is the same on every machine.
struct VectorStep {
  enum class Op : uint8_t {
    kCopy,      // dst[i] = x[i]
    kScale,     // dst[i] = a·dst[i]
    kAxpy,      // dst[i] = dst[i] + a·x[i]
    kAdam,      // x = direction d, y = m, z = v, scalars a=η', b=β1, c=β2, d=ε:
                //   m = b·m + (1−b)·d;  v = c·v + (1−c)·d²;  dst = dst + a·m/(√v + ε)
                // with the bias corrections already in a and d (the engine knows the step).
    kYogi,      // As kAdam, but v = v − (1−c)·d²·sign(v − d²)
    kAdagrad,   // As kAdam, but v = v + d²; c is unused
    kMomentum,  // x = d, y = m, a = η, b = β: m = b·m + d;  dst = dst + a·m
    // What AMSGrad is made of, which keeps three vectors.
    kBlend,         // dst[i] = b·dst[i] + (1−b)·x[i]
    kBlendSquared,  // dst[i] = b·dst[i] + (1−b)·x[i]²
    kMax,           // dst[i] = max(dst[i], x[i])
    kRatioStep,     // dst[i] = dst[i] + a·x[i]/(√y[i] + d)
    // The delay compensation of DC-ASGD.
    kCompensate,   // dst[i] = dst[i] + a·x[i]²·(y[i] − z[i])
    kDot,          // scalar: Σ x[i]·y[i] in f64, by shards of fixed size in order
    kNormSquared,  // scalar: Σ x[i]² likewise
    // Of the n vectors in `over`, 1 to kStepVectorsMax:
    kTrimmedMean,  // dst[i] = mean of the scaled x_1[i] … x_n[i] without the `cut` least and the
                   // `cut` greatest, 2·cut < n; summed upwards in f64, divided, rounded once. The
                   // order of the vectors does not matter; −0 counts as 0.
    kGram,  // scalars: n(n+1)/2, Σ x_j[i]·x_k[i] as kDot for j ≤ k, without the scales; all k
            // of the first j, then those of the second.
  };
  Op op = Op::kCopy;
  VectorName dst;
  VectorName x, y, z;
  double a = 0, b = 0, c = 0, d = 0;
  std::vector<VectorTerm> over;
  uint32_t cut = 0;
};
// One shard of each is in memory at once.
inline constexpr size_t kStepVectorsMax = 512;

// How many scalars a step brings.
inline size_t ScalarsOf(const VectorStep& step) {
  switch (step.op) {
    case VectorStep::Op::kDot:
    case VectorStep::Op::kNormSquared:
      return 1;
    case VectorStep::Op::kGram:
      return step.over.size() * (step.over.size() + 1) / 2;
    default:
      return 0;
  }
}

struct VectorProgram {
  std::vector<VectorStep> steps;
  // The vector whose Merkle root ComputeDone reports and that becomes durable: the new version.
  VectorName result;
  // State slots that become durable with the result. Written beside the old ones and switched
  // when the version commits, so that a program that runs again after a crash starts from the
  // same state.
  std::vector<uint64_t> state_slots = {};
  // The control variate that is made with the result, of the same version: durable with it, and the
  // second part of what sites fetch. The root is then MerkleRootOfTwo of the two.
  std::optional<VectorName> control = {};
};

// What came out: the scalars of the steps, in order.
struct ProgramResult {
  std::vector<double> scalars;
  Digest payload_root = {};
};

}  // namespace consilium

#endif  // CONSILIUM_PROTOCOL_WIRE_VECTOR_PROGRAM_H_
