#include "site_agent/runtime/link.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <optional>
#include <span>
#include <utility>

#include "absl/strings/str_cat.h"
#include "models/spec/run_plan.h"
#include "protocol/core/failpoint.h"
#include "protocol/core/printable_text.h"
#include "protocol/core/status_macros.h"
#include "protocol/wire/hash.h"
#include "protocol/wire/identity.h"
#include "protocol/wire/limits.h"
#include "protocol/wire/reasons.h"
#include "protocol/wire/signing_key.h"
#include "site_agent/core/fetched_model.h"
#include "site_agent/runtime/certificate_renewal.h"
#include "site_agent/runtime/journal_codec.h"
#include "site_agent/runtime/link_errors.h"

namespace consilium::site {
namespace {

constexpr size_t kReportsWaitingMax = 1024;
constexpr size_t kTransfersWaitingMax = 1024;
constexpr size_t kSmallDirectiveBytes = 16 << 10;

// Takes a model as it comes in, and holds it against what was announced: one vector of
// `vector_bytes`, or two.
class ModelReceiver final : public ModelSink {
 public:
  ModelReceiver(const WantedModel& wanted, uint64_t vector_bytes, SealedBlobWriter* writer)
      : wanted_(wanted), first_left_(vector_bytes), writer_(writer) {}

  absl::Status OnHeader(const v1::ModelHeader& header) override {
    root_ = *DigestFromBytes(header.payload_root());
    const Digest id = ModelIdOf({.run = wanted_.run,
                                 .version = wanted_.version,
                                 .layout_hash = wanted_.layout_hash,
                                 .payload_root = root_,
                                 .standardisation_hash = wanted_.standardisation_hash});
    if (header.payload_bytes() == wanted_.payload_bytes && id == wanted_.model_id) {
      return absl::OkStatus();
    }
    return Refusal(v1::HASH_MISMATCH, "what comes is not the model that was announced");
  }

  absl::Status OnData(ByteSpans data) override {
    for (const std::span<const uint8_t> bytes : data) {
      const size_t first = std::min<uint64_t>(bytes.size(), first_left_);
      hasher_.Update(bytes.first(first));
      second_hasher_.Update(bytes.subspan(first));
      first_left_ -= first;
      has_second_ = has_second_ || first < bytes.size();
      CONSILIUM_RETURN_IF_ERROR(writer_->Append(bytes));
    }
    return absl::OkStatus();
  }

  absl::Status CheckWhole() {
    Digest root = hasher_.Finish();
    if (has_second_) root = MerkleRootOfTwo(root, second_hasher_.Finish());
    if (root == root_) return absl::OkStatus();
    return Refusal(v1::HASH_MISMATCH, "the model's bytes are not those that its hash names");
  }

