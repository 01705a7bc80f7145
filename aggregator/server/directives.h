// The engine's actions that go over a control stream, as the messages that do.
//
// Threads: any.

#ifndef CONSILIUM_AGGREGATOR_SERVER_DIRECTIVES_H_
#define CONSILIUM_AGGREGATOR_SERVER_DIRECTIVES_H_

#include "absl/strings/string_view.h"
#include "aggregator/core/actions.h"
#include "consilium/v1/coordination.pb.h"

namespace consilium {

// `lease` is the one that the site's Hello named as its next.
v1::Directive WelcomeDirective(absl::string_view lease, uint32_t wire_version);
v1::Directive DirectiveOf(const federation::OfferRun& offer);
v1::Directive DirectiveOf(const federation::StartRun& start);
v1::Directive DirectiveOf(const federation::OfferTask& offer);
v1::Directive DirectiveOf(const federation::AnnounceModel& announcement);
v1::Directive DirectiveOf(const federation::RefuseUpdate& refusal);
v1::Directive DirectiveOf(const federation::EndRun& end);

}  // namespace consilium

#endif  // CONSILIUM_AGGREGATOR_SERVER_DIRECTIVES_H_
