// A raw row as bytes for the site's sealed store, and back. Little endian:
//   u8 version ‖ u32 columns ‖ f64 × columns ‖ f64 label ‖ u16 id bytes ‖ id
// A row without tensors is of version 1. One with tensors is of version 2, and goes on with
//   ‖ u32 numbers ‖ f32 × numbers
//
// Threads: any.

#ifndef CONSILIUM_SITE_AGENT_INGEST_ROW_CODEC_H_
#define CONSILIUM_SITE_AGENT_INGEST_ROW_CODEC_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "site_agent/ingest/raw_row.h"

namespace consilium {

// `row` is one that ImportCsv or ImportArrays made.
std::string EncodeRow(const RawRow& row);

// DATA_LOSS where the bytes are not a row: another version, a wrong length, more columns than
// limits::kCsvColumnsMax or more numbers of tensors than limits::kFeaturesMax, a label or a number
// of a tensor that is none, an infinity. Allocates no more than the bytes stand for.
absl::StatusOr<RawRow> DecodeRow(absl::string_view bytes);

}  // namespace consilium

#endif  // CONSILIUM_SITE_AGENT_INGEST_ROW_CODEC_H_
