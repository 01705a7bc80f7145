// Every limit that a byte from outside meets, in one place. A limit is named by what it bounds and
// its unit; beside it stands what happens beyond it.

#ifndef CONSILIUM_PROTOCOL_WIRE_LIMITS_H_
#define CONSILIUM_PROTOCOL_WIRE_LIMITS_H_

#include <cstddef>
#include <cstdint>

#include "absl/time/time.h"

namespace consilium::limits {

// Wire versions that this build speaks; Hello and UpdateHeader carry them (WIRE_VERSION).
inline constexpr uint32_t kWireVersion = 1;
inline constexpr uint32_t kWireVersionMin = 1;

// Names (NameId and those in files).
inline constexpr size_t kSiteIdCharsMax = 63;
inline constexpr size_t kRunIdCharsMax = 63;
inline constexpr size_t kNameCharsMax = 64;

// Files that people write; longer ones are not read (RESOURCE_EXHAUSTED).
inline constexpr size_t kTextFileBytesMax = 1 << 20;
inline constexpr size_t kJoinFileBytesMax = 64 << 10;
inline constexpr size_t kCertificateBytesMax = 64 << 10;

// Model specs (SPEC_REFUSED).
inline constexpr size_t kSpecLayersMax = 4096;
inline constexpr size_t kSpecParametersMax = 64;
inline constexpr size_t kExpressionCharsMax = 256;
inline constexpr int kExpressionDepthMax = 32;
inline constexpr int64_t kDimensionMax = int64_t{1} << 24;
inline constexpr size_t kRankMax = 8;
inline constexpr uint64_t kModelElementsMax = uint64_t{1} << 34;

// Tensors and their files.
inline constexpr size_t kTensorsMax = 16384;
inline constexpr size_t kTensorNameCharsMax = 256;
inline constexpr size_t kSafetensorsHeaderBytesMax = 16 << 20;

// Transfer (OVERSIZE): one chunk, and one update or model.
inline constexpr size_t kChunkBytes = 1 << 20;                      // What we send.
inline constexpr size_t kChunkBytesMax = kChunkBytes + (64 << 10);  // What we accept.
inline constexpr size_t kChunkHeaderBytesMax = 16 << 10;            // UpdateHeader, ModelHeader.
inline constexpr uint64_t kPayloadBytesMax = uint64_t{64} << 30;
inline constexpr size_t kMerkleLeafBytes = 1 << 20;

// One control message: a run plan with its contract is the largest.
inline constexpr size_t kControlMessageBytesMax = 4 << 20;
inline constexpr size_t kMetadataBytesMax = 16 << 10;
inline constexpr size_t kAddressCharsMax = 300;  // host:port

// Statistics and evaluation.
inline constexpr size_t kFeaturesMax = 65536;
inline constexpr size_t kClassesMax = 4096;

// Federation.
inline constexpr size_t kSitesMax = 10000;
inline constexpr size_t kRunsMax = 10000;
inline constexpr size_t kTableSitesMax = 200;     // Beyond it a table of latest updates is refused.
inline constexpr uint32_t kTasksInFlightMax = 2;  // Per site and run; also the outbox's size.
inline constexpr size_t kHeldReceiptsMax = 1024;  // In one Hello.

// What one aggregator may ask of a site; beyond it the engine raises an alarm and goes on.
inline constexpr size_t kSiteRunsOpenMax = 256;   // Neither refused nor ended.
inline constexpr size_t kSiteGrantsOpenMax = 16;  // Tasks of one run not yet acknowledged.
inline constexpr size_t kSiteTasksPerRunMax = 1 << 20;
inline constexpr uint32_t kLocalStepsMax = 1000000;
inline constexpr uint64_t kSiteExamplesMax = 1'000'000'000;  // That one site may state.
inline constexpr size_t kSiteModelsWantedMax = 1024;         // Of one run, to be fetched.
inline constexpr size_t kSiteVersionsKnownMax = 4096;        // Of one run, the newest.

// Streams and queues of the servers (BUSY).
inline constexpr int kStreamsPerConnectionMax = 8;
inline constexpr size_t kEngineQueueMax = 4096;
inline constexpr size_t kDirectiveQueueMax = 8192;  // Per site; a slower reader is disconnected.
inline constexpr int kUploadsInFlightMax = 64;
inline constexpr int kUploadsPerSiteMax = 8;
inline constexpr int kDownloadsInFlightMax = 256;
inline constexpr int kDownloadsPerSiteMax = 8;
inline constexpr absl::Duration kHandshakeTimeout = absl::Seconds(10);
inline constexpr absl::Duration kConnectionAgeMax = absl::Hours(1);
// An upload that brings no byte for so long, and a download that takes none, is given up
// (TRUNCATED).
inline constexpr absl::Duration kUploadIdleMax = absl::Minutes(2);
// A control stream must begin with its Hello within this.
inline constexpr absl::Duration kHelloTimeout = absl::Seconds(10);

// CSV files at import.
inline constexpr uint64_t kCsvFileBytesMax = uint64_t{16} << 30;
inline constexpr size_t kCsvLineBytesMax = 1 << 20;
inline constexpr size_t kCsvColumnsMax = 65536;
inline constexpr size_t kRefusedRowsReportedMax = 1000;  // The rest is counted.
inline constexpr size_t kPatientIdBytesMax = 256;        // A longer one refuses the row.
inline constexpr int kCategoryValuesMax = 256;           // In a contract's column.

// NPZ and IDX files (RESOURCE_EXHAUSTED).
inline constexpr uint64_t kArrayFileBytesMax = uint64_t{4} << 30;
inline constexpr uint64_t kArrayBytesMax = uint64_t{2} << 30;  // Of one array, unpacked.
inline constexpr size_t kArrayRankMax = 8;
inline constexpr uint64_t kArchiveArraysMax = 4096;
inline constexpr size_t kNpyHeaderBytesMax = 64 << 10;

// Keys and certificates.
inline constexpr absl::Duration kJoinTokenLifetime = absl::Hours(24);
inline constexpr absl::Duration kSiteCertificateLifetime = absl::Hours(7 * 24);

}  // namespace consilium::limits

#endif  // CONSILIUM_PROTOCOL_WIRE_LIMITS_H_
