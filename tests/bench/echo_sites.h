// Sites that train nothing: each fetches the version, sends updates of its size, and waits for the
// version that they make. So a round costs what the aggregator and the way to it cost, and no more.
//
// Threads: one, which starts one for each site in each round.

#ifndef CONSILIUM_TESTS_BENCH_ECHO_SITES_H_
#define CONSILIUM_TESTS_BENCH_ECHO_SITES_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "protocol/rpc/payload_source.h"
#include "tests/aggregator/server/fake_site.h"

namespace consilium::bench {

// A perceptron of about so many parameters (0: the smallest there is).
struct EchoPlanOptions {
  uint64_t parameters = 0;
  // In text format. A version is to be made of as many updates as there are sites.
  std::string aggregation = "preset: FEDAVG trigger { barrier {} }";
};
v1::RunPlan EchoPlan(const EchoPlanOptions& options);

class EchoSites {
 public:
  // Enrols `sites` at the aggregator, attaches them, and has them approve a run of the plan.
  EchoSites(testing::AggregatorAccess& aggregator, int sites, const v1::RunPlan& plan);

  // Of one version, or one update.
  uint64_t payload_bytes() const { return payload_bytes_; }
  int size() const { return static_cast<int>(sites_.size()); }

  struct Exchange {
    enum class Fetching { kWithFetch, kUploadOnly } fetching = Fetching::kWithFetch;
    // Each site sends so many, one after the other. With a barrier: 1.
    int updates = 1;
  };
  // How long after the beginning ...
  struct Times {
    absl::Duration accepted;  // ... the last site had the receipt of its last update,
    absl::Duration made;      // ... the last site knew the version that the last updates made.
  };
  // All sites at once.
  Times Run(const Exchange& exchange);
  // The same transfers with another server, which answers each upload and makes nothing.
  absl::Duration RunControl(const Exchange& exchange, const std::string& address);

 private:
  struct Site {
    std::unique_ptr<testing::FakeSite> link;
    v1::TaskOffer task;
    v1::ModelAvailable model;
    std::vector<uint8_t> fetched;
    std::shared_ptr<grpc::Channel> control;
  };
  // Runs `work` for all sites at once; the time of the slowest.
  absl::Duration AtOnce(const std::function<void(Site&)>& work);
  void Fetch(Site& site, const std::shared_ptr<grpc::Channel>& channel) const;
  void Upload(const Site& site, const std::shared_ptr<grpc::Channel>& channel) const;
  static void AwaitModel(Site& site, uint64_t version);
  static void AwaitTask(Site& site);

  testing::AggregatorAccess& aggregator_;
  std::vector<Site> sites_;
  uint64_t payload_bytes_ = 0;
  SharedBytes update_;
  std::string update_root_;
};

}  // namespace consilium::bench

#endif  // CONSILIUM_TESTS_BENCH_ECHO_SITES_H_
