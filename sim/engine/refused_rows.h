// What the simulator says of rows that a contract refuses.
//
// Threads: any.

#ifndef CONSILIUM_SIM_ENGINE_REFUSED_ROWS_H_
#define CONSILIUM_SIM_ENGINE_REFUSED_ROWS_H_

#include <cstdint>
#include <string>

#include "site_agent/ingest/contract_check.h"

namespace consilium {

// They are left out, as at a hospital's import. Warns of it, once for a file; nothing where
// `refused` is 0, and `first` is then not looked at.
void WarnOfRefusedRows(const std::string& path, uint64_t read, uint64_t refused,
                       const RowRefusal& first);

}  // namespace consilium

#endif  // CONSILIUM_SIM_ENGINE_REFUSED_ROWS_H_
