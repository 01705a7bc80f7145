#include "protocol/wire/identity.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "protocol/core/status_macros.h"
#include "protocol/wire/hash.h"
#include "protocol/wire/limits.h"
#include "protocol/wire/text_format.h"

namespace consilium {
namespace {

absl::Status CheckName(absl::string_view kind, absl::string_view id, size_t chars_max) {
  const auto alphanumeric = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); };
  if (id.empty() || id.size() > chars_max) {
    return absl::InvalidArgumentError(
        absl::StrFormat("a %s id has 1 to %d characters", kind, chars_max));
  }
  bool good = alphanumeric(id.front());
  for (char c : id) good = good && (alphanumeric(c) || c == '-');
  if (!good) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "a %s id is made of a-z, 0-9 and '-', and begins with a letter or digit", kind));
  }
  return absl::OkStatus();
}

absl::Status CheckPayload(v1::Encoding encoding, uint64_t payload_bytes) {
  if (encoding != v1::F32) return absl::InvalidArgumentError("encoding: only F32 is known");
  if (payload_bytes == 0 || payload_bytes % 4 != 0) {
    return absl::InvalidArgumentError("payload_bytes: must be a positive multiple of 4");
  }
  if (payload_bytes > limits::kPayloadBytesMax) {
    return absl::ResourceExhaustedError(absl::StrFormat("payload_bytes: %d is over the limit of %d",
                                                        payload_bytes, limits::kPayloadBytesMax));
  }
  return absl::OkStatus();
}

absl::Status CheckDigest(absl::string_view field, absl::string_view bytes) {
  if (bytes.size() == sizeof(Digest)) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrFormat("%s: has %d bytes, must have 32", field, bytes.size()));
}

}  // namespace

Digest PlanHash(const v1::RunPlan& plan) {
  return FieldHasher("consilium.plan.v1").Add(absl::string_view(DeterministicBytes(plan))).Finish();
}

Digest UpdateIdOf(const v1::UpdateHeader& header) {
  return FieldHasher("consilium.update.v1")
      .Add(absl::string_view(header.run_id()))
      .Add(absl::string_view(header.site_id()))
      .Add(header.task_id())
      .Add(header.base_version())
      .Add(absl::string_view(header.base_model_id()))
      .Add(absl::string_view(header.layout_hash()))
      .Add(uint64_t{static_cast<uint32_t>(header.encoding())})
      .Add(header.payload_bytes())
      .Add(absl::string_view(header.payload_root()))
      .Add(uint64_t{header.steps()})
      .Add(header.examples())
      .Add(header.training_loss())
      .Finish();
}

Digest ModelIdOf(const ModelIdentity& model) {
  return FieldHasher("consilium.model.v1")
      .Add(absl::string_view(model.run.value()))
      .Add(model.version.value())
      .Add(model.layout_hash)
      .Add(model.payload_root)
      .Add(model.standardisation_hash)
      .Finish();
}

Digest ReceiptDigest(const v1::Receipt& receipt) {
  return FieldHasher("consilium.receipt.v1")
      .Add(uint64_t{static_cast<uint32_t>(receipt.kind())})
      .Add(absl::string_view(receipt.run_id()))
      .Add(absl::string_view(receipt.site_id()))
      .Add(receipt.task_id())
      .Add(absl::string_view(receipt.update_id()))
      .Add(receipt.sequence())
      .Add(receipt.version())
      .Add(receipt.coefficient())
      .Finish();
}

absl::Status CheckUpdateHeader(const v1::UpdateHeader& header) {
  if (header.wire_version() < limits::kWireVersionMin ||
      header.wire_version() > limits::kWireVersion) {
    return absl::InvalidArgumentError(
        absl::StrFormat("wire_version: %d is not spoken here", header.wire_version()));
  }
  CONSILIUM_RETURN_IF_ERROR(CheckRunId(header.run_id()));
  CONSILIUM_RETURN_IF_ERROR(CheckSiteId(header.site_id()));
  if (header.task_id() == 0) return absl::InvalidArgumentError("task_id: counts from 1");
  CONSILIUM_RETURN_IF_ERROR(CheckDigest("base_model_id", header.base_model_id()));
  CONSILIUM_RETURN_IF_ERROR(CheckDigest("layout_hash", header.layout_hash()));
  CONSILIUM_RETURN_IF_ERROR(CheckDigest("payload_root", header.payload_root()));
  if (!std::isfinite(header.training_loss())) {
    return absl::InvalidArgumentError("training_loss: is not a finite number");
  }
  return CheckPayload(header.encoding(), header.payload_bytes());
}

absl::Status CheckModelHeader(const v1::ModelHeader& header) {
  CONSILIUM_RETURN_IF_ERROR(CheckRunId(header.run_id()));
  CONSILIUM_RETURN_IF_ERROR(CheckDigest("model_id", header.model_id()));
  CONSILIUM_RETURN_IF_ERROR(CheckDigest("layout_hash", header.layout_hash()));
  CONSILIUM_RETURN_IF_ERROR(CheckDigest("payload_root", header.payload_root()));
  return CheckPayload(header.encoding(), header.payload_bytes());
}

absl::Status CheckSiteId(absl::string_view id) {
  return CheckName("site", id, limits::kSiteIdCharsMax);
}

absl::Status CheckRunId(absl::string_view id) {
  return CheckName("run", id, limits::kRunIdCharsMax);
}

}  // namespace consilium
