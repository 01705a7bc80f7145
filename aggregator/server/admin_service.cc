#include "aggregator/server/admin_service.h"

#include <spdlog/spdlog.h>

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "aggregator/server/audit.h"
#include "aggregator/server/run_export.h"
#include "aggregator/server/run_report.h"
#include "aggregator/server/transfers.h"
#include "models/spec/run_plan.h"
#include "protocol/core/status_macros.h"
#include "protocol/rpc/rpc_status.h"
#include "protocol/wire/hash.h"
#include "protocol/wire/identity.h"
#include "protocol/wire/limits.h"
#include "protocol/wire/reasons.h"

namespace consilium {
namespace {

using federation::FederationEngine;

constexpr char kOperatorName[] = "local operator";
// How often a watcher that hears nothing is looked after: it may have gone.
constexpr absl::Duration kWatcherCheck = absl::Seconds(1);

absl::Status NoSuchRun(const std::string& run_id) {
  return Refusal(v1::RUN_UNKNOWN,
                 absl::StrCat("there is no run \"", run_id, "\"; `consilium run list` names them"));
}

template <typename T>
grpc::Status Answer(absl::StatusOr<T> result, T* response) {
  if (!result.ok()) return ToGrpcStatus(result.status());
  *response = *std::move(result);
  return grpc::Status::OK;
}

absl::string_view StateOf(const SiteDirectory::Entry& entry, const FederationEngine& engine) {
  if (entry.site.state == SiteRecord::State::kRevoked) return "revoked";
  if (entry.site.state == SiteRecord::State::kInvited) return "invited";
  const auto site = engine.sites().find(entry.site.site);
  if (site == engine.sites().end()) return "enrolled";
  switch (site->second.link) {
    case federation::SiteState::Link::kAttached:
      return "attached";
    case federation::SiteState::Link::kLost:
      return "lost";
    case federation::SiteState::Link::kNeverSeen:
      return "enrolled";
    case federation::SiteState::Link::kRemoved:
      return "revoked";
  }
  return "";
}

v1::SiteReport ReportOf(const SiteDirectory::Entry& entry, const FederationEngine& engine) {
  v1::SiteReport report;
  report.set_site_id(entry.site.site.value());
  report.set_state(std::string(StateOf(entry, engine)));
  if (entry.newest_certificate.fingerprint != Digest{}) {
    report.set_certificate_ends_unix_s(absl::ToUnixSeconds(entry.newest_certificate.ends));
    report.set_certificate_sha256(ToHex(entry.newest_certificate.fingerprint));
  }
  report.set_last_seen_unix_s(absl::ToUnixSeconds(entry.site.last_seen));
  report.set_software_version(entry.site.software_version);
  if (entry.site.signing_key != PublicKey{}) {
    report.set_signing_key_sha256(ToHex(Sha256Of(entry.site.signing_key)));
  }
  return report;
}

// Whether a join file may be made for a site with such a link, and what for.
absl::StatusOr<Invitation::Joining> JoiningOf(const v1::AddSiteRequest& request,
                                              federation::SiteState::Link link) {
  const std::string& site = request.site_id();
  switch (link) {
    case federation::SiteState::Link::kNeverSeen:
      return Invitation::Joining::kFirst;
    case federation::SiteState::Link::kRemoved:
      return absl::FailedPreconditionError(
          absl::StrCat("the site ", site, " was revoked, which is for good: add it by a new name"));
    case federation::SiteState::Link::kAttached:  // By a copy of its store, the operator says.
    case federation::SiteState::Link::kLost:
      if (!request.again()) break;
      return Invitation::Joining::kAgain;
  }
  return absl::AlreadyExistsError(
      absl::StrCat("the site ", site,
                   " has attached before: a new store of it needs a new name. Where it keeps its "
                   "store and only its certificate has ended: consilium site add --again ",
                   site));
}

}  // namespace

AdminService::AdminService(Parts parts) : parts_(std::move(parts)), started_(parts_.clock.Now()) {}

grpc::Status AdminService::AddSite(grpc::ServerContext*, const v1::AddSiteRequest* request,
                                   v1::AddSiteResponse* response) {
  return Answer(AddSite(*request), response);
}

absl::StatusOr<v1::AddSiteResponse> AdminService::AddSite(const v1::AddSiteRequest& request) {
  CONSILIUM_RETURN_IF_ERROR(CheckSiteId(request.site_id()));
  const SiteId site(request.site_id());
  auto link = federation::SiteState::Link::kNeverSeen;
  CONSILIUM_RETURN_IF_ERROR(parts_.engine.Inspect([&](const FederationEngine& engine) {
    const auto it = engine.sites().find(site);
    if (it != engine.sites().end()) link = it->second.link;
  }));
  CONSILIUM_ASSIGN_OR_RETURN(const Invitation::Joining joining, JoiningOf(request, link));
  const absl::Time now = parts_.clock.Now();
  const absl::Time expires = now + limits::kJoinTokenLifetime;
  CONSILIUM_ASSIGN_OR_RETURN(SiteDirectory::Invited invited,
                             parts_.directory.Invite(site, expires, joining));
  spdlog::info("site {} invited", site.value());
  if (joining == Invitation::Joining::kAgain) {
    // Whoever has a stream by one of the certificates that are void from now on.
    parts_.disconnect(
        site, Refusal(v1::LEASE_FENCED, absl::StrCat("the operator has made a new join file for ",
                                                     site.value(), ": what it had is void")));
  }
  v1::AddSiteResponse response;
  response.set_earlier_join_file_ended(invited.earlier_expires > now);
  v1::JoinFile& join = *response.mutable_join_file();
  join.set_federation(parts_.identity.federation());
  join.set_site_id(site.value());
  join.set_token(std::move(invited.token));
  join.set_root_certificate_pem(parts_.identity.root_pem());
  join.set_enrolment_address(parts_.enrolment_address);
  join.set_aggregator_address(parts_.main_address);
  join.set_expires_unix_s(absl::ToUnixSeconds(expires));
  return response;
}

grpc::Status AdminService::ListSites(grpc::ServerContext*, const v1::ListSitesRequest*,
                                     v1::ListSitesResponse* response) {
  const std::vector<SiteDirectory::Entry> sites = parts_.directory.List();
  return ToGrpcStatus(parts_.engine.Inspect([&](const FederationEngine& engine) {
    for (const SiteDirectory::Entry& entry : sites)
      *response->add_sites() = ReportOf(entry, engine);
  }));
}

grpc::Status AdminService::RevokeSite(grpc::ServerContext*, const v1::RevokeSiteRequest* request,
                                      v1::RevokeSiteResponse*) {
  return ToGrpcStatus(RevokeSite(SiteId(request->site_id())));
}

absl::Status AdminService::RevokeSite(const SiteId& site) {
  CONSILIUM_RETURN_IF_ERROR(parts_.directory.Revoke(site));
  spdlog::warn("site {} revoked", site.value());
  parts_.disconnect(
      site, Refusal(v1::SITE_REVOKED, absl::StrCat("the site ", site.value(), " was revoked")));
  bool known = false;
  CONSILIUM_RETURN_IF_ERROR(parts_.engine.Inspect(
      [&](const FederationEngine& engine) { known = engine.sites().contains(site); }));
  if (!known) return absl::OkStatus();
  return parts_.engine.PostAndWait(federation::SiteRemoved{site});
}

grpc::Status AdminService::SubmitRun(grpc::ServerContext*, const v1::SubmitRunRequest* request,
                                     v1::SubmitRunResponse* response) {
  return Answer(SubmitRun(request->plan()), response);
}

absl::StatusOr<v1::SubmitRunResponse> AdminService::SubmitRun(const v1::RunPlan& submitted) {
  CONSILIUM_ASSIGN_OR_RETURN(v1::RunPlan plan, ResolvePlan(submitted));
  // The number of a run is settled and taken under one lock.
  absl::MutexLock lock(&submitting_);
  // The plan's hash tells runs of one name apart at a glance.
  const std::string stem =
      absl::StrCat(plan.config().name(), "-", ToHex(PlanHash(plan)).substr(0, 8), "-");
  RunId run;
  size_t runs = 0;
  CONSILIUM_RETURN_IF_ERROR(parts_.engine.Inspect([&](const FederationEngine& engine) {
    runs = engine.runs().size();
    for (uint64_t number = 1; run.empty() || engine.runs().contains(run); ++number) {
      run = RunId(absl::StrCat(stem, number));
    }
  }));
  if (runs >= limits::kRunsMax) {
    return absl::ResourceExhaustedError("the aggregator has its largest number of runs");
  }
  federation::RunSubmitted event;
  event.run = run;
  event.plan = std::make_shared<const v1::RunPlan>(std::move(plan));
  CONSILIUM_RETURN_IF_ERROR(parts_.engine.PostAndWait(std::move(event)));
  v1::SubmitRunResponse response;
  CONSILIUM_RETURN_IF_ERROR(parts_.engine.Inspect([&](const FederationEngine& engine) {
    const auto it = engine.runs().find(run);
    if (it == engine.runs().end()) return;
    response.set_run_id(run.value());
    response.set_plan_hash(ToBytes(it->second.plan_hash));
    for (std::string& warning : WarningsOf(it->second)) {
      *response.add_warnings() = std::move(warning);
    }
  }));
  if (response.run_id().empty()) {
    return absl::InvalidArgumentError("the plan can not be run; the aggregator's log says why");
  }
  spdlog::info("run {} submitted", run.value());
  return response;
}

std::vector<std::string> AdminService::WarningsOf(const federation::RunState& run) const {
  if (run.phase >= federation::RunPhase::kEnded) {
    return {absl::StrCat("the run has ended already: ", run.why_ended)};
  }
  std::map<SiteId, SiteRecord::State> states;
  for (const SiteDirectory::Entry& entry : parts_.directory.List()) {
    states[entry.site.site] = entry.site.state;
  }
  std::vector<std::string> warnings;
  for (const auto& [site, participant] : run.participants) {
    const auto found = states.find(site);
    if (found == states.end()) {
      warnings.push_back(absl::StrCat("the run waits for \"", site.value(),
                                      "\", which was not added: consilium site add ",
                                      site.value()));
    } else if (found->second == SiteRecord::State::kInvited) {
      warnings.push_back(absl::StrCat("the run waits for \"", site.value(),
                                      "\", which has not enrolled yet: consilium-agent enrol"));
    } else if (found->second == SiteRecord::State::kRevoked) {
      warnings.push_back(
          absl::StrCat("the run goes without \"", site.value(), "\", which was revoked"));
    }
  }
  return warnings;
}

grpc::Status AdminService::ListRuns(grpc::ServerContext*, const v1::ListRunsRequest*,
                                    v1::ListRunsResponse* response) {
  return ToGrpcStatus(parts_.engine.Inspect([&](const FederationEngine& engine) {
    for (const auto& [id, run] : engine.runs()) *response->add_runs() = SummaryOf(run);
  }));
}

absl::StatusOr<v1::RunReport> AdminService::Report(const std::string& run_id) {
  absl::StatusOr<v1::RunReport> report = NoSuchRun(run_id);
  CONSILIUM_RETURN_IF_ERROR(parts_.engine.Inspect([&](const FederationEngine& engine) {
    const auto run = engine.runs().find(RunId(run_id));
    if (run != engine.runs().end()) report = consilium::ReportOf(run->second);
  }));
  return report;
}

grpc::Status AdminService::GetRun(grpc::ServerContext*, const v1::GetRunRequest* request,
                                  v1::RunReport* response) {
  return Answer(Report(request->run_id()), response);
}

grpc::Status AdminService::WatchRun(grpc::ServerContext* context, const v1::GetRunRequest* request,
                                    grpc::ServerWriter<v1::RunReport>* writer) {
  const RunId run(request->run_id());
  while (!context->IsCancelled() && !stopped_.HasBeenNotified()) {
    // Counted before the look, so that a change during it is not missed.
    const uint64_t seen = parts_.runs.Changes(run);
    const absl::StatusOr<v1::RunReport> report = Report(request->run_id());
    if (!report.ok()) return ToGrpcStatus(report.status());
    if (!writer->Write(*report)) break;
    if (report->phase() == "ended" || report->phase() == "purged") return grpc::Status::OK;
    while (parts_.runs.AwaitChange(run, seen, kWatcherCheck) == seen) {
      if (context->IsCancelled() || stopped_.HasBeenNotified()) break;
    }
  }
  return ToGrpcStatus(absl::UnavailableError("the aggregator is stopping"));
}

grpc::Status AdminService::StopRun(grpc::ServerContext*, const v1::StopRunRequest* request,
                                   v1::StopRunResponse* response) {
  const auto run = parts_.runs.Find(RunId(request->run_id()));
  if (!run.ok()) return ToGrpcStatus(run.status());
  if (run->phase >= federation::RunPhase::kEnded) {
    response->set_had_ended(true);
    return grpc::Status::OK;
  }
  spdlog::info("run {} is stopped by the operator", request->run_id());
  return ToGrpcStatus(parts_.engine.PostAndWait(
      federation::StopRequested{RunId(request->run_id()), kOperatorName}));
}

grpc::Status AdminService::PurgeRun(grpc::ServerContext*, const v1::PurgeRunRequest* request,
                                    v1::PurgeRunResponse* response) {
  return Answer(Purge(*request), response);
}

absl::StatusOr<v1::PurgeRunResponse> AdminService::Purge(const v1::PurgeRunRequest& request) {
  const RunId run(request.run_id());
  v1::PurgeRunResponse response;
  CONSILIUM_ASSIGN_OR_RETURN(const RunIndex::Facts facts, parts_.runs.Find(run));
  if (facts.phase == federation::RunPhase::kPurged) return response;
  if (facts.phase != federation::RunPhase::kEnded) {
    return absl::FailedPreconditionError(
        absl::StrCat("the run ", run.value(), " has not ended: stop it first"));
  }
  if (!request.with_models()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "purging removes all models of ", run.value(),
        ", its result too, and can not be undone: export the result first (consilium model export ",
        run.value(), " --out FILE), then purge with --with-models"));
  }
  CONSILIUM_ASSIGN_OR_RETURN(const std::shared_ptr<SealedVectors> vectors,
                             parts_.vectors.Get(run, facts.elements));
  CONSILIUM_ASSIGN_OR_RETURN(const std::vector<Digest> blobs, vectors->blobs().List());
  response.set_blobs_removed(blobs.size());
  CONSILIUM_RETURN_IF_ERROR(
      parts_.engine.PostAndWait(federation::PurgeRequested{run, kOperatorName}));
  // The files go right after the record's commit: one more turn of the engine, and they are gone.
  CONSILIUM_RETURN_IF_ERROR(parts_.engine.Inspect([](const FederationEngine&) {}));
  return response;
}

