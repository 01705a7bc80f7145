// The bytes of TensorBoard's event files: length-prefixed, checksummed records, each an Event
// message (tensorboard/compat/proto/event.proto), and the fields of the messages in it.
//
// Threads: any.

#ifndef CONSILIUM_SIM_REPORT_EVENT_RECORDS_H_
#define CONSILIUM_SIM_REPORT_EVENT_RECORDS_H_

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"

namespace consilium {

// CRC-32C (Castagnoli, RFC 3720 appendix B.4), as the records carry it.
uint32_t Crc32c(absl::string_view bytes);

// Fields of a Protobuf message.
void AppendVarintField(uint32_t field, uint64_t value, std::string& out);
void AppendBytesField(uint32_t field, absl::string_view bytes, std::string& out);
void AppendDoubleField(uint32_t field, double value, std::string& out);
void AppendFloatField(uint32_t field, float value, std::string& out);

// The first record of every file.
std::string BeginEventFile();

struct EventTime {
  double wall_time = 0;  // Seconds.
  uint64_t step = 0;
};
// A record of one Summary.Value, whose bytes `value` are.
void AppendValue(const EventTime& at, const std::string& value, std::string& file);
void AppendScalar(const EventTime& at, absl::string_view tag, double value, std::string& file);

}  // namespace consilium

#endif  // CONSILIUM_SIM_REPORT_EVENT_RECORDS_H_
