// All files of a data set into a folder, from wherever they are to be had; only files that are what
// the manifest says get their names there.
//
// Threads: one.

#ifndef CONSILIUM_SIM_DATASETS_FETCH_H_
#define CONSILIUM_SIM_DATASETS_FETCH_H_

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "consilium/v1/dataset_manifest.pb.h"

namespace consilium {

struct FetchOptions {
  // A folder that holds the files, or one folder of them a data set; also as file:///FOLDER; or an
  // http(s) address below which they lie. Empty: where a package has put them, else the manifest's
  // address.
  std::string from;
  std::string into;  // Folder; the files come into INTO/NAME.
  // Of all bytes that are to come.
  std::function<void(uint64_t done, uint64_t of, absl::string_view file)> progress =
      [](uint64_t, uint64_t, absl::string_view) {};
};

struct FetchReport {
  std::string folder;
  uint64_t there_already = 0;  // Files.
  uint64_t fetched = 0;
  uint64_t made = 0;  // Of others.
};

// Ends at the first file that can not be had; what came before it stays, also a part of that file,
// and the next call goes on there. NOT_FOUND where nothing says from where to have a file, or it is
// not there; DATA_LOSS where it is another file; otherwise as FetchUrl and MakeFile.
absl::StatusOr<FetchReport> FetchDataset(const v1::DatasetManifest& manifest,
                                         const FetchOptions& options);

}  // namespace consilium

#endif  // CONSILIUM_SIM_DATASETS_FETCH_H_
