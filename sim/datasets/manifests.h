// The data sets that the simulator has a name for (sim/datasets/*.textproto, which are part of the
// program). Their bytes are not: they are fetched, and known by their SHA-256.
//
// Threads: any.

#ifndef CONSILIUM_SIM_DATASETS_MANIFESTS_H_
#define CONSILIUM_SIM_DATASETS_MANIFESTS_H_

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "consilium/v1/dataset_manifest.pb.h"
#include "consilium/v1/scenario.pb.h"

namespace consilium {

// A data set of more is none for a simulator on one machine.
inline constexpr uint64_t kDatasetFileBytesMax = uint64_t{4} << 30;

// Whether a relative path stays below the folder that it is put into.
bool StaysInFolder(const std::string& path);

// All of them, in the order of their names. They satisfy CheckManifest.
const std::vector<v1::DatasetManifest>& AllManifests();

// INVALID_ARGUMENT names those that there are.
absl::StatusOr<const v1::DatasetManifest*> FindManifest(absl::string_view name);

// INVALID_ARGUMENT: a name or path that could leave its folder, a file without size or SHA-256, one
// made of a file that is not there before it, a table of files that are not there, or neither a
// contract nor why there is none.
absl::Status CheckManifest(const v1::DatasetManifest& manifest);

// Null where the data set has no file of that path.
const v1::DatasetFile* FindFile(const v1::DatasetManifest& manifest, absl::string_view path);

// Of all tables of the data.
std::set<std::string> FilesOf(const v1::Dataset& dataset);

}  // namespace consilium

#endif  // CONSILIUM_SIM_DATASETS_MANIFESTS_H_
