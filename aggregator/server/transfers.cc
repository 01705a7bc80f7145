#include "aggregator/server/transfers.h"

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "aggregator/server/site_log.h"
#include "aggregator/server/upload_session.h"
#include "protocol/core/status_macros.h"
#include "protocol/wire/identity.h"
#include "protocol/wire/reasons.h"

namespace consilium {
namespace {

static_assert(limits::kChunkBytes == kShardElements * sizeof(float),
              "a chunk that is sent is one shard of its vector");

class VectorPayload final : public PayloadSource {
 public:
  VectorPayload(std::shared_ptr<const VectorReader> reader, uint64_t elements)
      : reader_(std::move(reader)), elements_(elements) {}

  absl::StatusOr<SharedBytes> Read(uint64_t offset) override {
    const size_t shard = offset / limits::kChunkBytes;
    const size_t skipped = (offset % limits::kChunkBytes) / sizeof(float);
    // Not initialised: a reader with memory of its own leaves it alone, and it is never touched.
    const size_t size = ShardSize(elements_, shard);
    const std::shared_ptr<float[]> buffer(new float[size]);
    CONSILIUM_ASSIGN_OR_RETURN(std::span<const float> values,
                               reader_->Read(shard, std::span<float>(buffer.get(), size)));
    values = values.subspan(skipped);
    SharedBytes bytes;
    bytes.bytes = {reinterpret_cast<const uint8_t*>(values.data()), values.size_bytes()};
    bytes.owner = std::make_shared<const Kept>(Kept{reader_, buffer});
    return bytes;
  }

 private:
  struct Kept {
    std::shared_ptr<const VectorReader> reader;
    std::shared_ptr<float[]> buffer;
  };

  const std::shared_ptr<const VectorReader> reader_;
  const uint64_t elements_;
};

// Two vectors of one size, one after the other.
class TwoPayloads final : public PayloadSource {
 public:
  TwoPayloads(std::unique_ptr<PayloadSource> first, std::unique_ptr<PayloadSource> second,
              uint64_t bytes_each)
      : first_(std::move(first)), second_(std::move(second)), bytes_each_(bytes_each) {}

  absl::StatusOr<SharedBytes> Read(uint64_t offset) override {
    return offset < bytes_each_ ? first_->Read(offset) : second_->Read(offset - bytes_each_);
  }

 private:
  const std::unique_ptr<PayloadSource> first_;
  const std::unique_ptr<PayloadSource> second_;
  const uint64_t bytes_each_;
};

// What an update adds to the journal, generously.
constexpr size_t kUpdateInputBytes = 512;

// One upload on its way to the engine.
class EngineUpload final : public UploadSink {
 public:
  using Answer = std::function<void(absl::StatusOr<v1::Receipt>)>;
  explicit EngineUpload(const TransferParts& parts, PeerIdentity peer)
      : parts_(parts), peer_(std::move(peer)) {}

  absl::Status OnHeader(const PeerIdentity& peer, const v1::UpdateHeader& header) override {
    run_ = header.run_id();
    task_ = header.task_id();
    auto session = UploadSession::Begin(
        {.runs = parts_.runs, .vectors = parts_.vectors, .staged = parts_.staged}, peer, header);
    if (!session.ok()) return Refused(session.status());
    // Before its bytes come; given back where the update is what its task was granted for.
    const absl::Status charged = parts_.budget.Take(peer_.site(), kUpdateInputBytes, absl::Now());
    if (!charged.ok()) return Refused(charged);
    session_ = *std::move(session);
    return absl::OkStatus();
  }

  absl::Status OnData(ByteSpans data) override {
    for (const std::span<const uint8_t> bytes : data) {
      if (absl::Status status = session_->Append(bytes); !status.ok()) return Refused(status);
    }
    return absl::OkStatus();
  }

  void OnComplete(Answer answer) override {
    // A revocation since the call began holds for it, too.
    if (absl::Status status = parts_.directory.Admit(peer_); !status.ok()) {
      session_.reset();
      answer(Refused(status));
      return;
    }
    absl::StatusOr<UploadSession::Staged> staged = session_->Finish();
    if (session_->task() == UploadSession::Task::kOpen) answer = GivingBack(std::move(answer));
    session_.reset();
    if (!staged.ok()) {
      answer(Refused(staged.status()));
      return;
    }
    EngineInput input;
    input.event = std::move(staged->event);
    input.hold = std::move(staged->hold);
    input.answer = std::move(answer);
    if (!parts_.engine.TryPost(std::move(input))) {
      // Untouched, as it was not taken. NOLINTNEXTLINE(bugprone-use-after-move)
      input.answer(Refused(Refusal(v1::BUSY,
                                   "the aggregator has too much to do; send the update "
                                   "again later")));
    }
  }

