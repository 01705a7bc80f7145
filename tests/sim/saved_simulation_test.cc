// A simulation whose process ends anywhere goes on from its last checkpoint, and comes to the
// models of the undisturbed one.

#include "sim/engine/saved_simulation.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "consilium/v1/journal.pb.h"
#include "protocol/core/files.h"
#include "protocol/core/status_macros.h"
#include "protocol/wire/derived_seed.h"
#include "sim/engine/checkpoint.h"
#include "sim/engine/frame_file.h"
#include "sim/engine/replay.h"
#include "sim/engine/run_log.h"
#include "tests/fakes/status_matchers.h"
#include "tests/fakes/temp_folder.h"
#include "tests/sim/small_world.h"

namespace consilium {
namespace {

using absl::StatusCode;

class CountingTrainer final : public Trainer {
 public:
  absl::StatusOr<TrainOutput> Train(const TrainInput& input) override {
    ++trained;
    return trainer_.Train(input);
  }
  absl::StatusOr<v1::MetricSums> Evaluate(const EvaluateInput& input) override {
    ++evaluated;
    return trainer_.Evaluate(input);
  }

  int trained = 0;
  int evaluated = 0;

 private:
  CpuTrainer trainer_;
};

class SavedWorld {
 public:
  explicit SavedWorld(const SmallWorldOptions& options) : world_(options) {}

  SimulationInput Input() {
    SimulationInput input;
    input.plan = world_.plan;
    input.scenario = world_.scenario;
    input.data = &world_.data;
    input.trainer = &trainer;
    return input;
  }

  absl::StatusOr<std::unique_ptr<SavedSimulation>> Open() {
    SavedSimulationOptions options;
    options.folder = folder.path();
    options.name = "run";
    options.identity = IdentityOf(Input());
    options.interval = interval;
    options.updates_bytes_max = updates_bytes_max;
    return SavedSimulation::Open(std::move(options));
  }

  // A process that ends before event `dies_at`, with nothing said; or goes on to the end.
  absl::Status RunUntil(uint64_t dies_at) {
    CONSILIUM_ASSIGN_OR_RETURN(const auto saved, Open());
    SimulationInput input = Input();
    input.trainings = trainings.get();
    if (trainings != nullptr) input.trainer = &trainings->own();
    input.idle.bytes_max = idle_bytes_max;
    saved->Attach(input);
    if (!idle_folder.empty()) input.idle.folder = idle_folder;
    input.between = [&, between = input.between](Simulation& simulation) {
      CONSILIUM_RETURN_IF_ERROR(between(simulation));
      return simulation.steps() == dies_at ? absl::CancelledError("kill -9") : absl::OkStatus();
    };
    CONSILIUM_ASSIGN_OR_RETURN(simulation, Simulation::Create(std::move(input)));
    CONSILIUM_RETURN_IF_ERROR(simulation->Run());
    return saved->Finish(*simulation, [this](RunLog& log) { return TakeJournal(log); });
  }
  absl::Status RunToTheEnd() { return RunUntil(~uint64_t{0}); }

  absl::Status TakeJournal(RunLog& log) {
    journal = Recording{simulation->run().run, {}, {}};
    RunLog::Reader reader;
    reader.on_input = [this](const v1::JournalEntry& entry) {
      journal.entries.push_back(entry);
      return absl::OkStatus();
    };
    reader.on_update = [this](const Digest& id, absl::string_view payload) {
      const auto* floats = reinterpret_cast<const float*>(payload.data());
      journal.updates[id] = std::vector<float>(floats, floats + payload.size() / sizeof(float));
      return absl::OkStatus();
    };
    return log.Read(reader);
  }

  void UseThreads(size_t threads) {
    trainings = std::make_unique<TrainingPool>(
        TrainingPool::Options{.threads = threads, .trainer_name = "libtorch"},
        [] { return std::make_unique<CpuTrainer>(); });
  }

