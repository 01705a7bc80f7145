// Where the files of a data set lie on this machine, and whether they are what its manifest says.
//
// Threads: any.

#ifndef CONSILIUM_SIM_DATASETS_LOCATE_H_
#define CONSILIUM_SIM_DATASETS_LOCATE_H_

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "consilium/v1/dataset_manifest.pb.h"
#include "protocol/core/ids.h"

namespace consilium {

// $XDG_DATA_HOME/consilium/datasets, or ~/.local/share/consilium/datasets.
std::string DefaultDatasetsFolder();

// Where its package or wheel would have put a data set's files; empty where there is none.
std::string InstalledFolder(const v1::DatasetManifest& manifest);

// Where a data set is looked for, best first: FOLDER/NAME and FOLDER (where `data_folder` is
// given), $CONSILIUM_DATASETS/NAME, DefaultDatasetsFolder()/NAME, InstalledFolder().
std::vector<std::string> CandidateFolders(const v1::DatasetManifest& manifest,
                                          const std::string& data_folder);

// SHA-256 of a file read in pieces. Errors of the system.
absl::StatusOr<Digest> HashOfFile(const std::string& path);

// The file's size and SHA-256 are the manifest's. NOT_FOUND; DATA_LOSS says what it is instead.
absl::Status CheckFile(const std::string& folder, const v1::DatasetFile& file);

// The first candidate in which all of `files` lie, each checked. NOT_FOUND names the folders and
// how to get the files; DATA_LOSS where one is another file than the manifest's.
absl::StatusOr<std::string> LocateDataset(const v1::DatasetManifest& manifest,
                                          const std::set<std::string>& files,
                                          const std::string& data_folder);

struct DatasetState {
  enum class Kind : uint8_t { kMissing, kPresent, kDamaged } kind = Kind::kMissing;
  std::string folder;  // Unless it is missing.
  std::string why;     // Where it is damaged.
};

// Of the files of its table; of all where it has none.
DatasetState StateOf(const v1::DatasetManifest& manifest, const std::string& data_folder);

}  // namespace consilium

#endif  // CONSILIUM_SIM_DATASETS_LOCATE_H_
