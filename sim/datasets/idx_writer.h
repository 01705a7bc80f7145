// Arrays as IDX files, which site_agent/ingest/array_files.h reads: bytes that are the same on
// every machine, as those of an archive are not.
//
// Threads: any.

#ifndef CONSILIUM_SIM_DATASETS_IDX_WRITER_H_
#define CONSILIUM_SIM_DATASETS_IDX_WRITER_H_

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace consilium {

// The values are the type's code in the file.
enum class IdxType : uint8_t { kUnsignedByte = 0x08, kInt32 = 0x0c, kFloat = 0x0d };

// What stands before the items: 4 bytes, and 4 for each dimension. `shape` has 1 to 255 dimensions.
std::string IdxHeader(IdxType type, std::span<const uint32_t> shape);

void AppendIdxInt32(int32_t item, std::string& to);
void AppendIdxFloat(float item, std::string& to);

// One item a row.
std::string IdxOfBytes(std::span<const uint8_t> items);
std::string IdxOfInt32(std::span<const int32_t> items);

}  // namespace consilium

#endif  // CONSILIUM_SIM_DATASETS_IDX_WRITER_H_
