// A whole aggregator in the test's process or in another, and sites that talk to it over real
// mutual TLS on 127.0.0.1. A site enrols with a join file, attaches, approves whatever it is
// offered, and then does what the test says; or, in Participate(), all that an agent would do, with
// updates that are a function of its name and the task.
//
// Threads: a FakeSite's calls come from one thread; Upload() from any.

#ifndef CONSILIUM_TESTS_AGGREGATOR_SERVER_FAKE_SITE_H_
#define CONSILIUM_TESTS_AGGREGATOR_SERVER_FAKE_SITE_H_

#include <gtest/gtest.h>

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "aggregator/server/aggregator.h"
#include "aggregator/server/sqlcipher_store.h"
#include "consilium/v1/admin.grpc.pb.h"
#include "consilium/v1/coordination.pb.h"
#include "consilium/v1/enrolment.pb.h"
#include "consilium/v1/transfer.pb.h"
#include "protocol/core/ids.h"
#include "protocol/rpc/coordination_link.h"
#include "protocol/rpc/transfer_client.h"
#include "protocol/wire/signing_key.h"
#include "tests/fakes/temp_folder.h"

namespace consilium::testing {

// Longer than anything here takes, so that a hang fails instead of hanging.
inline constexpr absl::Duration kPatience = absl::Seconds(60);

// What `consilium pki init` writes for an aggregator, without the root's key.
void MakePki(const std::string& folder, const std::string& federation);

// An aggregator of whatever process, known by its folders: what its operator and its sites need of
// it. The folders go with this object.
class AggregatorAccess {
 public:
  AggregatorAccess();

  // Makes the federation's keys and the aggregator's data.
  void Init(const std::string& federation) const;
  // To be called when it has started.
  void Connect();

  v1::Admin::Stub& admin() const { return *admin_; }
  const std::string& data() const { return data_; }
  const std::string& pki() const { return pki_; }
  std::string root_pem() const;
  const std::string& main_address() const { return main_address_; }

  enum class Occasion { kFirst, kAgain };
  v1::JoinFile AddSite(const std::string& site, Occasion occasion = Occasion::kFirst);
  std::string Submit(const v1::RunPlan& plan);
  v1::RunReport Report(const std::string& run);
  // Watches the run until `reached` likes its report.
  v1::RunReport Await(const std::string& run,
                      const std::function<bool(const v1::RunReport&)>& reached);
  // All files under the run's blobs.
  size_t BlobFiles(const std::string& run) const;

 private:
  TempFolder folder_;
  std::string pki_;
  std::string data_;
  std::string main_address_;
  std::unique_ptr<v1::Admin::Stub> admin_;
};

// One in this process.
class LiveAggregator : public AggregatorAccess {
 public:
  explicit LiveAggregator(const std::string& federation = "test-federation");

  // Stops it if it runs, and starts it on the same data folder.
  void Restart(Aggregator::ServeOptions options = {});
  void Stop() { aggregator_.reset(); }

  // Of one that is stopped.
  std::unique_ptr<SqlcipherStore> OpenStore() const;

  Aggregator& aggregator() { return *aggregator_; }

 private:
  std::unique_ptr<Aggregator> aggregator_;
};

// What a site keeps over its restarts; copying it clones the site.
struct SiteStore {
  std::string certificate_folder;
  std::string root_pem;
  std::string aggregator_key;
  std::string private_signing_key;
  std::string lease;  // That both sides last confirmed.
  uint64_t incarnation = 0;

  SigningKey KeyPair() const;
};

class FakeSite final : public CoordinationLink::Handler {
 public:
  // Enrols; failures fail the test.
  FakeSite(AggregatorAccess& aggregator, const std::string& site);
  // A copy of a site's store.
  FakeSite(AggregatorAccess& aggregator, const std::string& site, SiteStore store);
  ~FakeSite() override;

  struct HelloOptions {
    std::string software_version = "fake";
    std::vector<std::string> runs;  // Whose progress it tells of.
  };
  // Opens the control stream and confirms the lease; the refusal where it is not welcome.
  absl::Status Attach(const HelloOptions& options);
  absl::Status Attach() { return Attach(HelloOptions()); }
  void Detach() { link_.reset(); }
  // The status with which the stream ended; waits for that.
  absl::Status AwaitClosed();

  // Waits for the next directive that `wanted` likes; the others before it are kept for later
  // calls.
  v1::Directive AwaitDirective(const std::function<bool(const v1::Directive&)>& wanted);
  v1::TaskOffer AwaitTask();
  v1::ModelAvailable AwaitModel(uint64_t version_min);
  v1::Receipt AwaitReceipt(v1::Receipt::Kind kind, uint64_t task);
  // False where the stream has ended, or too much waits in it.
  bool Send(const v1::SiteEvent& event) { return link_->Send(event); }
  bool IsClosed();
  // Waits for the offer and approves it.
  void Approve(uint64_t train_examples);

  struct Update {
    v1::UpdateHeader header;
    std::vector<float> values;
  };
  // Of an update for the task on the announced model; what speaks of its payload is not set.
  v1::UpdateHeader MakeHeader(const v1::TaskOffer& task, const v1::ModelAvailable& base) const;
  // For the task, on the announced model; values are a function of site and task.
  Update MakeUpdate(const v1::TaskOffer& task, const v1::ModelAvailable& base) const;
  // After values were changed: size and root as they are now.
  static void Rehash(Update& update);
  absl::StatusOr<v1::Receipt> Upload(const Update& update);
  absl::StatusOr<std::vector<float>> Fetch(const std::string& run, uint64_t version);

  // Sends what the announcement asks for.
  void Evaluate(const v1::ModelAvailable& model);
  // Trains every task that is offered until the run ends; gives all receipts that it got.
  std::vector<v1::Receipt> Participate(uint64_t train_examples);

  const std::string& name() const { return name_; }
  SiteStore& store() { return store_; }
  const std::shared_ptr<grpc::Channel>& bulk() const { return bulk_; }

  void OnDirective(v1::Directive directive) override ABSL_LOCKS_EXCLUDED(mu_);
  void OnClosed(const absl::Status& why) override ABSL_LOCKS_EXCLUDED(mu_);

 private:
  void Connect();

  AggregatorAccess& aggregator_;
  const std::string name_;
  TempFolder folder_;
  SiteStore store_;
  std::shared_ptr<grpc::Channel> control_;
  std::shared_ptr<grpc::Channel> bulk_;
  std::unique_ptr<CoordinationLink> link_;
  mutable absl::Mutex mu_;
  std::map<std::string, std::string> layouts_ ABSL_GUARDED_BY(mu_);  // By run.
  std::deque<v1::Directive> directives_ ABSL_GUARDED_BY(mu_);
  std::optional<absl::Status> closed_ ABSL_GUARDED_BY(mu_);
};

}  // namespace consilium::testing

#endif  // CONSILIUM_TESTS_AGGREGATOR_SERVER_FAKE_SITE_H_
