// A data set's files that are made of others here: unpacked, given a header line, read as WFDB
// records, drawn from a motif.
//
// Threads: any.

#ifndef CONSILIUM_SIM_DATASETS_UNPACK_H_
#define CONSILIUM_SIM_DATASETS_UNPACK_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "consilium/v1/dataset_manifest.pb.h"

namespace consilium {

// The content of `file`, of file.bytes() bytes, from what it is made of, which lies in `folder`.
// Memory is bounded by file.bytes(), whatever the packed bytes hold. DATA_LOSS where that one is
// damaged or gives another number of bytes, otherwise as MakeEcgArray and MakeDrawnSequences;
// INVALID_ARGUMENT where the file is not made of another; errors of the system.
absl::StatusOr<std::string> MakeFile(const std::string& folder, const v1::DatasetFile& file);

// `text` as TableLines has it. DATA_LOSS where it has fewer lines than are left out, or a
// word in its last column that `lines` does not know.
absl::StatusOr<std::string> ApplyTableLines(absl::string_view text, const v1::TableLines& lines);

}  // namespace consilium

#endif  // CONSILIUM_SIM_DATASETS_UNPACK_H_
