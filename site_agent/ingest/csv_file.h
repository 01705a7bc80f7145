// A CSV file as CsvReader takes it.
//
// Threads: any.

#ifndef CONSILIUM_SITE_AGENT_INGEST_CSV_FILE_H_
#define CONSILIUM_SITE_AGENT_INGEST_CSV_FILE_H_

#include <istream>
#include <memory>
#include <string>

#include "absl/status/statusor.h"

namespace consilium {

// Errors as of RegularFile::Open.
absl::StatusOr<std::unique_ptr<std::istream>> OpenCsvFile(const std::string& path);

}  // namespace consilium

#endif  // CONSILIUM_SITE_AGENT_INGEST_CSV_FILE_H_
