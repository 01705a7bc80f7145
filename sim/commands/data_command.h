// `consilium-sim data list` and `data fetch`: the data sets that have a name here.
//
// Threads: one.

#ifndef CONSILIUM_SIM_COMMANDS_DATA_COMMAND_H_
#define CONSILIUM_SIM_COMMANDS_DATA_COMMAND_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"

namespace consilium {

struct DataListCommand {
  std::vector<std::string>
      names;                // With all that is known of them; empty: a line for each there is.
  std::string data_folder;  // Looked into first; may be empty.
  enum class Output : uint8_t { kText, kJson } output = Output::kText;
};

// Every file that is there is checked. INVALID_ARGUMENT for a name that there is not; DATA_LOSS, in
// the end, where a data set's files are there and others than they must be.
absl::Status Execute(const DataListCommand& command);

struct DataFetchCommand {
  std::vector<std::string> names;
  std::string from;  // sim/datasets/fetch.h
  std::string into;  // Empty: DefaultDatasetsFolder().
  enum class Output : uint8_t { kText, kJson } output = Output::kText;
};

// INVALID_ARGUMENT for a name that there is not, before anything is fetched; otherwise as
// FetchDataset.
absl::Status Execute(const DataFetchCommand& command);

}  // namespace consilium

#endif  // CONSILIUM_SIM_COMMANDS_DATA_COMMAND_H_