grpc::Status AdminService::ExportRun(grpc::ServerContext*, const v1::ExportRunRequest* request,
                                     grpc::ServerWriter<v1::Chunk>* writer) {
  return ToGrpcStatus(ExportRunTo({.engine = parts_.engine,
                                   .store = parts_.store,
                                   .runs = parts_.runs,
                                   .vectors = parts_.vectors,
                                   .identity = parts_.identity,
                                   .clock = parts_.clock,
                                   .software_version = parts_.software_version},
                                  *request, [writer](absl::string_view bytes) {
                                    v1::Chunk chunk;
                                    chunk.set_data(std::string(bytes));
                                    return writer->Write(chunk)
                                               ? absl::OkStatus()
                                               : absl::CancelledError("the caller has gone");
                                  }));
}

absl::StatusOr<Version> AdminService::VersionToExport(const v1::ExportModelRequest& request) {
  if (request.has_version()) return Version(request.version());
  CONSILIUM_ASSIGN_OR_RETURN(const v1::RunReport report, Report(request.run_id()));
  return Version(report.has_result_version() ? report.result_version() : report.current_version());
}

grpc::Status AdminService::ExportModel(grpc::ServerContext*, const v1::ExportModelRequest* request,
                                       grpc::ServerWriter<v1::Chunk>* writer) {
  const absl::StatusOr<Version> version = VersionToExport(*request);
  if (!version.ok()) return ToGrpcStatus(version.status());
  absl::StatusOr<ModelPayload> model = OpenModel(
      parts_.runs, parts_.vectors, RunId(request->run_id()), *version, ModelParts::kWeights);
  if (!model.ok()) return ToGrpcStatus(model.status());
  const uint64_t bytes = model->header.payload_bytes();
  v1::Chunk first;
  *first.mutable_model() = std::move(model->header);
  if (!writer->Write(first)) return grpc::Status::CANCELLED;
  for (uint64_t offset = 0; offset < bytes;) {
    const absl::StatusOr<SharedBytes> piece = model->payload->Read(offset);
    if (!piece.ok()) return ToGrpcStatus(piece.status());
    v1::Chunk chunk;
    chunk.set_data(piece->bytes.data(), piece->bytes.size());
    if (!writer->Write(chunk)) return grpc::Status::CANCELLED;
    offset += piece->bytes.size();
  }
  return grpc::Status::OK;
}