  std::unique_ptr<Simulation> Undisturbed() { return world_.Run(); }

  TempFolder folder;
  CountingTrainer trainer;
  absl::Duration interval = absl::ZeroDuration();
  uint64_t updates_bytes_max = 1 << 20;
  uint64_t idle_bytes_max = kIdleVectorsBytesMax;
  std::string idle_folder;                  // Empty: as the saved simulation says.
  std::unique_ptr<TrainingPool> trainings;  // Null: the one trainer.
  std::unique_ptr<Simulation> simulation;
  Recording journal;

 private:
  SmallWorld world_;
};

// Turns a byte of the file over.
void Damage(const std::string& path, uint64_t place) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  ASSERT_TRUE(file.good()) << path;
  file.seekg(static_cast<std::streamoff>(place));
  const char byte = static_cast<char>(file.get() ^ 0x40);
  file.seekp(static_cast<std::streamoff>(place));
  file.put(byte);
}

constexpr char kBadWeek[] =
    "seed: 5 sites { task_ms: 900 latency_ms: 20 speed { pareto_shape: 1.3 } "
    "task_speed { log_normal_sigma: 0.4 } availability { period_ms: 20000 open_share: 0.7 } "
    "links { upload_bytes_per_s: 900 download_bytes_per_s: 5000 } "
    "attacks { share: 0.2 noise { deviation: 0.1 } } attacks { share: 0.3 free_rider { sends: "
    "STALE_COPY } } "
    "faults { crash_rate: 0.1 restart_ms: 900 upload_loss_rate: 0.1 duplicate_rate: 0.1 "
    "message_loss_rate: 0.03 message_duplicate_rate: 0.05 reorder_rate: 0.1 link_drop_rate: 0.05 "
    "link_down_ms: 500 clock_ahead_max_ms: 4000 clock_drift_max_ppm: 500 } } "
    "aggregator { journal_ms: 150 crash_every_ms: 15000 }";

// Whoever keeps a layer to itself shares another one.
const char* SpecFor(absl::string_view config) {
  return absl::StrContains(config, "FEDPER") ? "layers { name: 'own' linear { units: '1' } }" : "";
}

class ResumeTest : public testing::TestWithParam<const char*> {};

TEST_P(ResumeTest, TheModelsAreThoseOfTheUndisturbedRunWhereverItsProcessEnds) {
  const SmallWorldOptions options = {.sites = 8,
                                     .rows_per_site = 60,
                                     .config = GetParam(),
                                     .scenario = kBadWeek,
                                     .spec = SpecFor(GetParam())};
  const auto undisturbed = SavedWorld(options).Undisturbed();
  ASSERT_NE(undisturbed, nullptr);
  const std::vector<Digest> expected = ModelIds(*undisturbed);
  RandomStream random(SeedPath{3, "deaths", GetParam()});
  for (int repeat = 0; repeat < 2; ++repeat) {
    SavedWorld world(options);
    // Nor does it matter how many train beside each other.
    if (repeat == 1) world.UseThreads(3);
    // Nor where vectors lie that a site holds between its tasks: a few of them in memory, or none.
    world.idle_bytes_max = repeat == 0 ? 100 : 0;
    // Some lie between checkpoints, so that a part is lost; some outcomes come twice a step.
    world.interval = repeat % 2 == 0 ? absl::ZeroDuration() : absl::Milliseconds(3);
    uint64_t dies_at = 0;
    int deaths = 0;
    while (true) {
      dies_at += 1 + static_cast<uint64_t>(random.NextUnit() *
                                           static_cast<double>(undisturbed->steps()) / 3);
      const absl::Status status = world.RunUntil(dies_at);
      if (status.ok()) break;
      ASSERT_EQ(status.code(), StatusCode::kCancelled) << status;
      ++deaths;
    }
    EXPECT_GT(deaths, 0);
    EXPECT_TRUE(repeat == 0 || world.simulation->idle().file_bytes() > 0);
    EXPECT_EQ(ModelIds(*world.simulation), expected);
    EXPECT_EQ(world.simulation->StateDigest(), undisturbed->StateDigest());
    // Every input and every update is in the journal, once, and gives the same again.
    const auto replayed = Replay(world.journal, {});
    ASSERT_THAT(replayed, IsOk());
    EXPECT_EQ(replayed->mismatches, std::vector<std::string>());
    EXPECT_EQ(replayed->run(world.journal.run).versions.back().model_id, expected.back());
  }
}

INSTANTIATE_TEST_SUITE_P(
    Rule, ResumeTest,
    testing::Values("aggregation { preset: FEDBUFF }", "aggregation { preset: FEDADAM }",
                    "aggregation { preset: CA2FL }",
                    "aggregation { preset: SCAFFOLD trigger { barrier {} } }",
                    "aggregation { preset: FEDCOMPASS trigger { groups {} } }",
                    "aggregation { preset: FEDPER trigger { barrier {} } } "
                    "training { personal { layers: 'own' } }",
                    "aggregation { preset: DITTO trigger { barrier {} } }",
                    "aggregation { preset: STALENESS_WEIGHTED_TABLE server { adam {} } }",
                    "aggregation { preset: MULTI_KRUM trigger { buffer { updates: 5 } } "
                    "combine { krum { hostile_max: 1 } } } "
                    "stop { patience_versions: 3 }",
                    "aggregation { preset: FEDASYNC trigger { buffer { updates: 1 } } } "
                    "retention: UNTIL_DURABLE",
                    "aggregation { concurrency { sites_max: 3 deadline_ms: 2500 } }"),
    [](const auto& info) { return absl::StrCat("Rule", info.index); });

TEST_P(ResumeTest, TheModelsAreTheSameWithAnyNumberOfThreads) {
  const SmallWorldOptions options = {.sites = 8,
                                     .rows_per_site = 60,
                                     .config = GetParam(),
                                     .scenario = kBadWeek,
                                     .spec = SpecFor(GetParam())};
  const auto expected = SavedWorld(options).Undisturbed();
  ASSERT_NE(expected, nullptr);
  for (const size_t threads : {1, 2, 4}) {
    SavedWorld world(options);
    world.UseThreads(threads);
    world.idle_bytes_max = threads == 2 ? 0 : kIdleVectorsBytesMax;
    ASSERT_THAT(world.RunToTheEnd(), IsOk());
    EXPECT_EQ(world.simulation->idle().file_bytes() > 0, threads == 2);
    EXPECT_EQ(ModelIds(*world.simulation), ModelIds(*expected)) << threads;
    EXPECT_EQ(world.simulation->StateDigest(), expected->StateDigest()) << threads;
  }
}

TEST(SavedSimulation, DoesNotComputeAgainWhatItsCheckpointHas) {
  const SmallWorldOptions options = {.scenario = kBadWeek};
  SavedWorld undisturbed(options);
  ASSERT_THAT(undisturbed.RunToTheEnd(), IsOk());
  SavedWorld world(options);
  for (uint64_t at = 40; world.RunUntil(at).code() == StatusCode::kCancelled; at += 60) {
  }
  EXPECT_EQ(world.trainer.trained, undisturbed.trainer.trained);
  EXPECT_EQ(world.trainer.evaluated, undisturbed.trainer.evaluated);

  // Ended, it is only looked at.
  const std::vector<Digest> models = ModelIds(*world.simulation);
  world.trainer = CountingTrainer();
  ASSERT_THAT(world.RunToTheEnd(), IsOk());
  EXPECT_EQ(world.trainer.trained, 0);
  EXPECT_EQ(world.trainer.evaluated, 0);
  EXPECT_EQ(ModelIds(*world.simulation), models);
  const auto& run = world.simulation->run();
  const auto result = world.simulation->ModelOf(*run.result);
  const auto expected = undisturbed.simulation->ModelOf(*run.result);
  ASSERT_TRUE(result.ok() && expected.ok());
  EXPECT_EQ(**result, **expected);
}

// It ends with the name of what it could not write, and goes on where there is room.
TEST(SavedSimulation, WithoutRoomForWhatIdleSitesHoldItEndsAndGoesOnLater) {
  const SmallWorldOptions options = {
      .config = "aggregation { preset: SCAFFOLD trigger { barrier {} } }", .scenario = kBadWeek};
  const auto undisturbed = SavedWorld(options).Undisturbed();
  ASSERT_NE(undisturbed, nullptr);
  SavedWorld world(options);
  world.idle_folder = world.folder.File("is-not-there");
  world.idle_bytes_max = 60;
  EXPECT_THAT(world.RunToTheEnd(), IsError(StatusCode::kFailedPrecondition, "is-not-there"));
  world.idle_folder.clear();
  ASSERT_THAT(world.RunToTheEnd(), IsOk());
  EXPECT_EQ(ModelIds(*world.simulation), ModelIds(*undisturbed));
}

TEST(SavedSimulation, TakesTheCheckpointBeforeADamagedOne) {
  const SmallWorldOptions options = {.scenario = kBadWeek};
  const std::vector<Digest> expected = ModelIds(*SavedWorld(options).Undisturbed());
  for (const char* file : {"run.0", "run.1", "run.log"}) {
    SavedWorld world(options);
    ASSERT_EQ(world.RunUntil(200).code(), StatusCode::kCancelled);
    const int trained = world.trainer.trained;
    const std::string path = world.folder.File(file);
    Damage(path, std::filesystem::file_size(path) - 3);
    ASSERT_THAT(world.RunToTheEnd(), IsOk()) << file;
    EXPECT_EQ(ModelIds(*world.simulation), expected) << file;
    SavedWorld whole(options);
    ASSERT_THAT(whole.RunToTheEnd(), IsOk());
    // One of the last two was used: not all was done again.
    EXPECT_LT(world.trainer.trained, trained + whole.trainer.trained) << file;
  }
  // None is left: from the start.
  SavedWorld world(options);
  ASSERT_EQ(world.RunUntil(200).code(), StatusCode::kCancelled);
  for (const char* file : {"run.0", "run.1"}) Damage(world.folder.File(file), 30);
  ASSERT_THAT(world.RunToTheEnd(), IsOk());
  EXPECT_EQ(ModelIds(*world.simulation), expected);
}

// Whoever can write the file can make its digests fit, too.
TEST(SavedSimulation, ACheckpointWhosePlacesHaveNoVectorIsRefused) {
  const TempFolder folder;
  for (const char kind : {'P', 'A'}) {
    const std::string path = folder.File(absl::StrCat("run.", std::string(1, kind)));
    auto file = FrameWriter::Create(path);
    ASSERT_THAT(file, IsOk());
    ASSERT_THAT(file->Add(kind, kind == 'P' ? R"({"at":"model","version":1})" : "s0"), IsOk());
    ASSERT_THAT(file->Add('Z', ""), IsOk());
    ASSERT_THAT(file->Sync(), IsOk());
    EXPECT_THAT(ReadCheckpointVectors(path, *IdleVectors::Create({})),
                IsError(StatusCode::kDataLoss, "a place has no vector"));
  }
}

// A pipe in place of the file: its writer waits in the midst of the aggregator's vectors until it
// is read on.
class SlowFile {
 public:
  explicit SlowFile(const std::string& path) {
    EXPECT_EQ(mkfifo(path.c_str(), 0600), 0);
    file_ = open(path.c_str(), O_RDWR | O_CLOEXEC);  // So that neither side waits for the other.
    EXPECT_GE(file_, 0);
  }
  ~SlowFile() { close(file_); }
  std::string Read(size_t bytes) const {
    std::string out(bytes, '\0');
    for (size_t done = 0; done < bytes;) {
      const ssize_t count = read(file_, out.data() + done, bytes - done);
      if (count <= 0) return out.substr(0, done);
      done += static_cast<size_t>(count);
    }
    return out;
  }
  std::string ReadWhatIsThere() const {
    EXPECT_EQ(fcntl(file_, F_SETFL, O_NONBLOCK), 0);
    return Read(size_t{1} << 20);
  }

