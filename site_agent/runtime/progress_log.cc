#include "site_agent/runtime/progress_log.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace consilium::site {
namespace {

std::string Of(const RunId& run, absl::string_view what) {
  return absl::StrCat("run ", run.value(), ": ", what);
}

struct Describer {
  std::string operator()(const LinkUp&) { return "attached to the aggregator"; }
  std::string operator()(const LinkDown&) { return "the link to the aggregator is down"; }
  std::string operator()(const RunOffered& event) { return Of(event.run, "offered"); }
  std::string operator()(const RunStarted& event) { return Of(event.run, "started"); }
  std::string operator()(const PlanChecked& event) {
    switch (event.answer) {
      case PlanChecked::Answer::kApproved:
        return Of(event.run,
                  absl::StrCat("approved, with ", event.train_examples, " training examples here"));
      case PlanChecked::Answer::kRefused:
        return Of(event.run, absl::StrCat("refused: ", event.message, " (",
                                          v1::Reason_Name(event.reason), ")"));
      case PlanChecked::Answer::kWaitsForPerson:
        return Of(event.run, "waits for a person's approval");
      case PlanChecked::Answer::kWaitsForData:
        return Of(event.run, absl::StrCat("approved, and waits for its data: ", event.message));
    }
    return "";
  }
  std::string operator()(const RunWithdrawn& event) {
    return Of(event.run, absl::StrCat("withdrawn here: ", event.why));
  }
  std::string operator()(const StatisticsComputed& event) {
    return Of(event.run, "statistics computed");
  }
  std::string operator()(const ModelFetched& event) {
    return Of(event.run, absl::StrCat("version ", event.version.value(), " is here"));
  }
  std::string operator()(const TrainDone& event) {
    return Of(event.run,
              absl::StrFormat("task %d trained on version %d, mean loss %.4f", event.task.value(),
                              event.header->base_version(), event.header->training_loss()));
  }
  std::string operator()(const TrainFailed& event) {
    return Of(event.run,
              absl::StrCat("task ", event.task.value(), " could not be trained: ", event.message));
  }
  std::string operator()(const ReceiptReceived& event) {
    const v1::Receipt& receipt = *event.receipt;
    const RunId run(receipt.run_id());
    switch (receipt.kind()) {
      case v1::Receipt::ACCEPTED:
        return Of(run, absl::StrCat("task ", receipt.task_id(), " accepted"));
      case v1::Receipt::INCLUDED:
        return Of(run,
                  absl::StrFormat("task %d is part of version %d, with coefficient %.4f",
                                  receipt.task_id(), receipt.version(), receipt.coefficient()));
      case v1::Receipt::NOT_INCLUDED:
        return Of(run, absl::StrCat("task ", receipt.task_id(), " is in no version"));
      default:
        return "";
    }
  }
  std::string operator()(const UpdateRefused& event) {
    return Of(event.run, absl::StrCat("task ", event.task.value(), " refused: ", event.message,
                                      " (", v1::Reason_Name(event.reason), ")"));
  }
  std::string operator()(const RunEnded& event) {
    return Of(event.run,
              absl::StrCat("ended with version ", event.last.value(), ", the result is version ",
                           event.result.value(), ": ", event.why));
  }
  template <typename Other>
  std::string operator()(const Other&) {
    return "";
  }
};

}  // namespace

std::string DescribeEvent(const Event& event) { return std::visit(Describer{}, event); }

absl::string_view NameOf(TaskPhase phase) {
  switch (phase) {
    case TaskPhase::kGranted:
      return "granted";
    case TaskPhase::kTraining:
      return "training";
    case TaskPhase::kTrained:
      return "trained";
    case TaskPhase::kReady:
      return "ready";
    case TaskPhase::kSending:
      return "sending";
    case TaskPhase::kAccepted:
      return "accepted";
    case TaskPhase::kIncluded:
      return "included";
    case TaskPhase::kNotIncluded:
      return "not_included";
    case TaskPhase::kRefused:
      return "refused";
    case TaskPhase::kWithdrawn:
      return "withdrawn";
  }
  return "";
}

}  // namespace consilium::site
