// A search space, checked, and its points. Algorithms work in the unit cube, one coordinate a
// parameter; what a point stands for is the texts that it gives to the parameters' paths. Two
// points of the same texts are the same trial.
//
// Ownership: values. Threads: as any value.

#ifndef CONSILIUM_SIM_SEARCH_SPACE_H_
#define CONSILIUM_SIM_SEARCH_SPACE_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "consilium/v1/search_space.pb.h"

namespace consilium {

// One coordinate a parameter, each in [0, 1].
using Point = std::vector<double>;

// What the value of `parameter` is at `coordinate`: "0.00316228", "12", "RELU". Equal intervals of
// coordinates are equal ranges of numbers (of their logarithms), or one value of a choice each.
std::string TextAt(const v1::SearchParameter& parameter, double coordinate);
// The texts of all parameters, in their order.
std::vector<std::string> TextsAt(const v1::SearchSpace& space, const Point& point);
// The same for the same trial, and for no other.
std::string KeyOf(const std::vector<std::string>& texts);
// "path=text" for each that belongs to a file; what belongs to a cell makes a file of its own.
std::vector<std::string> AssignmentsOf(const v1::SearchSpace& space,
                                       const std::vector<std::string>& texts);

// A coordinate for each value that a grid takes of it, in order, each value once.
std::vector<double> GridCoordinates(const v1::SearchParameter& parameter);

// Reads and checks the file, and fills in defaults. INVALID_ARGUMENT with line and column, or with
// the field's path.
absl::StatusOr<v1::SearchSpace> LoadSearchSpace(const std::string& path);
// The same of a message. Idempotent.
absl::StatusOr<v1::SearchSpace> ResolveSearchSpace(v1::SearchSpace space);

// Objectives as losses: those to maximise change their sign.
std::vector<double> LossesOf(const v1::SearchSpace& space, const std::vector<double>& objectives);

// Values of all parameters by their paths.
std::map<std::string, std::string> ValuesOf(const v1::SearchSpace& space,
                                            const std::vector<std::string>& texts);

// What the space is told by: its digest without budgets, which may grow between two processes.
std::string SpaceSha256(const v1::SearchSpace& resolved);

// Where a trial of successive halving ends: a field, and what it is at a rung.
struct RungEnd {
  absl::string_view path;   // What is set: stop.versions_max or scenario.stopped_after_ms.
  absl::string_view title;  // In tables and trials.json: "versions_max" or "virtual_ms".
  uint64_t value = 0;
};
// At a rung, from 0, and no more than at the highest; nothing for other algorithms.
std::optional<RungEnd> RungEndAt(const v1::SearchSpace& resolved, uint32_t rung);
// Whether the algorithm gives the field its value.
bool IsRungEnd(const v1::SearchSpace& resolved, absl::string_view path);

}  // namespace consilium

#endif  // CONSILIUM_SIM_SEARCH_SPACE_H_
