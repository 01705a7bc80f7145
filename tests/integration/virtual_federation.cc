#include "tests/integration/virtual_federation.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace consilium::integration {
namespace {

constexpr int kSitesMax = 4;

std::string Name(const SiteId& site, TaskId task) {
  return absl::StrCat(site.value(), "/", task.value());
}

}  // namespace

VirtualFederation::VirtualFederation(const WorldOptions& options)
    : options_(options),
      random_(SeedPath{.run_seed = options.seed, .purpose = "world", .site = "", .task = 0}),
      aggregator_([] { return fed::FederationEngine(); }) {
  // Who takes part is the same for every world with this plan and script.
  RandomStream people(SeedPath{
      .run_seed = options.plan->config().seed(), .purpose = "people", .site = "", .task = 0});
  const uint64_t sites = 1 + people.NextBelow(kSitesMax);
  for (uint64_t i = 0; i < sites; ++i) {
    const SiteId id(std::string(1, static_cast<char>('a' + i)));
    site::SiteOptions pace;
    pace.task_duration_min = absl::Milliseconds(people.NextBelow(3) * 700);
    Agent agent(id, pace);
    agent.examples = 1 + people.NextBelow(300);
    agent.refuses = i > 0 && people.NextBelow(12) == 0;
    agents_.emplace(id, std::move(agent));
  }
}

std::string VirtualFederation::Run() {
  AggregatorTakes(fed::Started{});
  for (auto& [id, agent] : agents_) {
    AggregatorTakes(
        fed::SiteAdded{id, Sha256Of(absl::string_view(absl::StrCat(id.value(), " lease 0")))});
    AgentTakes(agent, site::Started{Incarnation(++agent.incarnation)});
    Attach(agent);
  }
  AggregatorTakes(fed::RunSubmitted{run_id_, options_.plan});
  AggregatorCommits();
  if (options_.weather == WorldOptions::Weather::kStormy) {
    storm_ = true;
    const uint64_t steps = 50 + Draw(1500);
    for (uint64_t i = 0; i < steps && complaint_.empty(); ++i) StormyStep();
    storm_ = false;
  }
  ComeToRest();
  // Each site attaches once more, so that each hears what it has not.
  for (auto& [id, agent] : agents_) BreakStream(agent);
  ComeToRest();
  if (complaint_.empty()) CheckEnd();
  return complaint_;
}

void VirtualFederation::Complain(const std::string& what) {
  if (complaint_.empty()) complaint_ = what;
}

VirtualFederation::Agent& VirtualFederation::SomeAgent() {
  return std::next(agents_.begin(), static_cast<std::ptrdiff_t>(Draw(agents_.size())))->second;
}

const fed::RunState* VirtualFederation::AggregatorRun() const {
  const auto& runs = aggregator_.engine().runs();
  const auto found = runs.find(run_id_);
  return found == runs.end() ? nullptr : &found->second;
}

const site::RunState* VirtualFederation::AgentRun(const Agent& agent) const {
  const auto& runs = agent.journal.engine().runs();
  const auto found = runs.find(run_id_);
  return found == runs.end() ? nullptr : &found->second;
}

