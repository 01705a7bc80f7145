#include "sim/report/event_records.h"

#include <array>
#include <bit>
#include <cstddef>

namespace consilium {
namespace {

constexpr std::array<uint32_t, 256> Table() {
  std::array<uint32_t, 256> table = {};
  for (uint32_t byte = 0; byte < 256; ++byte) {
    uint32_t value = byte;
    for (int bit = 0; bit < 8; ++bit) value = (value >> 1) ^ ((value & 1) != 0 ? 0x82F63B78U : 0);
    table[byte] = value;
  }
  return table;
}

template <typename Number>
void AppendLittleEndian(Number number, std::string& out) {
  for (size_t i = 0; i < sizeof(Number); ++i) {
    out.push_back(static_cast<char>(static_cast<uint8_t>(number >> (8 * i))));
  }
}

// A record's checksums are rotated and shifted, so that one over bytes that hold another differs.
uint32_t Masked(uint32_t crc) { return std::rotr(crc, 15) + 0xA282EAD8U; }

// Protobuf's wire types.
enum WireType : uint32_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

void AppendRawVarint(uint64_t value, std::string& out) {
  for (; value >= 0x80; value >>= 7) out.push_back(static_cast<char>(value | 0x80));
  out.push_back(static_cast<char>(value));
}

void AppendTag(uint32_t field, WireType type, std::string& out) {
  AppendRawVarint(field << 3 | type, out);
}

// Event{ double wall_time = 1; int64 step = 2; string file_version = 3; Summary summary = 5; }
std::string EventAt(const EventTime& at) {
  std::string event;
  AppendDoubleField(1, at.wall_time, event);
  AppendVarintField(2, at.step, event);
  return event;
}

}  // namespace

uint32_t Crc32c(absl::string_view bytes) {
  static constexpr std::array<uint32_t, 256> kTable = Table();
  uint32_t crc = ~uint32_t{0};
  for (const char byte : bytes)
    crc = (crc >> 8) ^ kTable[(crc ^ static_cast<uint8_t>(byte)) & 0xFF];
  return ~crc;
}

void AppendVarintField(uint32_t field, uint64_t value, std::string& out) {
  AppendTag(field, kVarint, out);
  AppendRawVarint(value, out);
}

void AppendBytesField(uint32_t field, absl::string_view bytes, std::string& out) {
  AppendTag(field, kBytes, out);
  AppendRawVarint(bytes.size(), out);
  out.append(bytes.data(), bytes.size());
}

void AppendDoubleField(uint32_t field, double value, std::string& out) {
  AppendTag(field, kFixed64, out);
  AppendLittleEndian(std::bit_cast<uint64_t>(value), out);
}

void AppendFloatField(uint32_t field, float value, std::string& out) {
  AppendTag(field, kFixed32, out);
  AppendLittleEndian(std::bit_cast<uint32_t>(value), out);
}

void AppendEventRecord(const std::string& event, std::string& file) {
  std::string length;
  AppendLittleEndian(static_cast<uint64_t>(event.size()), length);
  file += length;
  AppendLittleEndian(Masked(Crc32c(length)), file);
  file += event;
  AppendLittleEndian(Masked(Crc32c(event)), file);
}

std::string BeginEventFile() {
  std::string file;
  std::string first = EventAt({});
  AppendBytesField(3, "brain.Event:2", first);
  AppendEventRecord(first, file);
  return file;
}

// Summary{ repeated Value value = 1; }
void AppendValue(const EventTime& at, const std::string& value, std::string& file) {
  std::string summary;
  AppendBytesField(1, value, summary);
  std::string event = EventAt(at);
  AppendBytesField(5, summary, event);
  AppendEventRecord(event, file);
}

// Value{ string tag = 1; float simple_value = 2; }
void AppendScalar(const EventTime& at, absl::string_view tag, double value, std::string& file) {
  std::string scalar;
  AppendBytesField(1, tag, scalar);
  AppendFloatField(2, static_cast<float>(value), scalar);
  AppendValue(at, scalar, file);
}

}  // namespace consilium
