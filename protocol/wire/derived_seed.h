// Every stream of random numbers is derived, never shared: HKDF-SHA256(run seed, run, site, task,
// purpose). So retraining one update needs nothing but its record, and no stream depends on what
// ran before it. Privacy noise is the exception and never comes from here.
//
// Threads: any; RandomStream: one per thread.

#ifndef CONSILIUM_PROTOCOL_WIRE_DERIVED_SEED_H_
#define CONSILIUM_PROTOCOL_WIRE_DERIVED_SEED_H_

#include <array>
#include <cstdint>

#include "absl/strings/string_view.h"
#include "protocol/core/ids.h"

namespace consilium {

// What a stream is for, and for whom.
struct SeedPath {
  uint64_t run_seed = 0;
  absl::string_view purpose;  // "shuffle", "dropout", "initial_model", "split", …
  absl::string_view site;     // Empty where the stream belongs to the run.
  uint64_t task = 0;          // 0 where it belongs to no task.
};

// 32 bytes of HKDF-SHA256 (RFC 5869): salt "consilium.seed.v1", key = run seed (8 bytes, little
// endian), info = purpose ‖ 0 ‖ site ‖ 0 ‖ task (8 bytes).
Digest DeriveSeed(const SeedPath& path);
// Its first 8 bytes, little-endian.
uint64_t DeriveSeed64(const SeedPath& path);

// xoshiro256** 1.0 (Blackman and Vigna, doi:10.1145/3460772) from a derived seed: fast, and the
// same everywhere, as the standard library's distributions are not.
class RandomStream {
 public:
  explicit RandomStream(const Digest& seed);
  explicit RandomStream(const SeedPath& path) : RandomStream(DeriveSeed(path)) {}

  uint64_t Next();
  // Uniform in [0, 1) with 53 bits.
  double NextUnit();
  // Uniform in [0, bound) without bias (Lemire, doi:10.1145/3230636). bound >= 1.
  uint64_t NextBelow(uint64_t bound);
  // N(0, 1) by Box and Muller's transform; two numbers of the stream each.
  double NextNormal();

 private:
  std::array<uint64_t, 4> state_;
};

}  // namespace consilium

#endif  // CONSILIUM_PROTOCOL_WIRE_DERIVED_SEED_H_
