// A run's report as people read it.
//
// Threads: any.

#ifndef CONSILIUM_CLI_RUN_TEXT_H_
#define CONSILIUM_CLI_RUN_TEXT_H_

#include <string>

#include "consilium/v1/admin.pb.h"

namespace consilium {

std::string RunText(const v1::RunReport& report);
// One line, for watching.
std::string ProgressText(const v1::RunReport& report);

}  // namespace consilium

#endif  // CONSILIUM_CLI_RUN_TEXT_H_
