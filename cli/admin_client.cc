#include "cli/admin_client.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <sys/stat.h>

#include <filesystem>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "protocol/core/status_macros.h"

namespace consilium {
namespace {

template <typename Reader>
absl::Status Drain(Reader& reader, v1::ModelHeader* header, const AdminClient::Sink& sink) {
  v1::Chunk chunk;
  absl::Status failed;
  while (failed.ok() && reader.Read(&chunk)) {
    if (chunk.has_model() && header != nullptr) *header = chunk.model();
    failed = sink(chunk.data());
  }
  const grpc::Status end = reader.Finish();
  if (!failed.ok()) return failed;
  return FromGrpcStatus(end);
}

}  // namespace

absl::StatusOr<AdminClient> AdminClient::Connect(const std::string& data) {
  if (data.empty()) {
    return absl::InvalidArgumentError(
        "say which aggregator: --data DIR or CONSILIUM_AGGREGATOR_DATA");
  }
  const std::string path = std::filesystem::absolute(data + "/admin.sock").string();
  struct stat info;
  if (stat(path.c_str(), &info) != 0) {
    return absl::FailedPreconditionError(absl::StrFormat(
        "no aggregator answers at %s: start `consilium-aggregator serve`, and name its data folder "
        "with --data or CONSILIUM_AGGREGATOR_DATA",
        path));
  }
  // Who may open the socket is the operator: the folder's mode keeps the others out.
  auto channel =
      grpc::CreateChannel(absl::StrCat("unix:", path), grpc::InsecureChannelCredentials());
  return AdminClient(v1::Admin::NewStub(channel));
}

absl::Status AdminClient::WatchRun(const std::string& run_id,
                                   const std::function<Watch(const v1::RunReport&)>& on_report) {
  grpc::ClientContext context;
  v1::GetRunRequest request;
  request.set_run_id(run_id);
  auto reader = stub_->WatchRun(&context, request);
  v1::RunReport report;
  while (reader->Read(&report)) {
    if (on_report(report) == Watch::kStop) {
      context.TryCancel();
      reader->Finish();
      return absl::OkStatus();
    }
  }
  return FromGrpcStatus(reader->Finish());
}

absl::Status AdminClient::ExportRun(const v1::ExportRunRequest& request, const Sink& sink) {
  grpc::ClientContext context;
  auto reader = stub_->ExportRun(&context, request);
  return Drain(*reader, nullptr, sink);
}

absl::StatusOr<v1::ModelHeader> AdminClient::ExportModel(const v1::ExportModelRequest& request,
                                                         const Sink& sink) {
  grpc::ClientContext context;
  auto reader = stub_->ExportModel(&context, request);
  v1::ModelHeader header;
  CONSILIUM_RETURN_IF_ERROR(Drain(*reader, &header, sink));
  return header;
}

}  // namespace consilium