 private:
  const WantedModel& wanted_;
  uint64_t first_left_;
  SealedBlobWriter* const writer_;
  MerkleHasher hasher_;
  MerkleHasher second_hasher_;
  bool has_second_ = false;
  Digest root_ = {};
};

std::string Words(const absl::Status& status) { return PrintableText(status.message()); }

}  // namespace

Link::Link(SiteStore* store, EgressGate* gate, SiteIdentity identity, LinkHooks hooks)
    : store_(store),
      gate_(gate),
      identity_(std::move(identity)),
      hooks_(std::move(hooks)),
      lease_(store),
      reports_(kReportsWaitingMax),
      uploads_(kTransfersWaitingMax),
      downloads_(kTransfersWaitingMax) {}

Link::~Link() { Stop(); }

void Link::Start() {
  threads_.emplace_back([this] { RunControl(); });
  threads_.emplace_back([this] { RunWriter(); });
  threads_.emplace_back([this] { RunUploads(); });
  threads_.emplace_back([this] { RunDownloads(); });
}

void Link::Stop() {
  {
    absl::MutexLock lock(&mu_);
    stopping_ = true;
  }
  gate_->Shutdown();
  reports_.Close();
  uploads_.Close();
  downloads_.Close();
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

LinkState Link::state() const {
  absl::MutexLock lock(&mu_);
  return state_;
}

bool Link::IsStopping() const {
  absl::MutexLock lock(&mu_);
  return stopping_;
}

bool Link::WaitUnlessStopping(absl::Duration time) {
  absl::MutexLock lock(&mu_);
  return !mu_.AwaitWithTimeout(absl::Condition(&stopping_), time);
}

void Link::NoteError(const absl::Status& status) {
  const std::string words = ExplainLinkError(status, identity_.aggregator_address);
  bool is_new = false;
  {
    absl::MutexLock lock(&mu_);
    is_new = state_.last_error != words;
    state_.last_error = words;
  }
  // A link that is down for a day is one line, not a thousand.
  if (is_new) {
    spdlog::warn("{}", words);
  } else {
    spdlog::debug("{}", words);
  }
}

// --- control ------------------------------------------------------------------------------------

void Link::RunControl() {
  Backoff backoff;
  while (!IsStopping()) {
    const absl::Time begun = absl::Now();
    const absl::Status status = AttachOnce();
    if (IsStopping()) return;
    // The aggregator closes the connection without a word that could reach us.
    const absl::Status expired =
        absl::IsUnavailable(status) ? CheckNotExpired(*store_, begun) : absl::OkStatus();
    if (!expired.ok()) {
      hooks_.on_refused_for_good(expired);
      return;
    }
    NoteError(status);
    const v1::ErrorDetail detail = DetailOf(status);
    if (IsRefusalForGood(detail.reason())) {
      hooks_.on_refused_for_good(status);
      return;
    }
    // A stream that has lived is no failure to back off from.
    if (absl::Now() - begun > kBackoffMax) backoff.Reset();
    const absl::Duration wait =
        std::max(backoff.Next(), absl::Milliseconds(detail.retry_after_ms()));
    if (!WaitUnlessStopping(wait)) return;
  }
}

absl::Status Link::AttachOnce() {
  CONSILIUM_ASSIGN_OR_RETURN(const std::shared_ptr<ControlStream> stream, gate_->Attach());
  CONSILIUM_RETURN_IF_ERROR(Greet(*stream));
  SetStream(stream);
  absl::Status status = absl::OkStatus();
  if (hooks_.post(LinkUp{})) {
    for (;;) {
      absl::StatusOr<v1::Directive> directive = stream->Read();
      if (!directive.ok()) {
        status = directive.status();
        break;
      }
      Handle(*directive);
    }
  }
  SetStream(nullptr);
  hooks_.post(LinkDown{});
  return status;
}

absl::Status Link::Greet(ControlStream& stream) {
  v1::SiteEvent event;
  v1::Hello& hello = *event.mutable_hello();
  hello.set_wire_version(limits::kWireVersion);
  hello.set_wire_version_min(limits::kWireVersionMin);
  if (!hooks_.fill_hello(hello)) return absl::CancelledError("the agent is stopping");
  CONSILIUM_RETURN_IF_ERROR(lease_.Offer(hello));
  // Why a stream has ended is known from reading it.
  const absl::Status sent = stream.Send(event);
  if (!sent.ok() && !absl::IsUnavailable(sent)) return sent;
  CONSILIUM_ASSIGN_OR_RETURN(const v1::Directive first, stream.Read());
  if (!first.has_welcome()) {
    return Refusal(v1::MALFORMED, "the aggregator's first directive is not a Welcome");
  }
  const uint32_t version = first.welcome().wire_version();
  if (version < limits::kWireVersionMin || version > limits::kWireVersion) {
    return Refusal(v1::WIRE_VERSION, absl::StrCat("the aggregator wants wire version ", version,
                                                  ", which this agent does not speak"));
  }
  CONSILIUM_ASSIGN_OR_RETURN(*event.mutable_lease_confirm(), lease_.Accept(first.welcome()));
  return stream.Send(event);
}

void Link::SetStream(std::shared_ptr<ControlStream> stream) {
  absl::MutexLock lock(&mu_);
  stream_ = std::move(stream);
  state_.attached = stream_ != nullptr;
  if (state_.attached) state_.last_error.clear();
}

std::shared_ptr<ControlStream> Link::AttachedStream() const {
  absl::MutexLock lock(&mu_);
  return stream_;
}

void Link::Handle(const v1::Directive& directive) {
  if (directive.has_receipt()) {
    const absl::Status good = CheckReceipt(directive.receipt());
    if (!good.ok()) {
      spdlog::error("ALARM: a receipt that is not the aggregator's: {}", Words(good));
      return;
    }
    Failpoint("agent.receipt_received");
  }
  absl::StatusOr<Event> event = EventOf(directive);
  if (!event.ok()) {
    spdlog::warn("a directive makes no sense and is passed over: {}", Words(event.status()));
    return;
  }
  hooks_.post(*std::move(event));
  // A queue of thousands of small inputs is small; one of thousands of plans is not.
  if (directive.ByteSizeLong() > kSmallDirectiveBytes) hooks_.wait_until_taken();
}

absl::Status Link::CheckReceipt(const v1::Receipt& receipt) const {
  if (receipt.site_id() != identity_.site.value()) {
    return absl::PermissionDeniedError("it is another site's");
  }
  return VerifySignature(identity_.aggregator_key, ReceiptDigest(receipt), receipt.signature());
}

void Link::Report(v1::SiteEvent event) {
  if (!reports_.TryPush(std::move(event))) {
    spdlog::warn("a report is dropped: the control stream takes none");
  }
}

void Link::RunWriter() {
  while (std::optional<v1::SiteEvent> event = reports_.Pop()) {
    const std::shared_ptr<ControlStream> stream = AttachedStream();
    if (stream == nullptr) continue;
    const absl::Status sent = stream->Send(*std::move(event));
    if (!sent.ok() && !absl::IsUnavailable(sent)) {
      spdlog::error("ALARM: a report was not sent: {}", Words(sent));
    }
  }
}

// --- uploads ------------------------------------------------------------------------------------

void Link::Upload(const Send& action) {
  if (!uploads_.TryPush(Send(action))) {
    spdlog::warn("an upload is dropped: too many wait");
  }
}

absl::StatusOr<v1::Receipt> Link::UploadNow(const Send& action) {
  CONSILIUM_ASSIGN_OR_RETURN(SealedBlobReader payload, store_->blobs().Read(action.update));
  CONSILIUM_ASSIGN_OR_RETURN(v1::Receipt receipt,
                             gate_->Submit(*action.header, std::move(payload)));
  CONSILIUM_RETURN_IF_ERROR(CheckReceipt(receipt));
  if (receipt.run_id() != action.run.value() || receipt.task_id() != action.task.value() ||
      receipt.update_id() != ToBytes(action.update)) {
    return absl::PermissionDeniedError("the receipt is for another update");
  }
  return receipt;
}

void Link::RunUploads() {
  while (std::optional<Send> action = uploads_.Pop()) {
    absl::StatusOr<v1::Receipt> receipt = UploadNow(*action);
    if (IsStopping()) return;
    if (receipt.ok()) {
      Failpoint("agent.receipt_received");
      hooks_.post(ReceiptReceived{std::make_shared<v1::Receipt>(*std::move(receipt))});
      continue;
    }
    const v1::ErrorDetail detail = PrintableDetailOf(receipt.status());
    spdlog::warn("run {}: update of task {} was not taken: {}", action->run.value(),
                 action->task.value(),
                 ExplainLinkError(receipt.status(), identity_.aggregator_address));
    hooks_.post(SendFailed{action->run, action->task, detail, DrawJitter()});
    if (IsRefusalForGood(detail.reason())) hooks_.on_refused_for_good(receipt.status());
  }
}

// --- downloads ----------------------------------------------------------------------------------

void Link::Download(WantedModel wanted) {
  if (!downloads_.TryPush(std::move(wanted))) {
    spdlog::warn("a download is dropped: too many wait");
  }
}

absl::Status Link::DownloadNow(const WantedModel& wanted) {
  BlobStore& blobs = store_->blobs();
  // Fetched before a crash that the journal has not heard of.
  if (blobs.Has(wanted.model_id)) return absl::OkStatus();
  CONSILIUM_ASSIGN_OR_RETURN(const ModelGraph graph, GraphOf(*wanted.plan));
  const uint64_t fetched_bytes =
      FetchedElements(wanted.plan->config(), wanted.version, graph.layout.elements()) *
      sizeof(float);
  if (graph.layout.Hash() != wanted.layout_hash || fetched_bytes != wanted.payload_bytes) {
    return Refusal(v1::LAYOUT_MISMATCH, "the run's layout is not that of its approved plan");
  }
  CONSILIUM_ASSIGN_OR_RETURN(SealedBlobWriter writer, blobs.NewWriter());
  ModelReceiver receiver(wanted, graph.layout.payload_bytes(), &writer);
  v1::FetchRequest request;
  request.set_run_id(wanted.run.value());
  request.set_version(wanted.version.value());
  CONSILIUM_RETURN_IF_ERROR(gate_->Fetch(request, wanted.payload_bytes, receiver));
  CONSILIUM_RETURN_IF_ERROR(receiver.CheckWhole());
  CONSILIUM_RETURN_IF_ERROR(blobs.Seal(writer, wanted.model_id));
  CONSILIUM_RETURN_IF_ERROR(writer.Sync());
  CONSILIUM_RETURN_IF_ERROR(blobs.Commit(std::move(writer)));
  Failpoint("agent.model_fetched");
  return absl::OkStatus();
}

void Link::RunDownloads() {
  while (std::optional<WantedModel> wanted = downloads_.Pop()) {
    const absl::Status status = DownloadNow(*wanted);
    if (IsStopping()) return;
    if (status.ok()) {
      hooks_.post(ModelFetched{wanted->run, wanted->version});
      continue;
    }
    spdlog::warn("run {}: version {} was not fetched: {}", wanted->run.value(),
                 wanted->version.value(), ExplainLinkError(status, identity_.aggregator_address));
    hooks_.post(FetchFailed{wanted->run, wanted->version, PrintableDetailOf(status), DrawJitter()});
  }
}

}  // namespace consilium::site
