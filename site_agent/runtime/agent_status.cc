#include "site_agent/runtime/agent_status.h"

#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "consilium/v1/site_journal.pb.h"
#include "protocol/core/status_macros.h"
#include "protocol/rpc/certificate_folder.h"
#include "protocol/wire/hash.h"
#include "site_agent/runtime/certificate_renewal.h"
#include "site_agent/runtime/link_errors.h"
#include "site_agent/runtime/progress_log.h"

namespace consilium::site {
namespace {

using nlohmann::json;

std::string TimeText(absl::Time time) {
  return absl::FormatTime(absl::RFC3339_sec, time, absl::UTCTimeZone());
}

std::string StateOf(const RunState& run) {
  if (run.ended()) return "ended";
  if (run.decision == nullptr) {
    return run.missing_data.empty() ? "waits_for_approval" : "waits_for_data";
  }
  if (!run.decision->approved()) {
    return run.refusal == kWithdrawnByPerson ? "withdrawn" : "refused";
  }
  return run.standardisation == nullptr ? "approved" : "running";
}

json DescribeReceipt(TaskId id, const TaskState& task) {
  json receipt = {{"task", id.value()},
                  {"update_sha256", ToHex(task.update)},
                  {"phase", std::string(NameOf(task.phase))},
                  {"base_version", task.base.value()}};
  if (task.acceptance != nullptr) receipt["accepted_sequence"] = task.acceptance->sequence();
  if (task.ending != nullptr) {
    receipt["ending"] = v1::Receipt::Kind_Name(task.ending->kind());
    receipt["version"] = task.ending->version();
    receipt["coefficient"] = task.ending->coefficient();
  }
  return receipt;
}

json DescribeRun(const RunId& id, const RunState& run) {
  json out = {{"run", id.value()},
              {"plan_sha256", ToHex(run.plan_hash)},
              {"state", StateOf(run)},
              {"tasks", json::object()},
              {"receipts", json::array()}};
  if (run.decision != nullptr) {
    out["train_examples"] = run.decision->train_examples();
    if (!run.decision->approved()) out["refusal"] = run.refusal;
  }
  if (!run.missing_data.empty()) out["missing_data"] = run.missing_data;
  if (run.newest.has_value()) out["newest_version"] = run.newest->value();
  if (run.result.has_value()) out["result_version"] = run.result->value();
  for (const auto& [task_id, task] : run.tasks) {
    json& count = out["tasks"][std::string(NameOf(task.phase))];
    count = count.is_null() ? 1 : count.get<int>() + 1;
    if (task.acceptance != nullptr || task.ending != nullptr) {
      out["receipts"].push_back(DescribeReceipt(task_id, task));
    }
  }
  return out;
}

json DescribePolicy(const v1::SiteJournalEntry& entry) {
  using Policy = v1::SiteJournalEntry::Policy;
  const Policy& policy = entry.policy();
  json out = {{"time", TimeText(absl::FromUnixNanos(entry.time_unix_ns()))},
              {"change", Policy::Change_Name(policy.change())}};
  if (!policy.run_id().empty()) out["run"] = policy.run_id();
  if (const auto hash = DigestFromBytes(policy.plan_hash()); hash.has_value()) {
    out["plan_sha256"] = ToHex(*hash);
  }
  if (policy.change() == Policy::MINIMUM_COUNT) out["minimum_count"] = policy.minimum_count();
  if (policy.change() == Policy::MODEL_EXPORTED) out["version"] = policy.version();
  return out;
}

}  // namespace

json DescribeSite(SiteStore& store, const SiteIdentity& identity) {
  json site = {{"site", identity.site.value()},
               {"federation", identity.federation},
               {"aggregator", identity.aggregator_address}};
  const absl::Status valid = CheckNotExpired(store, absl::Now());
  site["certificate_expired"] = !valid.ok();
  if (!valid.ok()) {
    site["certificate_error"] =
        absl::StrCat(valid.message(), ". ",
                     AdviceFor(v1::CERTIFICATE_EXPIRED, {identity.site.value(), store.folder()}));
  }
  if (const auto reason = store.RefusedForGood();
      reason.ok() && *reason != v1::REASON_UNSPECIFIED) {
    site["refused_for_good"] = v1::Reason_Name(*reason);
    site["refused_for_good_why"] = absl::StrCat(
        StateAfter(*reason), ". ", AdviceFor(*reason, {identity.site.value(), store.folder()}));
  }
  const absl::StatusOr<InstalledCertificate> installed =
      ReadInstalledCertificate(store.tls_folder());
  if (installed.ok()) {
    site["certificate_not_after"] = TimeText(installed->certificate.not_after());
    site["certificate_sha256"] = ToHex(installed->certificate.Fingerprint());
  } else {
    site["certificate_error"] = std::string(installed.status().message());
  }
  return site;
}

json DescribeRuns(const SiteEngine& engine) {
  json runs = json::array();
  for (const auto& [id, run] : engine.runs()) runs.push_back(DescribeRun(id, run));
  return runs;
}

absl::StatusOr<json> DescribeDatasets(SiteStore& store) {
  CONSILIUM_ASSIGN_OR_RETURN(const std::vector<DatasetInfo> datasets, store.Datasets());
  json list = json::array();
  for (const DatasetInfo& dataset : datasets) {
    list.push_back({{"name", dataset.name},
                    {"contract", dataset.contract.name()},
                    {"contract_sha256", ToHex(dataset.contract_hash)},
                    {"rows", dataset.rows},
                    {"rows_refused", dataset.rows_refused},
                    {"imported", TimeText(dataset.imported)}});
  }
  return json{{"datasets", std::move(list)}};
}

absl::StatusOr<json> Audit(SiteStore& store) {
  CONSILIUM_ASSIGN_OR_RETURN(const ChainHead head, store.VerifyJournal());
  struct Totals {
    uint64_t count = 0;
    uint64_t bytes = 0;
  };
  std::map<std::string, Totals> releases;
  json policy = json::array();
  CONSILIUM_RETURN_IF_ERROR(store.ReadJournal([&](const ChainRow& row) -> absl::Status {
    v1::SiteJournalEntry entry;
    if (!entry.ParseFromArray(row.payload.data(), static_cast<int>(row.payload.size()))) {
      return absl::DataLossError(
          absl::StrCat("row ", row.sequence.value(), " of the journal is no entry"));
    }
    if (entry.has_policy()) policy.push_back(DescribePolicy(entry));
    if (!entry.has_release()) return absl::OkStatus();
    Totals& totals = releases[entry.release().kind()];
    ++totals.count;
    totals.bytes += entry.release().bytes();
    return absl::OkStatus();
  }));
  json out = {{"rows", head.sequence.value()},
              {"head_sha256", ToHex(head.digest)},
              {"releases", json::object()},
              {"policy", std::move(policy)}};
  for (const auto& [kind, totals] : releases) {
    out["releases"][kind] = {{"count", totals.count}, {"bytes", totals.bytes}};
  }
  return out;
}

json DescribeImport(const ImportReport& report) {
  json refusals = json::array();
  for (const RowRefusal& refusal : report.refusals) {
    refusals.push_back(
        {{"line", refusal.line}, {"column", refusal.column}, {"reason", refusal.reason}});
  }
  return {{"rows_read", report.rows_read},
          {"rows_stored", report.rows_stored},
          {"rows_refused", report.rows_refused},
          {"refusals", std::move(refusals)}};
}

}  // namespace consilium::site