 private:
  int file_ = -1;
};

// Sites at work take a model into memory that lay in the file when the checkpoint was begun.
TEST(SavedSimulation, AModelThatIsReadWhileItsCheckpointIsWrittenIsInIt) {
  const TempFolder folder;
  const auto made = [](float value, size_t elements) {
    return std::make_shared<const std::vector<float>>(elements, value);
  };
  const auto idle = IdleVectors::Create({.bytes_max = 40, .folder = folder.path()});
  const IdleVectors::Values model = made(1, 10);
  SimulationVectors vectors;
  const auto held = idle->Keep(model);
  const auto other = idle->Keep(made(2, 10));
  ASSERT_TRUE(held.ok() && other.ok());
  ASSERT_EQ((*held)->InMemory(), nullptr);
  vectors.models = {{Version(3), *held}, {Version(4), *other}};
  VectorName name;
  vectors.store.vectors[name] = model;
  // More than a pipe and two blocks of the file hold.
  constexpr size_t kLarge = size_t{1} << 20;
  for (name.number = 1; name.number <= 3; ++name.number) {
    vectors.store.vectors[name] = made(static_cast<float>(name.number), kLarge / sizeof(float));
  }
  const std::string path = folder.File("run.0");
  const SlowFile file(absl::StrCat(path, ".new"));
  std::thread writer([&] {
    // A pipe can not be synced.
    EXPECT_FALSE(WriteCheckpoint(path, CheckpointHead(), vectors).ok());
  });
  std::string bytes = file.Read(kLarge);
  EXPECT_THAT((*held)->Read(), IsOk());
  EXPECT_EQ((*held)->InMemory(), model);
  bytes += file.Read(2 * kLarge);
  writer.join();
  bytes += file.ReadWhatIsThere();
  const std::string whole = folder.File("whole");
  ASSERT_THAT(WriteFileDurably(whole, bytes), IsOk());
  const auto back = ReadCheckpointVectors(whole, *IdleVectors::Create({}));
  ASSERT_THAT(back, IsOk());
  ASSERT_EQ(back->models.size(), 2u);
  EXPECT_EQ(**back->models.at(Version(3))->Read(), *model);
  EXPECT_EQ(back->store.vectors.size(), 4u);
}

TEST(SavedSimulation, AVectorThatManyHoldIsInACheckpointOnce) {
  const TempFolder folder;
  const auto model = std::make_shared<const std::vector<float>>(1000, 1.0F);
  const auto idle = IdleVectors::Create({});
  const auto held = idle->Keep(model);
  ASSERT_THAT(held, IsOk());
  SimulationVectors vectors;
  vectors.models = {{Version(3), *held}};
  vectors.store.vectors[VectorName::Model(Version(3))] = model;
  const std::string path = folder.File("run.0");
  ASSERT_THAT(WriteCheckpoint(path, CheckpointHead(), vectors), IsOk());
  EXPECT_LT(std::filesystem::file_size(path), 6000u);
  const auto back = ReadCheckpointVectors(path, *IdleVectors::Create({}));
  ASSERT_THAT(back, IsOk());
  EXPECT_EQ(back->models.size(), 1u);
}

TEST(SavedSimulation, ACheckpointWhoseVectorsHaveAnotherLengthIsRefused) {
  for (const size_t elements : {1, 1000}) {
    SavedWorld world({});
    ASSERT_EQ(world.RunUntil(100).code(), StatusCode::kCancelled);
    for (const char* name : {"run.0", "run.1"}) {
      const std::string path = world.folder.File(name);
      const auto head = ReadCheckpointHead(path);
      auto vectors = ReadCheckpointVectors(path, *IdleVectors::Create({}));
      ASSERT_TRUE(head.ok() && vectors.ok());
      for (auto& [vector, values] : vectors->store.vectors) {
        values = std::make_shared<const std::vector<float>>(elements, 1.0F);
      }
      ASSERT_THAT(WriteCheckpoint(path, *head, *vectors), IsOk());
    }
    EXPECT_THAT(world.RunToTheEnd(), IsError(StatusCode::kDataLoss, "another length"));
  }
}

TEST(SavedSimulation, NorOneWhoseWaitingUpdatesHave) {
  SavedWorld world({.scenario = "sites { task_ms: 900 links { upload_bytes_per_s: 1 } }"});
  ASSERT_EQ(world.RunUntil(100).code(), StatusCode::kCancelled);
  bool any = false;
  for (const char* name : {"run.0", "run.1"}) {
    const std::string path = world.folder.File(name);
    const auto head = ReadCheckpointHead(path);
    auto vectors = ReadCheckpointVectors(path, *IdleVectors::Create({}));
    ASSERT_TRUE(head.ok() && vectors.ok());
    for (auto& [id, values] : vectors->updates) {
      values = std::make_shared<const std::vector<float>>(values->size() + 1, 1.0F);
      any = true;
    }
    ASSERT_THAT(WriteCheckpoint(path, *head, *vectors), IsOk());
  }
  ASSERT_TRUE(any);
  EXPECT_THAT(world.RunToTheEnd(),
              IsError(StatusCode::kDataLoss, "an update of another length than the model"));
}

// What is forged in the first update of the log, with digests that fit.
void ForgeLog(const TempFolder& folder, uint64_t payload_bytes) {
  const std::string log = folder.File("run.log");
  std::vector<Frame> frames;
  {
    auto reader = FrameReader::Open(log, std::nullopt);
    ASSERT_THAT(reader, IsOk());
    for (auto frame = reader->Next(); frame.ok() && frame->has_value(); frame = reader->Next()) {
      frames.push_back(**frame);
    }
  }
  auto writer = FrameWriter::Create(log);
  ASSERT_THAT(writer, IsOk());
  bool is_forged = false;
  for (Frame& frame : frames) {
    v1::UpdateStaged staged;
    if (frame.kind == 'T' && !is_forged && staged.ParseFromString(frame.bytes)) {
      staged.mutable_header()->set_payload_bytes(payload_bytes);
      frame.bytes = staged.SerializeAsString();
      is_forged = true;
    }
    ASSERT_THAT(writer->Add(frame.kind, frame.bytes), IsOk());
  }
  ASSERT_TRUE(is_forged);
  const auto bytes = writer->Sync();
  ASSERT_THAT(bytes, IsOk());
  for (const char* name : {"run.0", "run.1"}) {
    const std::string path = folder.File(name);
    auto head = ReadCheckpointHead(path);
    const auto vectors = ReadCheckpointVectors(path, *IdleVectors::Create({}));
    ASSERT_TRUE(head.ok() && vectors.ok());
    head->log.log_bytes = *bytes;
    ASSERT_THAT(WriteCheckpoint(path, *head, *vectors), IsOk());
  }
}

TEST(SavedSimulation, ALogOfUpdatesOfAnotherLengthTakesNoMemory) {
  for (const uint64_t bytes : {uint64_t{0}, uint64_t{12}, uint64_t{1} << 40, ~uint64_t{0}}) {
    SavedWorld world({});
    ASSERT_EQ(world.RunUntil(100).code(), StatusCode::kCancelled);
    ForgeLog(world.folder, bytes);
    const absl::Status refused = world.RunToTheEnd();
    EXPECT_THAT(refused, IsError(StatusCode::kDataLoss, "header.payload_bytes"));
    EXPECT_THAT(refused, IsError(StatusCode::kDataLoss, world.folder.File("run.log")));
  }
}

TEST(SavedSimulation, ALogWithABlockThatNoOutcomeNeedsTakesNoMemory) {
  const TempFolder folder;
  const std::string path = folder.File("run.log");
  {
    auto writer = FrameWriter::Create(path);
    ASSERT_THAT(writer, IsOk());
    ASSERT_THAT(writer->Sync(), IsOk());
  }
  // Of a file that has as many bytes and is nearly empty all the same.
  const uint64_t begin = std::filesystem::file_size(path);
  std::ofstream file(path, std::ios::binary | std::ios::app);
  const uint64_t length = uint64_t{1} << 40;
  file.write(reinterpret_cast<const char*>(&length), sizeof(length));
  file.close();
  const uint64_t end = begin + sizeof(length) + 32 + length;
  ASSERT_EQ(truncate(path.c_str(), static_cast<off_t>(end)), 0);
  for (const uint64_t frame_bytes_max : {kOutcomeBytesMax, kFrameBytesMax}) {
    EXPECT_THAT(CheckFrames(path, end, frame_bytes_max),
                IsError(StatusCode::kDataLoss, "a block of 1099511627776 bytes"));
  }
  RunLogOptions options;
  options.log_path = path;
  options.updates_path = folder.File("run.updates");
  const auto log = RunLog::GoOn(options, {.log_bytes = end});
  ASSERT_THAT(log, IsOk());
  EXPECT_THAT((*log)->Recall(), IsError(StatusCode::kDataLoss, "at most 269484041 are read"));
}

TEST(SavedSimulation, RefusesWhatIsAnotherSimulations) {
  SavedWorld world({});
  ASSERT_EQ(world.RunUntil(100).code(), StatusCode::kCancelled);
  const auto refused = [&](SimulationInput input) {
    SavedSimulationOptions options;
    options.folder = world.folder.path();
    options.name = "run";
    options.identity = IdentityOf(input);
    return SavedSimulation::Open(std::move(options)).status();
  };
  EXPECT_THAT(refused(world.Input()), IsOk());
  SimulationInput input = world.Input();
  input.plan.mutable_config()->mutable_training()->set_local_steps(6);
  EXPECT_THAT(refused(input), IsError(StatusCode::kFailedPrecondition, "run config"));
  input = world.Input();
  input.plan.mutable_config()->set_seed(77);
  EXPECT_THAT(refused(input), IsError(StatusCode::kFailedPrecondition, "seed"));
  input = world.Input();
  input.trainer_name = "fused";
  EXPECT_THAT(refused(input), IsError(StatusCode::kFailedPrecondition, "trainer"));
  input = world.Input();
  input.scenario.mutable_sites()->set_task_ms(7);
  EXPECT_THAT(refused(input), IsError(StatusCode::kFailedPrecondition, "scenario"));
  FederationData data = *world.Input().data;
  data.begin()->second.rows[0].values[0] += 0.5;
  input = world.Input();
  input.data = &data;
  EXPECT_THAT(refused(input), IsError(StatusCode::kFailedPrecondition, "data"));
}

TEST(SavedSimulation, TheDiskHoldsTwoCheckpointsAndNoMoreUpdatesThanThereIsRoomFor) {
  SavedWorld world({});
  world.updates_bytes_max = 200;
  ASSERT_EQ(world.RunUntil(150).code(), StatusCode::kCancelled);
  EXPECT_LE(std::filesystem::file_size(world.folder.File("run.updates")), 400u);
  size_t files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(world.folder.path())) {
    files += entry.is_regular_file() ? 1 : 0;
  }
  EXPECT_EQ(files, 4u);  // Two checkpoints, log and updates.
  ASSERT_THAT(world.RunToTheEnd(), IsOk());
  EXPECT_GT(world.journal.entries.size(), 50u);
  EXPECT_LT(world.journal.updates.size(), 8u);
  EXPECT_FALSE(std::filesystem::exists(world.folder.File("run.updates")));
}

}  // namespace
}  // namespace consilium
