// The aggregator's admin service, over the Unix socket in its data folder.
//
// Threads: any.

#ifndef CONSILIUM_CLI_ADMIN_CLIENT_H_
#define CONSILIUM_CLI_ADMIN_CLIENT_H_

#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "consilium/v1/admin.grpc.pb.h"
#include "protocol/rpc/rpc_status.h"

namespace consilium {

class AdminClient {
 public:
  // INVALID_ARGUMENT where `data` is empty. FAILED_PRECONDITION where there is no admin socket in
  // `data`: no aggregator runs there, or this user may not talk to it.
  static absl::StatusOr<AdminClient> Connect(const std::string& data);

  // One unary call: client.Call(&v1::Admin::Stub::GetStatus, request).
  template <typename Request, typename Response>
  absl::StatusOr<Response> Call(grpc::Status (v1::Admin::Stub::*method)(grpc::ClientContext*,
                                                                        const Request&, Response*),
                                const Request& request) {
    grpc::ClientContext context;
    Response response;
    const grpc::Status status = (stub_.get()->*method)(&context, request, &response);
    if (!status.ok()) return FromGrpcStatus(status);
    return response;
  }

  // Reports of a run until it has ended or `on_report` says stop.
  enum class Watch { kGoOn, kStop };
  absl::Status WatchRun(const std::string& run_id,
                        const std::function<Watch(const v1::RunReport&)>& on_report);

  // The data of a chunked download, piece by piece.
  using Sink = std::function<absl::Status(const std::string& bytes)>;
  absl::Status ExportRun(const v1::ExportRunRequest& request, const Sink& sink);
  // The header comes back.
  absl::StatusOr<v1::ModelHeader> ExportModel(const v1::ExportModelRequest& request,
                                              const Sink& sink);

 private:
  explicit AdminClient(std::shared_ptr<v1::Admin::Stub> stub) : stub_(std::move(stub)) {}
  std::shared_ptr<v1::Admin::Stub> stub_;
};

}  // namespace consilium

#endif  // CONSILIUM_CLI_ADMIN_CLIENT_H_
