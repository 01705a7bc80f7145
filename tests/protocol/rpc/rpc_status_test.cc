#include "protocol/rpc/rpc_status.h"

#include <string>

#include "gtest/gtest.h"
#include "protocol/wire/reasons.h"

namespace consilium {
namespace {

TEST(RpcStatus, EveryReasonSurvivesTheWire) {
  EXPECT_TRUE(ToGrpcStatus(absl::OkStatus()).ok());
  EXPECT_TRUE(FromGrpcStatus(grpc::Status::OK).ok());
  for (int number = 1; number <= v1::Reason_MAX; ++number) {
    if (!v1::Reason_IsValid(number)) continue;
    v1::ErrorDetail detail;
    detail.set_reason(static_cast<v1::Reason>(number));
    detail.set_retryable(number % 2 == 0);
    detail.set_retry_after_ms(1500);
    detail.set_message("why");
    const absl::Status sent = Refusal(detail);
    const absl::Status got = FromGrpcStatus(ToGrpcStatus(sent));
    EXPECT_EQ(got, sent);
    EXPECT_EQ(DetailOf(got).SerializeAsString(), detail.SerializeAsString());
  }
}

TEST(RpcStatus, StatusWithoutDetailKeepsCodeAndMessage) {
  const absl::Status got = FromGrpcStatus(ToGrpcStatus(absl::UnavailableError("later")));
  EXPECT_EQ(got.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(got.message(), "later");
  EXPECT_TRUE(DetailOf(got).retryable());
}

TEST(RpcStatus, ForeignDetailsAreLeftOut) {
  for (const std::string& details :
       {std::string("\xff\xff\xff"), std::string(100000, 'x'), std::string("\x08\xe7\x07")}) {
    const absl::Status got =
        FromGrpcStatus(grpc::Status(grpc::StatusCode::UNAVAILABLE, "proxy", details));
    EXPECT_EQ(got, absl::UnavailableError("proxy"));
  }
}

// gRPC decodes "%FF" in the trailer into this byte.
TEST(RpcStatus, WhatAPeerWritesIsMadePrintable) {
  const absl::Status got =
      FromGrpcStatus(grpc::Status(grpc::StatusCode::UNAVAILABLE, "a\xff\x1b[2J\nb"));
  EXPECT_EQ(got, absl::UnavailableError("a\\xff\\x1b[2J\nb"));
  v1::ErrorDetail detail;
  detail.set_reason(v1::BUSY);
  detail.set_message("\x1b[2J");
  EXPECT_EQ(DetailOf(FromGrpcStatus(grpc::Status(grpc::StatusCode::UNAVAILABLE, "",
                                                 detail.SerializeAsString())))
                .message(),
            "\\x1b[2J");
}

TEST(RpcStatus, ALongMessageIsCutBetweenCharacters) {
  std::string euros = "x";
  for (int i = 0; i < 2000; ++i) euros += "\xe2\x82\xac";
  const absl::Status sent = Refusal(v1::BUSY, euros);
  const absl::Status got = FromGrpcStatus(ToGrpcStatus(sent));
  EXPECT_EQ(DetailOf(got).reason(), v1::BUSY);
  EXPECT_EQ(got.message().size() % 3, 1U);
  EXPECT_EQ(got.message(), absl::string_view(euros).substr(0, got.message().size()));
}

TEST(RpcStatus, LongMessagesFitTheTrailers) {
  const grpc::Status status = ToGrpcStatus(absl::InternalError(std::string(1 << 20, '\n')));
  EXPECT_LT(status.error_message().size() * 3 + status.error_details().size(), 12u << 10);
}

}  // namespace
}  // namespace consilium
