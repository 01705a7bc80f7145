// What operators ask (admin.proto), on a Unix socket that only the aggregator's user can open.
//
// Ownership: borrows the parts of the server, which outlive it. Threads: any (gRPC's, one for each
// call; WatchRun's waits).

#ifndef CONSILIUM_AGGREGATOR_SERVER_ADMIN_SERVICE_H_
#define CONSILIUM_AGGREGATOR_SERVER_ADMIN_SERVICE_H_

#include <grpcpp/server_context.h>
#include <grpcpp/support/sync_stream.h>

#include <functional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "absl/time/time.h"
#include "aggregator/server/engine_loop.h"
#include "aggregator/server/run_index.h"
#include "aggregator/server/run_vectors.h"
#include "aggregator/server/server_identity.h"
#include "aggregator/server/site_directory.h"
#include "consilium/v1/admin.grpc.pb.h"
#include "protocol/core/clock.h"

namespace consilium {

class AdminService final : public v1::Admin::Service {
 public:
  struct Parts {
    EngineLoop& engine;
    Store& store;
    SiteDirectory& directory;
    const ServerIdentity& identity;
    const RunIndex& runs;
    RunVectors& vectors;
    const Clock& clock;
    // As sites reach the listeners, "host:port".
    std::string main_address;
    std::string enrolment_address;
    std::string software_version;
    // Ends what a revoked site has running.
    std::function<void(const SiteId&, const absl::Status&)> disconnect;
  };
  explicit AdminService(Parts parts);

  // Ends the calls that wait.
  void Stop() { stopped_.Notify(); }

  grpc::Status AddSite(grpc::ServerContext*, const v1::AddSiteRequest*,
                       v1::AddSiteResponse*) override;
  grpc::Status ListSites(grpc::ServerContext*, const v1::ListSitesRequest*,
                         v1::ListSitesResponse*) override;
  grpc::Status RevokeSite(grpc::ServerContext*, const v1::RevokeSiteRequest*,
                          v1::RevokeSiteResponse*) override;
  grpc::Status SubmitRun(grpc::ServerContext*, const v1::SubmitRunRequest*,
                         v1::SubmitRunResponse*) override;
  grpc::Status ListRuns(grpc::ServerContext*, const v1::ListRunsRequest*,
                        v1::ListRunsResponse*) override;
  grpc::Status GetRun(grpc::ServerContext*, const v1::GetRunRequest*, v1::RunReport*) override;
  grpc::Status WatchRun(grpc::ServerContext*, const v1::GetRunRequest*,
                        grpc::ServerWriter<v1::RunReport>*) override;
  grpc::Status StopRun(grpc::ServerContext*, const v1::StopRunRequest*,
                       v1::StopRunResponse*) override;
  grpc::Status PurgeRun(grpc::ServerContext*, const v1::PurgeRunRequest*,
                        v1::PurgeRunResponse*) override;
  grpc::Status ExportRun(grpc::ServerContext*, const v1::ExportRunRequest*,
                         grpc::ServerWriter<v1::Chunk>*) override;
  grpc::Status ExportModel(grpc::ServerContext*, const v1::ExportModelRequest*,
                           grpc::ServerWriter<v1::Chunk>*) override;
  grpc::Status VerifyAudit(grpc::ServerContext*, const v1::VerifyAuditRequest*,
                           v1::VerifyAuditResponse*) override;
  grpc::Status GetStatus(grpc::ServerContext*, const v1::GetStatusRequest*,
                         v1::AggregatorStatus*) override;

 private:
  absl::StatusOr<v1::AddSiteResponse> AddSite(const v1::AddSiteRequest& request);
  absl::Status RevokeSite(const SiteId& site);
  absl::StatusOr<v1::SubmitRunResponse> SubmitRun(const v1::RunPlan& submitted);
  absl::StatusOr<v1::RunReport> Report(const std::string& run_id);
  // What the operator should know of a run that was just submitted.
  std::vector<std::string> WarningsOf(const federation::RunState& run) const;
  absl::StatusOr<v1::PurgeRunResponse> Purge(const v1::PurgeRunRequest& request);
  absl::StatusOr<Version> VersionToExport(const v1::ExportModelRequest& request);

  const Parts parts_;
  const absl::Time started_;
  absl::Notification stopped_;
  absl::Mutex submitting_;
};

}  // namespace consilium

#endif  // CONSILIUM_AGGREGATOR_SERVER_ADMIN_SERVICE_H_
