// The aggregator as a whole: its store, its engine, its listeners. A program is this and its flags;
// tests run it in their own process.
//
// The data folder (0700):
//   store/            encrypted database and sealed blobs: all that a backup needs
//   tls/              the servers' key and certificate; they renew themselves
//   admin.sock        who may open it is the operator (0600)
//   addresses.json    {"main": "host:port", "enrolment": "host:port"}: where it listens now
// The key that opens the store lies outside, so that no copy of the folder opens itself.
//
// Ownership: holds all parts. Threads: any; see docs/architecture.md for those it starts.

#ifndef CONSILIUM_AGGREGATOR_SERVER_AGGREGATOR_H_
#define CONSILIUM_AGGREGATOR_SERVER_AGGREGATOR_H_

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "aggregator/server/arrival_gate.h"
#include "protocol/core/clock.h"

namespace consilium {

class Aggregator {
 public:
  struct InitOptions {
    std::string data;
    std::string pki;
    std::string federation;
    // As sites reach it, "host:port"; port 0: whatever is free at each start.
    std::string address;
    std::string enrolment_address;
    // Where it listens; empty: at the addresses above. For a machine behind another name.
    std::string listen = "";
    std::string enrolment_listen = "";
    // Outside the data folder; empty: DefaultKeyFile(data).
    std::string key_file = "";
  };
  // <data>-key/aggregator.kek, beside the data folder.
  static std::string DefaultKeyFile(const std::string& data);
  // Makes the data folder, after a look at all that it was given; goes on where a try before did
  // not come to its end. INVALID_ARGUMENT for an address or name; ALREADY_EXISTS;
  // FAILED_PRECONDITION where the keys do not fit together; the disk's errors.
  static absl::Status Init(const InitOptions& options);

  struct ServeOptions {
    std::string data;
    std::string key_file = "";
    // Where it listens this time; empty: as `init` was told.
    std::string listen = "";
    std::string enrolment_listen = "";
    std::string software_version = "";
    // Plain vectors kept in memory.
    size_t cache_bytes_max = size_t{512} << 20;
    int compute_threads = 2;
    // Called at most once, from a thread of its own, where the process can not go on and should be
    // started anew: too many connections were open, after which gRPC accepts none any more.
    std::function<void(const absl::Status&)> on_failure = nullptr;
    // Tests only.
    std::optional<ArrivalGate> gate = std::nullopt;
  };
  // Recovers and begins to serve. The store's errors; UNAVAILABLE where a port is taken, or no
  // address of this machine has the name to listen on; INVALID_ARGUMENT for no host:port.
  static absl::StatusOr<std::unique_ptr<Aggregator>> Start(ServeOptions options);
  // Ends streams and calls, finishes the batch in work, signs the journal's head.
  ~Aggregator();
  Aggregator(const Aggregator&) = delete;
  Aggregator& operator=(const Aggregator&) = delete;

  // "host:port" with the ports that are in use.
  const std::string& main_address() const;
  const std::string& enrolment_address() const;

 private:
  class Impl;
  explicit Aggregator(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace consilium

#endif  // CONSILIUM_AGGREGATOR_SERVER_AGGREGATOR_H_
