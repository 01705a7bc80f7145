// A scenario that names a data set instead of saying where everything lies.
//
// Threads: any.

#ifndef CONSILIUM_SIM_DATASETS_NAMED_H_
#define CONSILIUM_SIM_DATASETS_NAMED_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "consilium/v1/scenario.pb.h"

namespace consilium {

// What `dataset` leaves out of its source becomes the named data set's; nothing changes where it
// names none. INVALID_ARGUMENT: no data set has the name, the source names a file that is not its,
// it can not be dealt out, or it tells of no hospitals and the scenario neither.
absl::Status CompleteFromManifest(v1::Dataset& dataset);

// Where the files of `dataset` lie: `folder` where it names no data set; otherwise as
// LocateDataset, with its errors.
absl::StatusOr<std::string> FolderOfFiles(const v1::Dataset& dataset, const std::string& folder);

}  // namespace consilium

#endif  // CONSILIUM_SIM_DATASETS_NAMED_H_