  void OnCancelled(const absl::Status& why) override {
    session_.reset();
    Refused(why).IgnoreError();
  }

 private:
  Answer GivingBack(Answer answer) const {
    return [&budget = parts_.budget, site = peer_.site(),
            answer = std::move(answer)](absl::StatusOr<v1::Receipt> receipt) {
      if (receipt.ok()) budget.GiveBack(site, kUpdateInputBytes);
      answer(std::move(receipt));
    };
  }

  absl::Status Refused(const absl::Status& status) const {
    const v1::Reason reason = DetailOf(status).reason();
    LogOfSite(reason == v1::IDENTITY_MISMATCH ? SiteLine::kAlarm : SiteLine::kWarning, peer_.site(),
              absl::StrCat("upload refused (run ", run_, ", task ", task_,
                           "): ", v1::Reason_Name(reason), ": ", status.message()));
    return status;
  }

  const TransferParts parts_;
  const PeerIdentity peer_;
  std::string run_;
  uint64_t task_ = 0;
  std::unique_ptr<UploadSession> session_;
};

absl::StatusOr<Download> OpenDownload(const TransferParts& parts, const PeerIdentity& peer,
                                      const v1::FetchRequest& request) {
  if (!CheckRunId(request.run_id()).ok()) {
    return Refusal(v1::MALFORMED, "run_id: is no run id");
  }
  CONSILIUM_ASSIGN_OR_RETURN(const RunIndex::Standing standing,
                             parts.runs.FindParticipant(RunId(request.run_id()), peer.site()));
  if (standing.decision != federation::Participant::Decision::kApproved) {
    return Refusal(v1::NOT_APPROVED,
                   absl::StrCat("the site takes no part in the run ", request.run_id(),
                                ", so its models are not for it"));
  }
  CONSILIUM_ASSIGN_OR_RETURN(ModelPayload model,
                             OpenModel(parts.runs, parts.vectors, RunId(request.run_id()),
                                       Version(request.version()), ModelParts::kAll));
  Download download;
  download.header = std::move(model.header);
  download.payload = std::move(model.payload);
  return download;
}

}  // namespace

absl::StatusOr<ModelPayload> OpenModel(const RunIndex& runs, RunVectors& vectors, const RunId& run,
                                       Version version, ModelParts parts) {
  ModelPayload model;
  CONSILIUM_ASSIGN_OR_RETURN(model.header, runs.FindModel(run, version));
  CONSILIUM_ASSIGN_OR_RETURN(const RunIndex::Facts facts, runs.Find(run));
  const auto open = [&](const VectorName& name) -> absl::StatusOr<std::unique_ptr<PayloadSource>> {
    CONSILIUM_ASSIGN_OR_RETURN(const std::shared_ptr<SealedVectors> of_run,
                               vectors.Get(run, facts.elements));
    CONSILIUM_ASSIGN_OR_RETURN(std::shared_ptr<const VectorReader> reader,
                               of_run->OpenForReading(name));
    return std::make_unique<VectorPayload>(std::move(reader), facts.elements);
  };
  auto payload = open(VectorName::Model(version));
  const bool has_control = model.header.payload_bytes() > facts.payload_bytes;
  if (payload.ok() && has_control && parts == ModelParts::kAll) {
    auto control = open(VectorName::Control(version));
    payload = control.ok()
                  ? absl::StatusOr<std::unique_ptr<PayloadSource>>(std::make_unique<TwoPayloads>(
                        *std::move(payload), *std::move(control), facts.payload_bytes))
                  : control.status();
  }
  if (absl::IsNotFound(payload.status())) {
    return Refusal(v1::VERSION_UNKNOWN, absl::StrCat("version ", version.value(), " of run ",
                                                     run.value(), " is not kept any more"));
  }
  if (!payload.ok()) return Refusal(v1::STORAGE, payload.status().message());
  if (parts == ModelParts::kWeights) model.header.set_payload_bytes(facts.payload_bytes);
  model.payload = *std::move(payload);
  return model;
}

TransferHandlers MakeTransferHandlers(const TransferParts& parts) {
  TransferHandlers handlers;
  handlers.admit = [parts](const PeerIdentity& peer) { return parts.directory.Admit(peer); };
  handlers.upload =
      [parts](const PeerIdentity& peer) -> absl::StatusOr<std::unique_ptr<UploadSink>> {
    return std::make_unique<EngineUpload>(parts, peer);
  };
  handlers.download = [parts](const PeerIdentity& peer, const v1::FetchRequest& request) {
    return OpenDownload(parts, peer, request);
  };
  return handlers;
}

}  // namespace consilium
