#include "site_agent/runtime/personal_export.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/time/clock.h"
#include "protocol/core/status_macros.h"
#include "site_agent/core/events.h"
#include "site_agent/runtime/journal_codec.h"
#include "tests/fakes/status_matchers.h"

namespace consilium::site {
namespace {

constexpr Digest kHash = {7};

std::string Offer(const std::string& run, const std::string& name) {
  auto plan = std::make_shared<v1::RunPlan>();
  plan->mutable_config()->set_name(name);
  return EntryOf({absl::Now(), RunOffered{RunId(run), plan, kHash}}).SerializeAsString();
}

// As a store reads it, which it is held for.
class Journal {
 public:
  absl::Status Read(JournalVisit visit) {
    for (const std::string& row : rows) {
      ++read;
      const auto* bytes = reinterpret_cast<const uint8_t*>(row.data());
      CONSILIUM_RETURN_IF_ERROR(
          visit({.sequence = Sequence(read), .payload = {bytes, row.size()}, .digest = {}}));
    }
    return end;
  }

  std::vector<std::string> rows;
  absl::Status end;
  uint64_t read = 0;
};

absl::StatusOr<v1::RunPlan> PlanIn(Journal& journal) {
  return OfferedPlan([&](JournalVisit visit) { return journal.Read(visit); }, RunId("one"), kHash);
}

TEST(OfferedPlan, IsReadNoFurtherThanToIt) {
  Journal journal;
  journal.rows = {Offer("other", "a"), Offer("one", "b"), Offer("one", "c"), Offer("other", "d")};
  const absl::StatusOr<v1::RunPlan> plan = PlanIn(journal);
  ASSERT_THAT(plan, IsOk());
  EXPECT_EQ(plan->config().name(), "b");
  EXPECT_EQ(journal.read, 2U);
}

TEST(OfferedPlan, AJournalWithoutItIsAnError) {
  Journal journal;
  journal.rows = {Offer("other", "a")};
  EXPECT_THAT(PlanIn(journal), IsError(absl::StatusCode::kDataLoss, "no plan of the run"));
  journal.end = absl::UnavailableError("no disk");
  EXPECT_THAT(PlanIn(journal), IsError(absl::StatusCode::kUnavailable, "no disk"));
}

}  // namespace
}  // namespace consilium::site
