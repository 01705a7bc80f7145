// The NPZ archives that a table is read from, each opened once: what their headers said is of the
// same files as the items, and an archive of thousands of arrays is not listed anew for each
// column.
//
// Ownership: owns the archives, open until it goes. Threads: one.

#ifndef CONSILIUM_SITE_AGENT_INGEST_OPEN_ARCHIVES_H_
#define CONSILIUM_SITE_AGENT_INGEST_OPEN_ARCHIVES_H_

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "site_agent/ingest/array_files.h"

namespace consilium {

class OpenArchives {
 public:
  // So many are kept, each with a descriptor and its list of arrays. One beyond them is opened anew
  // each time that it is asked for after another; NpzFile::Read refuses it where its headers have
  // changed meanwhile.
  static constexpr size_t kKeptMax = 16;

  // Valid until the next call. Errors as of NpzFile::Open.
  absl::StatusOr<const NpzFile*> Open(const std::string& path);

 private:
  std::map<std::string, NpzFile> kept_;
  std::optional<std::pair<std::string, NpzFile>> passing_;
};

}  // namespace consilium

#endif  // CONSILIUM_SITE_AGENT_INGEST_OPEN_ARCHIVES_H_
