// The server's control variate of SCAFFOLD (arXiv:1910.06378), the paper's Option II: c estimates
// the gradient of what all sites together train on, a site's own c_i that of its own patients, and
// each local step is g − c_i + c (site_agent/train/control_variates.h).
//
//   c_i⁺ − c_i = −c − Δ_i/(S_i·η),  c ← c + Σ_{i ∈ S} p_i·(c_i⁺ − c_i)
//
// with S_i the local steps and η the local learning rate. What a site adds follows from its Δ_i and
// from the c that it began with, so it is not sent: nobody can send another one than his update's.
// p_i is the site's share of the members' examples: 1/N, as in the paper, where all have the same
// number. c is of one version, as the weights are; version 0 has none, which counts as zeros.
//
// Threads: any.

#ifndef CONSILIUM_AGGREGATOR_CORE_STRATEGIES_CONTROL_VARIATES_H_
#define CONSILIUM_AGGREGATOR_CORE_STRATEGIES_CONTROL_VARIATES_H_

#include <cstdint>
#include <optional>

#include "aggregator/core/run_state.h"
#include "protocol/core/ids.h"
#include "protocol/wire/vector_program.h"

namespace consilium::federation {

// c of a version; nothing where it has none.
std::optional<VectorName> ControlOf(const RunState& run, Version version);

// Floats that a site fetches for a version: its weights, and c after them.
uint64_t PayloadElements(const RunState& run, Version version);

// Makes c of the version that `pending` makes, of which every update has the current base (there is
// a barrier). Nothing where the rule has no control variates.
void AppendControl(const RunState& run, const PendingProgram& pending, VectorProgram& program);

}  // namespace consilium::federation

#endif  // CONSILIUM_AGGREGATOR_CORE_STRATEGIES_CONTROL_VARIATES_H_