void VirtualFederation::StormyStep() {
  now_ += absl::Microseconds(Draw(20'000));
  Agent& agent = SomeAgent();
  const uint64_t what = Draw(1000);
  if (what < 250) {
    Hear(agent);
  } else if (what < 450) {
    Work(agent);
  } else if (what < 600) {
    if (!streams_.empty()) {
      ServeStream(*std::next(streams_.begin(), static_cast<std::ptrdiff_t>(Draw(streams_.size()))));
    }
  } else if (what < 700) {
    ServeCall();
  } else if (what < 770) {
    HearAnswer();
  } else if (what < 830) {
    FinishProgram();
  } else if (what < 880) {
    FireAgentTimer(agent);
  } else if (what < 900) {
    FireAggregatorTimer();
  } else if (what < 940) {
    Attach(agent);
  } else if (what < 960) {
    AgentCommits(agent);
    AggregatorCommits();
  } else if (what < 972) {
    BreakStream(agent);
  } else if (what < 984) {
    AgentCrashes(agent);
  } else if (what < 990) {
    AggregatorCrashes();
  } else {
    now_ += absl::Milliseconds(Draw(2000));
  }
  ForgetStreams();
}

// Everyone has a turn, and nothing is lost.
bool VirtualFederation::FairRound() {
  bool happened = FinishProgram();
  happened |= FireAggregatorTimer();
  while (ServeCall()) happened = true;
  while (HearAnswer()) happened = true;
  for (auto& [id, agent] : agents_) {
    if (agent.link == Agent::Link::kNone) {
      Attach(agent);
      happened = true;
    }
    happened |= Hear(agent);
    happened |= Work(agent);
    happened |= FireAgentTimer(agent);
  }
  for (Stream& stream : streams_) {
    if (!ServeStream(stream)) continue;
    happened = true;
    break;  // It may have made an end of others.
  }
  ForgetStreams();
  return happened;
}

// Lets time pass until something is due.
bool VirtualFederation::NextTimer() {
  absl::Time next = absl::InfiniteFuture();
  for (const auto& [timer, at] : timers_) next = std::min(next, at);
  for (const auto& [id, agent] : agents_) {
    for (const auto& [timer, at] : agent.timers) next = std::min(next, at);
  }
  if (next == absl::InfiniteFuture()) return false;
  now_ = std::max(now_, next);
  return true;
}

void VirtualFederation::ComeToRest() {
  AggregatorCommits();
  for (auto& [id, agent] : agents_) AgentCommits(agent);
  for (int round = 0; round < 20'000 && complaint_.empty(); ++round) {
    if (!FairRound() && !NextTimer()) return;
  }
  Complain("the federation does not come to rest");
}

void VirtualFederation::CheckEnd() const {
  const fed::RunState& run = *AggregatorRun();
  auto* self = const_cast<VirtualFederation*>(this);
  if (run.phase != fed::RunPhase::kEnded) {
    return self->Complain(absl::StrCat("the run rests in phase ", static_cast<int>(run.phase),
                                       " at version ", run.current().value()));
  }
  std::map<std::pair<SiteId, TaskId>, Version> folded;
  for (const fed::VersionState& version : run.versions) {
    for (const fed::Contribution& part : version.contributions) {
      if (part.role != fed::Contribution::Role::kNew) continue;
      if (!folded.try_emplace({part.site, part.task}, version.version).second) {
        self->Complain(Name(part.site, part.task) + " is in two versions");
      }
      const fed::TaskState& task = run.participants.at(part.site).tasks.at(part.task);
      if (task.phase != fed::TaskPhase::kIncluded || task.update != part.update ||
          task.included_in != version.version) {
        self->Complain(Name(part.site, part.task) + " is in a version and not included");
      }
    }
  }
  for (const auto& [site, participant] : run.participants) {
    for (const auto& [id, task] : participant.tasks) {
      const bool included = task.phase == fed::TaskPhase::kIncluded;
      if (included != folded.contains({site, id})) {
        self->Complain(Name(site, id) + " is included in no version");
      }
      self->counts_.included += included;
      self->counts_.not_included += task.phase == fed::TaskPhase::kNotIncluded;
      self->counts_.refused += task.phase == fed::TaskPhase::kRefused;
    }
  }
  for (const auto& [id, agent] : agents_) CheckAgent(agent);
}

// Every acceptance receipt ends, in the way that the aggregator says.
void VirtualFederation::CheckAgent(const Agent& agent) const {
  auto* self = const_cast<VirtualFederation*>(this);
  const site::SiteEngine& engine = agent.journal.engine();
  if (!engine.HeldReceipts().empty()) self->Complain("a receipt is held after the last attach");
  const site::RunState* const run = AgentRun(agent);
  if (run == nullptr) return self->Complain("a site never heard of the run");
  if (!agent.refuses && !run->ended()) self->Complain("a site never heard of the end");
  for (const auto& [id, task] : run->tasks) {
    const std::string name = Name(agent.id, id);
    if (!(task.phase >= site::TaskPhase::kIncluded)) self->Complain(name + " has no end");
    if (task.acceptance != nullptr && task.ending == nullptr) {
      self->Complain(name + " was accepted, and never ended");
    }
    if (task.ending == nullptr) continue;
    const fed::TaskState& truth = AggregatorRun()->participants.at(agent.id).tasks.at(id);
    const bool included = task.ending->kind() == v1::Receipt::INCLUDED;
    if (truth.update != task.update || included != (truth.phase == fed::TaskPhase::kIncluded) ||
        (!included && truth.phase != fed::TaskPhase::kNotIncluded) ||
        (included && truth.included_in != Version(task.ending->version()))) {
      self->Complain(name + " ended otherwise than its receipt says");
    }
  }
  for (const Digest& update : agent.outbox) {
    if (engine.NeedsUpdate(update)) self->Complain("the outbox is not empty");
  }
}

std::string VirtualFederation::Outcome() const {
  const fed::RunState& run = *AggregatorRun();
  std::string text = absl::StrCat("result ", run.result.value_or(Version(0)).value(), "\n");
  for (const fed::VersionState& version : run.versions) {
    absl::StrAppend(&text, "version ", version.version.value(), " ", ToHex(version.model_id), "\n");
    for (const fed::Contribution& part : version.contributions) {
      absl::StrAppend(&text, "  ", Name(part.site, part.task), " ", ToHex(part.update), " τ ",
                      part.staleness, " × ", absl::Hex(std::bit_cast<uint64_t>(part.coefficient)),
                      "\n");
    }
  }
  for (const auto& [site, participant] : run.participants) {
    for (const auto& [id, task] : participant.tasks) {
      if (task.phase == fed::TaskPhase::kWithdrawn || task.phase == fed::TaskPhase::kGranted) {
        continue;
      }
      absl::StrAppend(&text, Name(site, id), " phase ", static_cast<int>(task.phase), " ",
                      ToHex(task.update), "\n");
    }
  }
  return text;
}

}  // namespace consilium::integration
