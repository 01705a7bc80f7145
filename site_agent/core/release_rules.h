// What may leave a hospital, by kind and content: the rules of the egress gate (egress_gate.h),
// apart from it so that the simulator applies the same ones and a reviewer reads one page.
//
//   kind             what it is                               rule besides its form
//   enrolment        token, certificate request, public key   once, before there is an identity
//   renewal          certificate request
//   hello            counters, leases, ids of held receipts
//   lease_confirm    a lease
//   decision         yes or no to a run, n                    n is 0 or at least the minimum count
//   statistics       n, Σx, Σx² per feature                   each n is 0 or at least the minimum
//   evaluation       sums of metrics                          n, n of each class, n with and
//   without
//                                                             an event: 0 or at least it
//   update           a trained difference of weights          n is at least the minimum
//   fetch            which model is wanted
//
// n counts rows in all of these, and the gate sees no more than n. That as many *patients* stand
// behind each number is seen to where it is computed (site_work.h): of whom the rows of a feature,
// a part or a class are, and whose rows the steps of one update have seen.
//
// Threads: any.

#ifndef CONSILIUM_SITE_AGENT_CORE_RELEASE_RULES_H_
#define CONSILIUM_SITE_AGENT_CORE_RELEASE_RULES_H_

#include <cstdint>
#include <span>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "consilium/v1/coordination.pb.h"
#include "consilium/v1/transfer.pb.h"
#include "models/spec/examples.h"

namespace consilium::site {

// Numbers over fewer patients than this do not leave. A patient with many rows counts once.
inline constexpr uint64_t kMinimumCountDefault = 5;
// A lower one would say what single patients have.
inline constexpr uint64_t kMinimumCountMin = 2;

enum class ReleaseKind : uint8_t {
  kEnrolment,
  kRenewal,
  kHello,
  kLeaseConfirm,
  kDecision,
  kStatistics,
  kEvaluation,
  kUpdate,
  kFetch,
};
absl::string_view NameOf(ReleaseKind kind);

// The kind of an event that may leave. FAILED_PRECONDITION says which rule it breaks: a
// programmer's error of this agent, so it is not sent and shows as an alarm.
absl::StatusOr<ReleaseKind> CheckRelease(const v1::SiteEvent& event, uint64_t minimum_count);
absl::Status CheckRelease(const v1::UpdateHeader& header, uint64_t minimum_count);

// Makes a report fit the rule: a feature that was measured in fewer patients than the minimum is
// reported as measured in none. `patients` has one entry for each feature (PatientsPerFeature).
void WithholdSmallCounts(uint64_t minimum_count, std::span<const uint64_t> patients,
                         v1::StatisticsReport& report);

// Below the minimum of patients in the part every metric is absent, and so is n. Where a class has
// some patients, but fewer than the minimum, whatever speaks of single classes is absent: their
// counts, and the pairs of AUROC. So it is where some had an event, or had none, but fewer than the
// minimum: their number, the C-index's pairs and the Cox loss; with a discrete hazard's loss, which
// can be asked for times, every metric and n. `part` is what the metrics are over.
void WithholdSmallCounts(uint64_t minimum_count, const Examples& part, v1::MetricSums& metrics);

}  // namespace consilium::site

#endif  // CONSILIUM_SITE_AGENT_CORE_RELEASE_RULES_H_
