// The parts of a server without its listeners: a store in a folder of its own, and an engine loop
// whose sites are names. For tests of what happens between an input and its consequences.
//
// Threads: one.

#ifndef CONSILIUM_TESTS_AGGREGATOR_SERVER_SERVER_PARTS_H_
#define CONSILIUM_TESTS_AGGREGATOR_SERVER_SERVER_PARTS_H_

#include <gtest/gtest.h>

#include <atomic>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/synchronization/notification.h"
#include "aggregator/server/engine_loop.h"
#include "aggregator/server/sqlcipher_store.h"
#include "consilium/v1/journal.pb.h"
#include "tests/fakes/temp_folder.h"

namespace consilium::testing {

// Passes everything on, but for appends while the disk is "full", and for results of programs
// beyond the first results_max.
class FullDiskStore final : public Store {
 public:
  explicit FullDiskStore(Store& store) : store_(store) {}
  std::atomic<bool> full = false;
  std::atomic<int> refused = 0;
  std::atomic<int> results_max = std::numeric_limits<int>::max();
  absl::Notification result_refused;

  absl::StatusOr<std::optional<std::string>> Value(absl::string_view name) override {
    return store_.Value(name);
  }
  absl::Status PutValue(absl::string_view name, absl::string_view value) override {
    return store_.PutValue(name, value);
  }
  absl::Status Invite(const Invitation& invitation) override { return store_.Invite(invitation); }
  absl::StatusOr<std::vector<Invitation>> Invitations() override { return store_.Invitations(); }
  absl::Status RemoveToken(const SiteId& site) override { return store_.RemoveToken(site); }
  absl::Status Enrol(const EnrolledSite& enrolled) override { return store_.Enrol(enrolled); }
  absl::Status AddCertificate(const CertificateRecord& certificate,
                              std::span<const Digest> forgotten) override {
    return store_.AddCertificate(certificate, forgotten);
  }
  absl::Status Revoke(const SiteId& site) override { return store_.Revoke(site); }
  absl::Status NoteSeen(const SiteId& site, absl::Time when, absl::string_view version) override {
    return store_.NoteSeen(site, when, version);
  }
  absl::StatusOr<std::vector<SiteRecord>> Sites() override { return store_.Sites(); }
  absl::StatusOr<std::vector<CertificateRecord>> Certificates() override {
    return store_.Certificates();
  }
  absl::StatusOr<ChainHead> Append(std::span<const std::string> entries) override {
    int results = 0;
    for (const std::string& entry : entries) {
      v1::JournalEntry parsed;
      if (parsed.ParseFromString(entry) && parsed.has_compute_done()) ++results;
    }
    const bool too_many = results > 0 && results_ + results > results_max;
    if (full || too_many) {
      ++refused;
      if (too_many && !result_refused.HasBeenNotified()) result_refused.Notify();
      return absl::ResourceExhaustedError("the disk is full");
    }
    results_ += results;
    return store_.Append(entries);
  }
  absl::StatusOr<ChainHead> Head() override { return store_.Head(); }
  absl::Status ReadJournal(Sequence from,
                           absl::FunctionRef<absl::Status(const ChainRow&)> visit) const override {
    return store_.ReadJournal(from, visit);
  }
  absl::StatusOr<std::shared_ptr<BlobStore>> Blobs(const RunId& run) override {
    return store_.Blobs(run);
  }
  absl::StatusOr<uint64_t> RemoveBlobs(const RunId& run) override {
    return store_.RemoveBlobs(run);
  }

 private:
  Store& store_;
  int results_ = 0;  // Of programs, in the journal.
};

class CountingSigner final : public ReceiptSigner {
 public:
  using ReceiptSigner::ReceiptSigner;
  v1::Receipt Sign(const federation::SendReceipt& receipt) const override {
    ++signed_receipts;
    return ReceiptSigner::Sign(receipt);
  }
  mutable std::atomic<int> signed_receipts = 0;
};

class ServerParts {
 public:
  ServerParts()
      : kek_(*Kek::Random()),
        disk_(*SqlcipherStore::Create(kek_, folder_.File("store"))),
        store_(*disk_),
        receipts_(*SigningKey::Generate()),
        vectors_(store_, 1 << 20) {
    Start();
  }
  ~ServerParts() { loop_.reset(); }

  // A fresh engine from the same journal.
  void Start(std::optional<ArrivalGate> gate = std::nullopt) {
    loop_.reset();
    auto loop = EngineLoop::Start({.store = store_,
                                   .clock = clock_,
                                   .receipts = receipts_,
                                   .links = links_,
                                   .runs = runs_,
                                   .vectors = vectors_,
                                   .staged = staged_,
                                   .compute_threads = 1,
                                   .gate = std::move(gate)});
    ASSERT_TRUE(loop.ok()) << loop.status();
    loop_ = *std::move(loop);
  }

  // What is not in the journal by now is lost.
  void Stop() { loop_.reset(); }

  EngineLoop& loop() { return *loop_; }
  FullDiskStore& store() { return store_; }
  LinkTable& links() { return links_; }
  RunIndex& runs() { return runs_; }
  RunVectors& vectors() { return vectors_; }
  StagedBlobs& staged() { return staged_; }
  const CountingSigner& receipts() const { return receipts_; }
  Digest StateDigest() {
    Digest digest = {};
    EXPECT_TRUE(loop_
                    ->Inspect([&digest](const federation::FederationEngine& engine) {
                      digest = engine.StateDigest();
                    })
                    .ok());
    return digest;
  }

 private:
  TempFolder folder_;
  Kek kek_;
  std::unique_ptr<SqlcipherStore> disk_;
  FullDiskStore store_;
  SystemClock clock_;
  CountingSigner receipts_;
  LinkTable links_;
  RunIndex runs_;
  RunVectors vectors_;
  StagedBlobs staged_;
  std::unique_ptr<EngineLoop> loop_;
};

}  // namespace consilium::testing

#endif  // CONSILIUM_TESTS_AGGREGATOR_SERVER_SERVER_PARTS_H_
