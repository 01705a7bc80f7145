#include "protocol/rpc/join_token.h"

#include <functional>
#include <string>

#include "absl/time/clock.h"
#include "gtest/gtest.h"
#include "protocol/wire/limits.h"
#include "protocol/wire/reasons.h"
#include "tests/protocol/rpc/test_federation.h"

namespace consilium {
namespace {

using ::consilium::testing::Must;
using ::consilium::testing::TestFederation;

v1::EnrolRequest Request(const std::string& site, const std::string& token) {
  v1::EnrolRequest request;
  request.set_site_id(site);
  request.set_token(token);
  return request;
}

TEST(JoinToken, IsItsSitesForADay) {
  const absl::Time now = absl::Now();
  const NewJoinToken made = Must(MakeJoinToken(SiteId("a"), now));
  EXPECT_EQ(made.token.size(), 32u);
  const absl::Time last = now + limits::kJoinTokenLifetime - absl::Seconds(1);
  EXPECT_TRUE(CheckJoinToken(Request("a", made.token), made.record, now).ok());
  EXPECT_TRUE(CheckJoinToken(Request("a", made.token), made.record, last).ok());

  std::string other = made.token;
  other[31] = static_cast<char>(other[31] ^ 1);
  for (const v1::EnrolRequest& request :
       {Request("b", made.token), Request("a", other), Request("a", ""),
        Request("a", made.token + "x"), Request("a", made.token.substr(1))}) {
    EXPECT_EQ(DetailOf(CheckJoinToken(request, made.record, now)).reason(), v1::TOKEN_REFUSED);
  }
  EXPECT_EQ(DetailOf(CheckJoinToken(Request("a", made.token), made.record, last + absl::Seconds(1)))
                .reason(),
            v1::TOKEN_REFUSED);
}

TEST(JoinToken, IsNeverTheSameAndNotInItsRecord) {
  const NewJoinToken one = Must(MakeJoinToken(SiteId("a"), absl::Now()));
  const NewJoinToken two = Must(MakeJoinToken(SiteId("a"), absl::Now()));
  EXPECT_NE(one.token, two.token);
  EXPECT_NE(std::string(one.record.digest.begin(), one.record.digest.end()), one.token);
  EXPECT_FALSE(MakeJoinToken(SiteId("A/b"), absl::Now()).ok());
}

TEST(JoinFile, EachFieldIsChecked) {
  const TestFederation federation("heart");
  const TestFederation other("lungs");
  const absl::Time now = absl::Now();
  v1::JoinFile good;
  good.set_federation("heart");
  good.set_site_id("a");
  good.set_token(Must(MakeJoinToken(SiteId("a"), now)).token);
  good.set_root_certificate_pem(federation.root().certificate().ToPem());
  good.set_enrolment_address("agg.example:7001");
  good.set_aggregator_address("[::1]:7000");
  good.set_expires_unix_s(absl::ToUnixSeconds(now) + 3600);
  EXPECT_TRUE(CheckJoinFile(good, now).ok());

  const std::function<void(v1::JoinFile&)> spoil[] = {
      [](v1::JoinFile& file) { file.set_federation("Heart"); },
      [](v1::JoinFile& file) { file.set_site_id(""); },
      [](v1::JoinFile& file) { file.set_token("short"); },
      [](v1::JoinFile& file) { file.set_enrolment_address("agg.example"); },
      [](v1::JoinFile& file) { file.set_aggregator_address(":7000"); },
      [](v1::JoinFile& file) { file.set_root_certificate_pem("none"); },
      [&](v1::JoinFile& file) {
        file.set_root_certificate_pem(other.root().certificate().ToPem());
      }};
  for (const auto& change : spoil) {
    v1::JoinFile bad = good;
    change(bad);
    EXPECT_EQ(CheckJoinFile(bad, now).code(), absl::StatusCode::kInvalidArgument);
  }
  EXPECT_EQ(DetailOf(CheckJoinFile(good, now + absl::Hours(2))).reason(), v1::TOKEN_REFUSED);
}

}  // namespace
}  // namespace consilium
