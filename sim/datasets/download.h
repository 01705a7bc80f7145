// One file over HTTP. What the server sends is believed in nothing: not in how much it is, not in
// where it goes on, not in where it leads. Its SHA-256 is checked by who has asked for it.
//
// Threads: one.

#ifndef CONSILIUM_SIM_DATASETS_DOWNLOAD_H_
#define CONSILIUM_SIM_DATASETS_DOWNLOAD_H_

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/status.h"
#include "sim/datasets/part_file.h"

namespace consilium {

inline constexpr int kRedirectsMax = 5;
inline constexpr int kAttemptsMax = 10;  // Each of which must bring more.
inline constexpr int kConnectSecondsMax = 30;
inline constexpr int kSilentSecondsMax = 60;  // Without a single byte.

struct Download {
  std::string url;     // http or https. From https it is only led on to https.
  uint64_t bytes = 0;  // Of the whole file.
  std::function<void(uint64_t bytes)> progress = [](uint64_t) {};
};

// Goes on where `part` ends (RFC 9110, 14: Range), from the beginning where the server does not do
// that; and goes on by itself when a transfer is cut off, for as long as each attempt brings more.
//   NOT_FOUND            it answers 404 or 410
//   RESOURCE_EXHAUSTED   it sends more than download.bytes, or the disk is full
//   FAILED_PRECONDITION  it leads elsewhere too often or by another protocol, refuses, or goes on
//                        at another byte than it was asked to
//   UNAVAILABLE          all else; what has come is kept
absl::Status FetchUrl(const Download& download, PartFile& part);

}  // namespace consilium

#endif  // CONSILIUM_SIM_DATASETS_DOWNLOAD_H_
