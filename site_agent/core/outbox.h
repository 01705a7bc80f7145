// Updates from the outbox to their end: sent while the link is up, tried again, accepted, and
// ended by exactly one receipt or refusal.
//
// Threads: the engine's.

#ifndef CONSILIUM_SITE_AGENT_CORE_OUTBOX_H_
#define CONSILIUM_SITE_AGENT_CORE_OUTBOX_H_

#include "site_agent/core/events.h"
#include "site_agent/core/site_state.h"

namespace consilium::site {

void OnReceiptReceived(StepContext& step, const ReceiptReceived& event);
void OnUpdateRefused(StepContext& step, const UpdateRefused& event);
void OnSendFailed(StepContext& step, const SendFailed& event);

// The process started: what was being sent may have arrived or not; it is sent again.
void ResumeOutbox(StepContext& step, const RunId& id, RunState& run);

// Sends what is ready.
void SendReady(StepContext& step, const RunId& id, RunState& run);

}  // namespace consilium::site

#endif  // CONSILIUM_SITE_AGENT_CORE_OUTBOX_H_
