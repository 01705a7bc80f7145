#include "sim/datasets/idx_writer.h"

#include <bit>

namespace consilium {
namespace {

void AppendBigEndian(uint32_t value, std::string& to) {
  for (int shift = 24; shift >= 0; shift -= 8) to.push_back(static_cast<char>(value >> shift));
}

std::string HeaderOfRows(IdxType type, size_t rows) {
  const uint32_t shape[] = {static_cast<uint32_t>(rows)};
  return IdxHeader(type, shape);
}

}  // namespace

std::string IdxHeader(IdxType type, std::span<const uint32_t> shape) {
  std::string header(2, '\0');
  header.push_back(static_cast<char>(type));
  header.push_back(static_cast<char>(shape.size()));
  for (const uint32_t size : shape) AppendBigEndian(size, header);
  return header;
}

void AppendIdxInt32(int32_t item, std::string& to) {
  AppendBigEndian(static_cast<uint32_t>(item), to);
}

void AppendIdxFloat(float item, std::string& to) {
  AppendBigEndian(std::bit_cast<uint32_t>(item), to);
}

std::string IdxOfBytes(std::span<const uint8_t> items) {
  std::string file = HeaderOfRows(IdxType::kUnsignedByte, items.size());
  file.append(items.begin(), items.end());
  return file;
}

std::string IdxOfInt32(std::span<const int32_t> items) {
  std::string file = HeaderOfRows(IdxType::kInt32, items.size());
  for (const int32_t item : items) AppendIdxInt32(item, file);
  return file;
}

}  // namespace consilium