grpc::Status AdminService::VerifyAudit(grpc::ServerContext*, const v1::VerifyAuditRequest*,
                                       v1::VerifyAuditResponse* response) {
  return Answer(consilium::VerifyAudit({.engine = parts_.engine,
                                        .store = parts_.store,
                                        .vectors = parts_.vectors,
                                        .signing_key = parts_.identity.signing_key().public_key()}),
                response);
}

grpc::Status AdminService::GetStatus(grpc::ServerContext*, const v1::GetStatusRequest*,
                                     v1::AggregatorStatus* response) {
  const absl::StatusOr<ChainHead> head = parts_.store.Head();
  if (!head.ok()) return ToGrpcStatus(head.status());
  response->set_federation(parts_.identity.federation());
  response->set_software_version(parts_.software_version);
  response->set_started_unix_s(absl::ToUnixSeconds(started_));
  response->set_journal_entries(head->sequence.value());
  response->set_journal_head(ToBytes(head->digest));
  response->set_main_address(parts_.main_address);
  response->set_enrolment_address(parts_.enrolment_address);
  response->set_signing_key(ToBytes(parts_.identity.signing_key().public_key()));
  return ToGrpcStatus(parts_.engine.Inspect([response](const FederationEngine& engine) {
    uint64_t attached = 0;
    uint64_t live = 0;
    for (const auto& [id, site] : engine.sites()) {
      attached += site.link == federation::SiteState::Link::kAttached ? 1 : 0;
    }
    for (const auto& [id, run] : engine.runs()) {
      live += run.phase < federation::RunPhase::kEnded ? 1 : 0;
    }
    response->set_sites_attached(attached);
    response->set_runs_live(live);
  }));
}

}  // namespace consilium
