// A data set of a few bytes, for what is tested of data sets besides their real files.

#ifndef CONSILIUM_TESTS_SIM_DATASETS_SMALL_MANIFEST_H_
#define CONSILIUM_TESTS_SIM_DATASETS_SMALL_MANIFEST_H_

#include <fstream>
#include <string>

#include "absl/strings/string_view.h"
#include "consilium/v1/dataset_manifest.pb.h"
#include "protocol/wire/hash.h"

namespace consilium {

inline constexpr char kSmallContent[] = "first line\n1,2,a\n3,4,b\n";

inline v1::DatasetFile& AddFile(v1::DatasetManifest& manifest, const std::string& path,
                                absl::string_view content) {
  v1::DatasetFile& file = *manifest.add_files();
  file.set_path(path);
  file.set_bytes(content.size());
  file.set_sha256(ToHex(Sha256Of(content)));
  return file;
}

// "small" of one file, table.csv, of kSmallContent.
inline v1::DatasetManifest SmallManifest() {
  v1::DatasetManifest manifest;
  manifest.set_name("small");
  manifest.set_source("a test");
  manifest.set_licence("none needed");
  manifest.set_citation("a test");
  manifest.set_contract_file("contract.textproto");
  manifest.mutable_table()->mutable_partitioned()->set_file("table.csv");
  AddFile(manifest, "table.csv", kSmallContent);
  return manifest;
}

inline void Write(const std::string& path, absl::string_view content) {
  std::ofstream(path, std::ios::binary) << content;
}

}  // namespace consilium

#endif  // CONSILIUM_TESTS_SIM_DATASETS_SMALL_MANIFEST_H_
