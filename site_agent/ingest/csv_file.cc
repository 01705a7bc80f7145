#include "site_agent/ingest/csv_file.h"

#include <ext/stdio_filebuf.h>

#include <utility>

#include "protocol/core/regular_file.h"
#include "protocol/core/status_macros.h"

namespace consilium {
namespace {

// std::ifstream opens paths alone; libstdc++ has a buffer for what is open.
class CsvFile final : public std::istream {
 public:
  explicit CsvFile(RegularFile file)
      : std::istream(nullptr), buffer_(file.Release(), std::ios::in | std::ios::binary) {
    init(&buffer_);
  }

 private:
  __gnu_cxx::stdio_filebuf<char> buffer_;  // Closes the file.
};

}  // namespace

absl::StatusOr<std::unique_ptr<std::istream>> OpenCsvFile(const std::string& path) {
  CONSILIUM_ASSIGN_OR_RETURN(RegularFile file, RegularFile::Open(path));
  return std::make_unique<CsvFile>(std::move(file));
}

}  // namespace consilium
