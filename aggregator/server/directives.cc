#include "aggregator/server/directives.h"

#include <string>

#include "protocol/wire/hash.h"

namespace consilium {

v1::Directive WelcomeDirective(absl::string_view lease, uint32_t wire_version) {
  v1::Directive out;
  out.mutable_welcome()->set_wire_version(wire_version);
  out.mutable_welcome()->set_lease(std::string(lease));
  return out;
}

v1::Directive DirectiveOf(const federation::OfferRun& offer) {
  v1::Directive out;
  out.mutable_run_offer()->set_run_id(offer.run.value());
  if (offer.plan != nullptr) *out.mutable_run_offer()->mutable_plan() = *offer.plan;
  out.mutable_run_offer()->set_plan_hash(ToBytes(offer.plan_hash));
  return out;
}

v1::Directive DirectiveOf(const federation::StartRun& start) {
  v1::Directive out;
  out.mutable_run_started()->set_run_id(start.run.value());
  out.mutable_run_started()->set_layout_hash(ToBytes(start.layout_hash));
  if (start.standardisation != nullptr) {
    *out.mutable_run_started()->mutable_standardisation() = *start.standardisation;
  }
  return out;
}

v1::Directive DirectiveOf(const federation::OfferTask& offer) {
  v1::Directive out;
  out.mutable_task_offer()->set_run_id(offer.run.value());
  out.mutable_task_offer()->set_task_id(offer.task.value());
  out.mutable_task_offer()->set_base_version_min(offer.base_min.value());
  out.mutable_task_offer()->set_local_steps(offer.local_steps);
  return out;
}

v1::Directive DirectiveOf(const federation::AnnounceModel& announcement) {
  v1::Directive out;
  v1::ModelAvailable& model = *out.mutable_model_available();
  model.set_run_id(announcement.run.value());
  model.set_version(announcement.version.value());
  model.set_model_id(ToBytes(announcement.model_id));
  model.set_payload_bytes(announcement.payload_bytes);
  model.set_evaluate(announcement.evaluate);
  return out;
}

v1::Directive DirectiveOf(const federation::RefuseUpdate& refusal) {
  v1::Directive out;
  v1::UpdateRefused& refused = *out.mutable_update_refused();
  refused.set_run_id(refusal.run.value());
  refused.set_task_id(refusal.task.value());
  refused.set_update_id(ToBytes(refusal.update));
  refused.set_reason(refusal.reason);
  refused.set_message(refusal.message);
  return out;
}

v1::Directive DirectiveOf(const federation::EndRun& end) {
  v1::Directive out;
  out.mutable_run_ended()->set_run_id(end.run.value());
  out.mutable_run_ended()->set_last_version(end.last.value());
  out.mutable_run_ended()->set_result_version(end.result.value());
  out.mutable_run_ended()->set_why(end.why);
  return out;
}

}  // namespace consilium
