#include "site_agent/runtime/lease.h"

#include <gtest/gtest.h>

#include "tests/site_agent/runtime/site_fixture.h"

namespace consilium::site {
namespace {

class LeaseTest : public SiteFixture {
 protected:
  LeaseTest() {
    store_ = Create();
    EXPECT_THAT(store_->PutEnrolment(SomeEnrolment()), IsOk());
  }

  void Restart() {
    store_ = nullptr;
    store_ = Open();
  }

  v1::Hello Offer() {
    v1::Hello hello;
    EXPECT_THAT(Lease(store_.get()).Offer(hello), IsOk());
    return hello;
  }

  static v1::Welcome WelcomeFor(const v1::Hello& hello) {
    v1::Welcome welcome;
    welcome.set_lease(hello.lease_next());
    return welcome;
  }

  std::unique_ptr<SiteStore> store_;
};

TEST_F(LeaseTest, RotatesAtEveryAttach) {
  const v1::Hello first = Offer();
  EXPECT_EQ(first.lease_presented().size(), 32u);
  EXPECT_EQ(first.lease_next().size(), 32u);
  EXPECT_NE(first.lease_presented(), first.lease_next());
  const auto confirm = Lease(store_.get()).Accept(WelcomeFor(first));
  ASSERT_THAT(confirm, IsOk());
  EXPECT_EQ(confirm->lease(), first.lease_next());
  const v1::Hello second = Offer();
  EXPECT_EQ(second.lease_presented(), first.lease_next());
  EXPECT_NE(second.lease_next(), first.lease_next());
}

TEST_F(LeaseTest, ACrashBeforeWelcomeOffersTheSameAgain) {
  const v1::Hello first = Offer();
  Restart();
  const v1::Hello again = Offer();
  EXPECT_EQ(again.lease_presented(), first.lease_presented());
  EXPECT_EQ(again.lease_next(), first.lease_next());
}

TEST_F(LeaseTest, ACrashAfterWelcomePresentsThePendingOne) {
  const v1::Hello first = Offer();
  ASSERT_THAT(Lease(store_.get()).Accept(WelcomeFor(first)), IsOk());
  Restart();
  EXPECT_EQ(Offer().lease_presented(), first.lease_next());
}

TEST_F(LeaseTest, TakesNoOtherLeaseThanTheOneOffered) {
  v1::Welcome welcome;
  EXPECT_FALSE(Lease(store_.get()).Accept(welcome).ok());
  const v1::Hello hello = Offer();
  welcome.set_lease(hello.lease_presented());
  EXPECT_FALSE(Lease(store_.get()).Accept(welcome).ok());
  welcome.set_lease(hello.lease_next().substr(1));
  EXPECT_FALSE(Lease(store_.get()).Accept(welcome).ok());
  EXPECT_EQ(Offer().lease_presented(), hello.lease_presented());
}

}  // namespace
}  // namespace consilium::site
