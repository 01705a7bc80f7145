// What is wrong with a connection, in a sentence for whoever has to mend it, and how long to wait
// before trying again.
//
// Threads: functions from any; a Backoff is one thread's.

#ifndef CONSILIUM_SITE_AGENT_RUNTIME_LINK_ERRORS_H_
#define CONSILIUM_SITE_AGENT_RUNTIME_LINK_ERRORS_H_

#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "consilium/v1/errors.pb.h"

namespace consilium::site {

// `address` is the aggregator's host:port. One printable line.
std::string ExplainLinkError(const absl::Status& status, const std::string& address);

// DetailOf(status), its message one printable line: what the journal may keep of it.
v1::ErrorDetail PrintableDetailOf(const absl::Status& status);

// What a person can do about a refusal for good, in a sentence; empty where the refusal says it.
struct Stranded {
  std::string site;
  std::string store_folder;
};
std::string AdviceFor(v1::Reason reason, const Stranded& whom);

// What such a refusal has made of the site, in a few words.
std::string StateAfter(v1::Reason reason);

// Trying again as it is can not help: a person has to look.
bool IsRefusalForGood(v1::Reason reason);

// Uniform in [0, 1), from the system's generator.
double DrawJitter();

// Doubles from kBackoffMin to kBackoffMax, and takes a random time between half of that and all of
// it: a thousand sites must not come back in one second.
class Backoff {
 public:
  absl::Duration Next();
  void Reset() { failures_ = 0; }

 private:
  int failures_ = 0;
};

inline constexpr absl::Duration kBackoffMin = absl::Milliseconds(200);
inline constexpr absl::Duration kBackoffMax = absl::Seconds(30);

}  // namespace consilium::site

#endif  // CONSILIUM_SITE_AGENT_RUNTIME_LINK_ERRORS_H_
