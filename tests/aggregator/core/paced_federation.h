// A federation whose sites need time: each works on its oldest open task for its seconds per local
// step, on the version that is the newest when it begins, and delivers. Time passes from one event
// to the next; programs are answered at once.

#ifndef CONSILIUM_TESTS_AGGREGATOR_CORE_PACED_FEDERATION_H_
#define CONSILIUM_TESTS_AGGREGATOR_CORE_PACED_FEDERATION_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "tests/aggregator/core/federation_fixture.h"

namespace consilium::federation {

class PacedFederation {
 public:
  struct SiteOptions {
    uint64_t examples = 1;
    double seconds_per_step = 1;
  };
  PacedFederation(std::shared_ptr<const v1::RunPlan> plan, const std::vector<SiteOptions>& sites);

  // Until the run is at that version; false where nothing more would happen before.
  bool RunTo(Version version);
  // From now on.
  void SetPace(int site, double seconds_per_step) { paces_[Site(site)] = seconds_per_step; }
  // It delivers nothing any more.
  void Silence(int site) { silent_[Site(site)] = true; }

  // Whether a fresh engine that folds the journal comes to the same state.
  bool ReplaysAlike() const;

  TestFederation& federation() { return f_; }
  const RunState& run() const { return f_.run(); }
  const Participant& participant(int site) const { return f_.participant(Site(site)); }
  const std::vector<Alarm>& alarms() const { return alarms_; }

 private:
  static SiteId Site(int index) { return TestFederation::Site(index); }
  struct Work {
    TaskId task;
    Version base;
    absl::Time done;
  };
  bool StepOnce();
  void Step(const Event& event);
  void BeginWork();

  TestFederation f_;
  std::map<SiteId, double> paces_;
  std::map<SiteId, bool> silent_;
  std::map<SiteId, Work> working_;
  std::vector<Alarm> alarms_;
};

}  // namespace consilium::federation

#endif  // CONSILIUM_TESTS_AGGREGATOR_CORE_PACED_FEDERATION_H_
