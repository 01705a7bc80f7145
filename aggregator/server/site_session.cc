#include "aggregator/server/site_session.h"

#include <spdlog/spdlog.h>

#include <algorithm>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "aggregator/core/evaluation.h"
#include "aggregator/core/update_intake.h"
#include "aggregator/server/directives.h"
#include "aggregator/server/site_log.h"
#include "models/metrics/metrics.h"
#include "protocol/core/status_macros.h"
#include "protocol/core/utf8.h"
#include "protocol/wire/hash.h"
#include "protocol/wire/identity.h"
#include "protocol/wire/limits.h"
#include "protocol/wire/reasons.h"

namespace consilium {
namespace {

constexpr size_t kLeaseBytes = 32;

// What one attach may be answered with at once: Welcome, a receipt for each that the site holds,
// and for each open run its start, the versions to evaluate, its tasks and the ends of the newest.
// A shorter queue would end the stream of an honest site at every attempt.
static_assert(limits::kDirectiveQueueMax >=
              1 + limits::kHeldReceiptsMax +
                  limits::kSiteRunsOpenMax *
                      (1 + federation::kEvaluationsAskedAgainMax + limits::kTasksInFlightMax +
                       federation::kEndsToldAgain));
// Of what a site says about a refusal; longer text is cut.
constexpr size_t kTextBytesMax = 400;
constexpr size_t kVersionCharsMax = 64;
// Of an evaluation; a longer one (of very many classes) is taken from the site's allowance.
constexpr size_t kEvaluationBytesFree = 2048;

absl::Status Malformed(absl::string_view what) { return Refusal(v1::MALFORMED, what); }

absl::Status CheckHello(const v1::Hello& hello) {
  if (hello.wire_version_min() > limits::kWireVersion ||
      hello.wire_version() < limits::kWireVersionMin) {
    return Refusal(v1::WIRE_VERSION,
                   absl::StrFormat("the site speaks wire versions %d to %d, the aggregator %d to "
                                   "%d: update the older one",
                                   hello.wire_version_min(), hello.wire_version(),
                                   limits::kWireVersionMin, limits::kWireVersion));
  }
  if (hello.lease_presented().size() != kLeaseBytes || hello.lease_next().size() != kLeaseBytes) {
    return Malformed("Hello: a lease has 32 bytes");
  }
  if (static_cast<size_t>(hello.held_receipts_size()) > limits::kHeldReceiptsMax ||
      static_cast<size_t>(hello.runs_size()) > limits::kRunsMax) {
    return Malformed("Hello: more held receipts or runs than there can be");
  }
  return absl::OkStatus();
}

// A person reads it in a terminal: nothing but what a version is written with.
std::string SoftwareVersionOf(const v1::Hello& hello) {
  const std::string& version = hello.software_version();
  const bool is_one = !version.empty() && version.size() <= kVersionCharsMax &&
                      std::all_of(version.begin(), version.end(), [](char c) {
                        return absl::ascii_isalnum(c) || c == '.' || c == '+' || c == '-';
                      });
  return is_one ? version : "unknown";
}

absl::StatusOr<federation::SiteAttached> AttachOf(const SiteId& site, const v1::Hello& hello) {
  CONSILIUM_RETURN_IF_ERROR(CheckHello(hello));
  federation::SiteAttached attached;
  attached.site = site;
  attached.incarnation = Incarnation(hello.incarnation());
  attached.lease_presented_hash = Sha256Of(absl::string_view(hello.lease_presented()));
  attached.lease_next_hash = Sha256Of(absl::string_view(hello.lease_next()));
  for (const v1::HeldReceipt& held : hello.held_receipts()) {
    const auto update = DigestFromBytes(held.update_id());
    if (!CheckRunId(held.run_id()).ok() || !update.has_value()) {
      return Malformed("Hello: a held receipt without run or update id");
    }
    attached.held_receipts.push_back({RunId(held.run_id()), TaskId(held.task_id()), *update});
  }
  absl::flat_hash_set<absl::string_view> runs;
  for (const v1::RunProgress& run : hello.runs()) {
    if (!CheckRunId(run.run_id()).ok()) return Malformed("Hello: progress without a run");
    // Each is answered with receipts, which are signed.
    if (!runs.insert(run.run_id()).second) return Malformed("Hello: progress of a run twice");
    attached.runs.push_back({RunId(run.run_id()), TaskId(run.newest_task_id())});
  }
  return attached;
}

absl::StatusOr<federation::Event> EventOf(const SiteId& site, const v1::RunDecision& decision) {
  const auto plan_hash = DigestFromBytes(decision.plan_hash());
  if (!plan_hash.has_value() || !v1::Reason_IsValid(decision.reason())) {
    return Malformed("RunDecision: without plan hash or known reason");
  }
  federation::RunDecided decided;
  decided.site = site;
  decided.run = RunId(decision.run_id());
  decided.plan_hash = *plan_hash;
  decided.answer = decision.approved() ? federation::RunDecided::Answer::kApproved
                                       : federation::RunDecided::Answer::kRefused;
  decided.reason = decision.reason();
  decided.message = std::string(CutAtCharacter(decision.message(), kTextBytesMax));
  decided.train_examples = decision.train_examples();
  return federation::Event(std::move(decided));
}

// `features` is the run's: a report about another number of them says nothing but that.
absl::StatusOr<federation::Event> EventOf(const SiteId& site, const v1::StatisticsReport& report,
                                          size_t features) {
  if (report.sums_size() != report.counts_size() ||
      report.sums_of_squares_size() != report.counts_size()) {
    return Malformed("StatisticsReport: of unequal lengths");
  }
  auto kept = std::make_shared<v1::StatisticsReport>();
  kept->set_run_id(report.run_id());
  if (static_cast<size_t>(report.counts_size()) == features) *kept = report;
  federation::StatisticsReported reported;
  reported.site = site;
  reported.report = std::move(kept);
  return federation::Event(std::move(reported));
}

absl::StatusOr<federation::Event> EventOf(const SiteId& site, const v1::EvaluationReport& report) {
  const v1::MetricSums& metrics = report.metrics();
  if (!v1::Split_IsValid(report.split()) || report.split() == v1::SPLIT_UNSPECIFIED ||
      static_cast<size_t>(metrics.class_examples_size()) > limits::kClassesMax ||
      static_cast<size_t>(metrics.class_correct_size()) > limits::kClassesMax) {
    return Malformed("EvaluationReport: without split, or with too many classes");
  }
  federation::EvaluationReported reported;
  reported.site = site;
  reported.run = RunId(report.run_id());
  reported.version = Version(report.version());
  reported.split = report.split();
  reported.metrics = std::make_shared<const v1::MetricSums>(metrics);
  return federation::Event(std::move(reported));
}

}  // namespace

absl::Status SiteSession::Charge(size_t bytes) {
  return parts_.budget.Take(peer_.site(), bytes, parts_.clock.Now());
}

absl::Status SiteSession::Post(federation::Event event, size_t bytes) {
  EngineInput input;
  input.event = std::move(event);
  input.bytes = bytes;
  if (parts_.engine.TryPost(std::move(input))) return absl::OkStatus();
  return Refusal(v1::BUSY, "the aggregator has too much to do; attach again later");
}

void SiteSession::Drop(v1::Reason reason, absl::string_view what) {
  if (!dropped_.insert(reason).second) return;
  LogOfSite(SiteLine::kAlarm, peer_.site(),
            absl::StrCat(v1::Reason_Name(reason), ": ", what, "; such messages are dropped"));
}

absl::Status SiteSession::OnLeaseConfirm(const v1::LeaseConfirm& confirm) {
  if (confirm.lease().size() != kLeaseBytes) {
    return Malformed("LeaseConfirm: a lease has 32 bytes");
  }
  {
    absl::MutexLock lock(&mu_);
    if (confirm.lease() != lease_next_) return Malformed("LeaseConfirm: of another lease");
  }
  if (std::exchange(lease_confirmed_, true)) return absl::OkStatus();
  return Post(
      federation::LeaseConfirmed{peer_.site(), Sha256Of(absl::string_view(confirm.lease()))},
      confirm.ByteSizeLong());
}

absl::Status SiteSession::OnDecision(const v1::RunDecision& decision, const RunIndex::Facts& run) {
  CONSILIUM_ASSIGN_OR_RETURN(federation::Event said, EventOf(peer_.site(), decision));
  if (decision.plan_hash() != ToBytes(run.plan_hash)) {
    Drop(v1::MALFORMED, absl::StrCat("it decided about another plan of the run ", decision.run_id(),
                                     " than the one that was offered"));
    return absl::OkStatus();
  }
  // Once, and once more where it changes its mind.
  if (said_[RunId(decision.run_id())].decisions++ >= 2) return absl::OkStatus();
  return Post(std::move(said), decision.ByteSizeLong());
}

absl::Status SiteSession::OnStatistics(const v1::StatisticsReport& report,
                                       const RunIndex::Facts& run) {
  CONSILIUM_ASSIGN_OR_RETURN(federation::Event said, EventOf(peer_.site(), report, run.features));
  // Said again, or too late to count.
  if (run.phase != federation::RunPhase::kOffered) return absl::OkStatus();
  if (said_[RunId(report.run_id())].statistics++ > 0) return absl::OkStatus();
  return Post(std::move(said), report.ByteSizeLong());
}

absl::Status SiteSession::OnEvaluation(const v1::EvaluationReport& report,
                                       const RunIndex::Facts& run) {
  CONSILIUM_ASSIGN_OR_RETURN(federation::Event said, EventOf(peer_.site(), report));
  if (absl::Status sums = CheckMetricSums(report.metrics()); !sums.ok()) {
    return Malformed(absl::StrCat("EvaluationReport: ", sums.message()));
  }
  if (report.version() >= run.versions) {
    Drop(v1::VERSION_UNKNOWN,
         absl::StrCat("it evaluated version ", report.version(), " of the run ", report.run_id(),
                      ", which does not exist"));
    return absl::OkStatus();
  }
  // Too late to count, or nobody asked.
  if (run.phase >= federation::RunPhase::kEnded) return absl::OkStatus();
  if (report.split() == v1::TEST && run.phase != federation::RunPhase::kClosingTest) {
    return absl::OkStatus();
  }
  const EvaluationClaims::Report claim = {.run = RunId(report.run_id()),
                                          .site = peer_.site(),
                                          .version = Version(report.version()),
                                          .split = report.split()};
  if (!parts_.claims.Claim(claim)) return absl::OkStatus();
  const size_t bytes = report.ByteSizeLong();
  absl::Status posted = bytes > kEvaluationBytesFree ? Charge(bytes) : absl::OkStatus();
  if (posted.ok()) posted = Post(std::move(said), bytes);
  if (!posted.ok()) parts_.claims.Release(claim);
  return posted;
}

absl::Status SiteSession::OnEvent(const v1::SiteEvent& event) {
  CONSILIUM_RETURN_IF_ERROR(parts_.directory.Admit(peer_));
  if (event.has_hello()) return OnHello(event.hello());
  {
    absl::MutexLock lock(&mu_);
    if (stage_ != Stage::kAttached) return Malformed("a message before the stream was welcomed");
  }
  if (event.has_lease_confirm()) return OnLeaseConfirm(event.lease_confirm());
  if (event.event_case() == v1::SiteEvent::EVENT_NOT_SET) {
    return Malformed("a message of no known kind");
  }
  const std::string& run_id = event.has_run_decision() ? event.run_decision().run_id()
                              : event.has_statistics() ? event.statistics().run_id()
                                                       : event.evaluation().run_id();
  if (!CheckRunId(run_id).ok()) return Malformed("a message without its run");
  const absl::StatusOr<RunIndex::Facts> run = parts_.runs.Find(RunId(run_id));
  if (!run.ok() || !parts_.runs.FindParticipant(RunId(run_id), peer_.site()).ok()) {
    // Of an honest site too, where the aggregator's store is older than the site's: no reason to
    // end the stream, and none to keep what it says.
    Drop(v1::RUN_UNKNOWN,
         absl::StrCat("it speaks of the run ", run_id, ", which was not offered to it"));
    return absl::OkStatus();
  }
  if (event.has_run_decision()) return OnDecision(event.run_decision(), *run);
  if (event.has_statistics()) return OnStatistics(event.statistics(), *run);
  return OnEvaluation(event.evaluation(), *run);
}

absl::Status SiteSession::OnHello(const v1::Hello& hello) {
  CONSILIUM_ASSIGN_OR_RETURN(federation::SiteAttached attached, AttachOf(peer_.site(), hello));
  {
    absl::MutexLock lock(&mu_);
    if (stage_ != Stage::kNew) return Malformed("a second Hello");
    stage_ = Stage::kAttaching;
    incarnation_ = attached.incarnation;
    lease_next_ = hello.lease_next();
    software_version_ = SoftwareVersionOf(hello);
    wire_version_ = std::min(limits::kWireVersion, hello.wire_version());
  }
  EngineInput input;
  input.event = std::move(attached);
  input.bytes = hello.ByteSizeLong();
  input.link = shared_from_this();
  CONSILIUM_RETURN_IF_ERROR(Charge(input.bytes));
  if (parts_.engine.TryPost(std::move(input))) return absl::OkStatus();
  return Refusal(v1::BUSY, "the aggregator has too much to do; attach again later");
}

bool SiteSession::Welcome() {
  v1::Directive welcome;
  std::string version;
  {
    absl::MutexLock lock(&mu_);
    if (stage_ != Stage::kAttaching) return false;
    stage_ = Stage::kAttached;
    welcome = WelcomeDirective(lease_next_, wire_version_);
    version = software_version_;
  }
  parts_.notes.NoteAttached(peer_.site(), std::move(version));
  stream_->Send(std::move(welcome));
  return true;
}

void SiteSession::Send(v1::Directive directive) { stream_->Send(std::move(directive)); }

void SiteSession::End(const absl::Status& status) { stream_->Close(status); }

void SiteSession::OnEnded() {
  Stage ended_in;
  federation::SiteLost lost;
  {
    absl::MutexLock lock(&mu_);
    ended_in = std::exchange(stage_, Stage::kEnded);
    lost = {peer_.site(), incarnation_};
  }
  if (ended_in != Stage::kAttached) return;
  LogOfSite(SiteLine::kInfo, lost.site,
            absl::StrCat("lost (incarnation ", lost.incarnation.value(), ")"));
  parts_.links.Remove(lost.site, this);
  parts_.engine.PostLost(std::move(lost));
}

}  // namespace consilium
