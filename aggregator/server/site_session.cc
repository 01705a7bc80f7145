#include "aggregator/server/site_session.h"

#include <spdlog/spdlog.h>

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "aggregator/server/directives.h"
#include "aggregator/server/site_log.h"
#include "protocol/core/status_macros.h"
#include "protocol/core/utf8.h"
#include "protocol/wire/hash.h"
#include "protocol/wire/identity.h"
#include "protocol/wire/limits.h"
#include "protocol/wire/reasons.h"

namespace consilium {
namespace {

constexpr size_t kLeaseBytes = 32;
// Of what a site says about a refusal; longer text is cut.
constexpr size_t kTextBytesMax = 400;
constexpr size_t kVersionCharsMax = 64;

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
  for (const v1::RunProgress& run : hello.runs()) {
    if (!CheckRunId(run.run_id()).ok()) return Malformed("Hello: progress without a run");
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

absl::Status SiteSession::Post(EngineInput input) {
  CONSILIUM_RETURN_IF_ERROR(parts_.budget.Take(peer_.site(), input.bytes, parts_.clock.Now()));
  if (parts_.engine.TryPost(std::move(input))) return absl::OkStatus();
  return Refusal(v1::BUSY, "the aggregator has too much to do; attach again later");
}

bool SiteSession::TakesPart(const std::string& run) {
  if (parts_.runs.FindParticipant(RunId(run), peer_.site()).ok()) return true;
  // Of an honest site too, where the aggregator's store is older than the site's: no reason to end
  // the stream, and none to keep what it says.
  if (!std::exchange(told_of_unknown_run_, true)) {
    LogOfSite(SiteLine::kAlarm, peer_.site(),
              absl::StrCat(v1::Reason_Name(v1::RUN_UNKNOWN), ": it speaks of the run ", run,
                           ", which was not offered to it"));
  }
  return false;
}

// What a message about a run says to the engine; nothing where it says nothing to it.
absl::StatusOr<std::optional<federation::Event>> SiteSession::EventOfRun(
    const v1::SiteEvent& event) {
  const std::string& run = event.has_run_decision() ? event.run_decision().run_id()
                           : event.has_statistics() ? event.statistics().run_id()
                                                    : event.evaluation().run_id();
  if (!CheckRunId(run).ok()) return Malformed("a message without its run");
  if (!TakesPart(run)) return std::optional<federation::Event>();
  absl::StatusOr<federation::Event> said = Malformed("a message of no known kind");
  if (event.has_run_decision()) {
    said = EventOf(peer_.site(), event.run_decision());
  } else if (event.has_statistics()) {
    CONSILIUM_ASSIGN_OR_RETURN(const RunIndex::Facts facts, parts_.runs.Find(RunId(run)));
    // Said again, or too late to count.
    if (facts.phase != federation::RunPhase::kOffered) return std::optional<federation::Event>();
    said = EventOf(peer_.site(), event.statistics(), facts.features);
  } else {
    said = EventOf(peer_.site(), event.evaluation());
  }
  if (!said.ok()) return said.status();
  return std::optional<federation::Event>(*std::move(said));
}

absl::Status SiteSession::OnEvent(const v1::SiteEvent& event) {
  CONSILIUM_RETURN_IF_ERROR(parts_.directory.Admit(peer_));
  if (event.has_hello()) return OnHello(event.hello());
  {
    absl::MutexLock lock(&mu_);
    if (stage_ != Stage::kAttached) return Malformed("a message before the stream was welcomed");
  }
  EngineInput input;
  input.bytes = event.ByteSizeLong();
  if (event.has_lease_confirm()) {
    if (event.lease_confirm().lease().size() != kLeaseBytes) {
      return Malformed("LeaseConfirm: a lease has 32 bytes");
    }
    input.event = federation::LeaseConfirmed{
        peer_.site(), Sha256Of(absl::string_view(event.lease_confirm().lease()))};
    return Post(std::move(input));
  }
  if (event.event_case() == v1::SiteEvent::EVENT_NOT_SET) {
    return Malformed("a message of no known kind");
  }
  CONSILIUM_ASSIGN_OR_RETURN(std::optional<federation::Event> said, EventOfRun(event));
  if (!said.has_value()) return absl::OkStatus();
  input.event = *std::move(said);
  return Post(std::move(input));
}

absl::Status SiteSession::OnHello(const v1::Hello& hello) {
  CONSILIUM_ASSIGN_OR_RETURN(federation::SiteAttached attached, AttachOf(peer_.site(), hello));
  {
    absl::MutexLock lock(&mu_);
    if (stage_ != Stage::kNew) return Malformed("a second Hello");
    stage_ = Stage::kAttaching;
    incarnation_ = attached.incarnation;
    lease_next_ = hello.lease_next();
    wire_version_ = std::min(limits::kWireVersion, hello.wire_version());
  }
  parts_.work.Run([parts = parts_, site = peer_.site(), version = SoftwareVersionOf(hello)] {
    const absl::Status seen = parts.directory.NoteSeen(site, parts.clock.Now(), version);
    if (!seen.ok()) spdlog::error("site {}: {}", site.value(), seen.ToString());
  });
  EngineInput input;
  input.event = std::move(attached);
  input.bytes = hello.ByteSizeLong();
  input.link = shared_from_this();
  return Post(std::move(input));
}

bool SiteSession::Welcome() {
  v1::Directive welcome;
  {
    absl::MutexLock lock(&mu_);
    if (stage_ != Stage::kAttaching) return false;
    stage_ = Stage::kAttached;
    welcome = WelcomeDirective(lease_next_, wire_version_);
  }
  parts_.work.Run([parts = parts_, site = peer_.site()] {
    // A join file that was made and not used must not let another one in its place.
    const absl::Status dropped = parts.directory.DropToken(site);
    if (!dropped.ok()) spdlog::error("site {}: {}", site.value(), dropped.ToString());
  });
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
  EngineInput input;
  input.event = std::move(lost);
  parts_.engine.Post(std::move(input));
}

}  // namespace consilium
