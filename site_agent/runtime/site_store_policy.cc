// What a site's people decide, and what it has said of its data: the policy of a SiteStore.

#include <cstring>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "privacy/at_rest/key_ring.h"
#include "protocol/core/status_macros.h"
#include "protocol/wire/hash.h"
#include "protocol/wire/reasons.h"
#include "site_agent/core/release_rules.h"
#include "site_agent/runtime/site_store.h"

namespace consilium::site {
namespace {

using Policy = v1::SiteJournalEntry::Policy;

constexpr char kStatisticsKey[] = "statistics";

std::string EntryOf(const Policy& policy) {
  v1::SiteJournalEntry entry;
  entry.set_time_unix_ns(absl::ToUnixNanos(absl::Now()));
  *entry.mutable_policy() = policy;
  return entry.SerializeAsString();
}

std::span<const uint8_t> BytesOf(const std::vector<uint64_t>& numbers) {
  return {reinterpret_cast<const uint8_t*>(numbers.data()), numbers.size() * sizeof(uint64_t)};
}

std::vector<uint64_t> NumbersOf(std::span<const uint8_t> bytes) {
  std::vector<uint64_t> numbers(bytes.size() / sizeof(uint64_t));
  memcpy(numbers.data(), bytes.data(), numbers.size() * sizeof(uint64_t));
  return numbers;
}

Digest SetHash(const MeasuredSet& set) {
  FieldHasher hash("consilium.site.statistics_set.v1");
  hash.Add(absl::string_view(set.column)).Add(uint64_t{set.patients.size()});
  for (const uint64_t patient : set.patients) hash.Add(patient);
  return hash.Finish();
}

}  // namespace

absl::Status SiteStore::ChangePolicy(const Policy& policy,
                                     absl::FunctionRef<absl::Status()> change) {
  CONSILIUM_ASSIGN_OR_RETURN(Transaction transaction, database_->Begin());
  CONSILIUM_RETURN_IF_ERROR(change());
  const std::string entry = EntryOf(policy);
  CONSILIUM_RETURN_IF_ERROR(
      journal_.AppendIn(transaction, std::span<const std::string>(&entry, 1)).status());
  return transaction.Commit();
}

absl::Status SiteStore::ApproveRun(const RunId& run, const Digest& plan_hash) {
  absl::MutexLock lock(&mu_);
  Policy policy;
  policy.set_change(Policy::RUN_APPROVED);
  policy.set_run_id(run.value());
  policy.set_plan_hash(ToBytes(plan_hash));
  return ChangePolicy(policy, [&]() -> absl::Status {
    mu_.AssertHeld();
    CONSILIUM_ASSIGN_OR_RETURN(
        Statement put, database_->Prepare("INSERT OR REPLACE INTO run_approval (run_id, plan_hash, "
                                          "unix_ns) VALUES (?1, ?2, ?3)"));
    return put.Bind(run.value(), plan_hash, absl::ToUnixNanos(absl::Now())).Run();
  });
}

absl::Status SiteStore::WithdrawRun(const RunId& run) {
  absl::MutexLock lock(&mu_);
  Policy policy;
  policy.set_change(Policy::RUN_WITHDRAWN);
  policy.set_run_id(run.value());
  return ChangePolicy(policy, [&]() -> absl::Status {
    mu_.AssertHeld();
    CONSILIUM_ASSIGN_OR_RETURN(Statement remove,
                               database_->Prepare("DELETE FROM run_approval WHERE run_id = ?1"));
    return remove.Bind(run.value()).Run();
  });
}

absl::Status SiteStore::SetAllRuns(AllRuns all_runs) {
  absl::MutexLock lock(&mu_);
  Policy policy;
  policy.set_change(all_runs == AllRuns::kApproved ? Policy::ALL_RUNS_APPROVED
                                                   : Policy::ALL_RUNS_TAKEN_BACK);
  return ChangePolicy(policy, [&]() -> absl::Status {
    mu_.AssertHeld();
    return PutValue("approve_all_runs", all_runs == AllRuns::kApproved ? "yes" : "no");
  });
}

absl::StatusOr<AllRuns> SiteStore::ReadAllRuns() {
  CONSILIUM_ASSIGN_OR_RETURN(const std::optional<std::string> value, Value("approve_all_runs"));
  return value == "yes" ? AllRuns::kApproved : AllRuns::kOneByOne;
}

absl::StatusOr<AllRuns> SiteStore::ApprovalOfAllRuns() {
  absl::MutexLock lock(&mu_);
  return ReadAllRuns();
}

absl::StatusOr<bool> SiteStore::IsApproved(const RunId& run, const Digest& plan_hash) {
  absl::MutexLock lock(&mu_);
  CONSILIUM_ASSIGN_OR_RETURN(const AllRuns all_runs, ReadAllRuns());
  if (all_runs == AllRuns::kApproved) return true;
  CONSILIUM_ASSIGN_OR_RETURN(
      Statement select,
      database_->Prepare("SELECT 1 FROM run_approval WHERE run_id = ?1 AND plan_hash = ?2"));
  return select.Bind(run.value(), plan_hash).Step();
}

absl::StatusOr<uint64_t> SiteStore::MinimumCount() {
  absl::MutexLock lock(&mu_);
  CONSILIUM_ASSIGN_OR_RETURN(const std::optional<std::string> value, Value("minimum_count"));
  if (!value.has_value()) return kMinimumCountDefault;
  uint64_t count = 0;
  if (!absl::SimpleAtoi(*value, &count) || count == 0) {
    return absl::DataLossError("the store's minimum count is none");
  }
  return count;
}

absl::Status SiteStore::SetMinimumCount(uint64_t count) {
  if (count < kMinimumCountMin) {
    return absl::InvalidArgumentError(
        absl::StrCat("the minimum count is at least ", kMinimumCountMin,
                     ": a number over fewer patients is one patient's"));
  }
  absl::MutexLock lock(&mu_);
  Policy policy;
  policy.set_change(Policy::MINIMUM_COUNT);
  policy.set_minimum_count(count);
  return ChangePolicy(policy, [&]() -> absl::Status {
    mu_.AssertHeld();
    return PutValue("minimum_count", absl::StrCat(count));
  });
}

absl::Status SiteStore::RecordExport(const RunId& run, Version version) {
  absl::MutexLock lock(&mu_);
  Policy policy;
  policy.set_change(Policy::MODEL_EXPORTED);
  policy.set_run_id(run.value());
  policy.set_version(version.value());
  return ChangePolicy(policy, [] { return absl::OkStatus(); });
}

absl::StatusOr<SecretBytes> SiteStore::StatisticsKey() {
  absl::MutexLock lock(&mu_);
  return database_->keys()->GetOrCreate(kStatisticsKey);
}

absl::Status SiteStore::CheckApart(const MeasuredSet& set, uint64_t minimum_count) {
  CONSILIUM_ASSIGN_OR_RETURN(
      Statement select,
      database_->Prepare("SELECT patients FROM released_statistics WHERE column_name = ?1"));
  CONSILIUM_ASSIGN_OR_RETURN(bool more, select.Bind(set.column).Step());
  while (more) {
    const size_t difference = DifferenceOf(set.patients, NumbersOf(select.ColumnBlob(0)));
    if (difference > 0 && difference < minimum_count) {
      return Refusal(
          v1::NOT_APPROVED,
          absl::StrCat("the sums of column ", set.column,
                       " have left this site before, over "
                       "training patients that differ from this run's in ",
                       difference,
                       ": the difference of the sums would be theirs alone, and this site's "
                       "minimum is ",
                       minimum_count));
    }
    CONSILIUM_ASSIGN_OR_RETURN(more, select.Step());
  }
  return absl::OkStatus();
}

absl::Status SiteStore::CheckStatistics(std::span<const MeasuredSet> sets, uint64_t minimum_count) {
  absl::MutexLock lock(&mu_);
  for (const MeasuredSet& set : sets) {
    CONSILIUM_RETURN_IF_ERROR(CheckApart(set, minimum_count));
  }
  return absl::OkStatus();
}

absl::Status SiteStore::RecordStatistics(std::span<const MeasuredSet> sets,
                                         uint64_t minimum_count) {
  absl::MutexLock lock(&mu_);
  CONSILIUM_ASSIGN_OR_RETURN(Transaction transaction, database_->Begin());
  for (const MeasuredSet& set : sets) {
    CONSILIUM_RETURN_IF_ERROR(CheckApart(set, minimum_count));
    CONSILIUM_ASSIGN_OR_RETURN(
        Statement put,
        database_->Prepare("INSERT OR IGNORE INTO released_statistics (column_name, set_hash, "
                           "patients, unix_ns) VALUES (?1, ?2, ?3, ?4)"));
    CONSILIUM_RETURN_IF_ERROR(
        put.Bind(set.column, SetHash(set), BytesOf(set.patients), absl::ToUnixNanos(absl::Now()))
            .Run());
  }
  return transaction.Commit();
}

}  // namespace consilium::site
