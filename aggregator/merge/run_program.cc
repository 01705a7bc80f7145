#include "aggregator/merge/run_program.h"

#include <atomic>
#include <bit>
#include <cstring>
#include <map>
#include <optional>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "aggregator/merge/shard_math.h"
#include "aggregator/merge/trimmed_mean.h"
#include "protocol/core/status_macros.h"
#include "protocol/wire/hash.h"

namespace consilium {
namespace {

using Kind = VectorName::Kind;
using Op = VectorStep::Op;

static_assert(std::endian::native == std::endian::little, "payloads are little-endian f32");

bool IsScalarOp(Op op) { return op == Op::kDot || op == Op::kNormSquared || op == Op::kGram; }

// Whether y and z are inputs of the step; otherwise it writes them.
bool OnlyReads(Op op) { return op == Op::kDot || op == Op::kRatioStep || op == Op::kCompensate; }

AdamScalars AdamScalarsOf(const VectorStep& step) {
  return {.rate = static_cast<float>(step.a),
          .beta1 = static_cast<float>(step.b),
          .one_minus_beta1 = static_cast<float>(1.0 - step.b),
          .beta2 = static_cast<float>(step.c),
          .one_minus_beta2 = static_cast<float>(1.0 - step.c),
          .epsilon = static_cast<float>(step.d)};
}

BlendScalars BlendScalarsOf(const VectorStep& step) {
  return {.beta = static_cast<float>(step.b), .one_minus_beta = static_cast<float>(1.0 - step.b)};
}

// Where a step finds one of its vectors: among the buffers that the program writes, or in a reader.
struct Operand {
  enum class Source : uint8_t { kUnused, kBuffer, kReader } source = Source::kUnused;
  size_t index = 0;
};

struct PlannedStep {
  const VectorStep* step = nullptr;
  Operand dst, x, y, z;
  std::vector<Operand> over;
  size_t scalar = 0;  // The first of its scalars.
};

// A vector that the program writes: the result, a state slot, or scratch.
struct Written {
  std::unique_ptr<VectorReader> initial;  // Null: starts as zeros.
  std::unique_ptr<VectorWriter> writer;   // Null: dropped.
};

// A program with its names looked up.
struct Plan {
  uint64_t elements = 0;
  std::vector<Written> written;
  std::vector<std::unique_ptr<VectorReader>> readers;
  std::vector<PlannedStep> steps;
  size_t result = 0;              // Index in `written`; without a writer where it is scratch.
  std::optional<size_t> control;  // Index in `written`.
  size_t scalars = 0;
};

class Planner {
 public:
  Planner(const VectorProgram& program, VectorStore& store) : program_(program), store_(store) {}

  absl::StatusOr<Plan> Make() {
    plan_.elements = store_.elements();
    CONSILIUM_RETURN_IF_ERROR(OpenResults());
    for (const VectorStep& step : program_.steps) {
      PlannedStep planned;
      planned.step = &step;
      CONSILIUM_RETURN_IF_ERROR(FindOperands(step, planned));
      planned.scalar = plan_.scalars;
      plan_.scalars += ScalarsOf(step);
      plan_.steps.push_back(std::move(planned));
    }
    return std::move(plan_);
  }

 private:
  absl::Status OpenResults() {
    const bool makes_model = program_.result.kind == Kind::kModel;
    const bool keeps_more = !program_.state_slots.empty() || program_.control.has_value();
    if (!makes_model && (program_.result.kind != Kind::kScratch || keeps_more)) {
      return absl::InvalidArgumentError(
          "a program's result is a model, or scratch where it keeps no state");
    }
    plan_.result = AddWritten(program_.result);
    if (!makes_model) return absl::OkStatus();
    const Version makes(program_.result.number);
    CONSILIUM_ASSIGN_OR_RETURN(plan_.written[plan_.result].writer,
                               store_.OpenForWriting(program_.result, makes));
    if (program_.control.has_value()) {
      if (*program_.control != VectorName::Control(makes)) {
        return absl::InvalidArgumentError("a control variate is of the version that is made");
      }
      plan_.control = AddWritten(*program_.control);
      CONSILIUM_ASSIGN_OR_RETURN(plan_.written[*plan_.control].writer,
                                 store_.OpenForWriting(*program_.control, makes));
    }
    for (const uint64_t slot : program_.state_slots) {
      const VectorName name = VectorName::State(slot);
      if (written_.contains(name)) return absl::InvalidArgumentError("a state slot named twice");
      Written& written = plan_.written[AddWritten(name)];
      auto initial = store_.OpenForReading(name);
      if (initial.ok()) {
        written.initial = *std::move(initial);
      } else if (!absl::IsNotFound(initial.status())) {
        return initial.status();
      }
      CONSILIUM_ASSIGN_OR_RETURN(written.writer, store_.OpenForWriting(name, makes));
    }
    return absl::OkStatus();
  }

  size_t AddWritten(const VectorName& name) {
    plan_.written.emplace_back();
    return written_[name] = plan_.written.size() - 1;
  }

  absl::Status FindOperands(const VectorStep& step, PlannedStep& planned) {
    if (!IsScalarOp(step.op)) CONSILIUM_RETURN_IF_ERROR(FindWritten(step.dst, planned.dst));
    switch (step.op) {
      case Op::kScale:
        return absl::OkStatus();
      case Op::kCopy:
      case Op::kAxpy:
      case Op::kBlend:
      case Op::kBlendSquared:
      case Op::kMax:
      case Op::kNormSquared:
        return FindRead(step.x, planned.x);
      case Op::kCompensate:
        CONSILIUM_RETURN_IF_ERROR(FindRead(step.z, planned.z));
        [[fallthrough]];
      case Op::kRatioStep:
      case Op::kDot:
        CONSILIUM_RETURN_IF_ERROR(FindRead(step.x, planned.x));
        return FindRead(step.y, planned.y);
      case Op::kAdam:
      case Op::kYogi:
      case Op::kAdagrad:
        CONSILIUM_RETURN_IF_ERROR(FindWritten(step.z, planned.z));
        if (step.z == step.y || step.z == step.dst || step.z == step.x) break;
        [[fallthrough]];
      case Op::kMomentum:
        CONSILIUM_RETURN_IF_ERROR(FindWritten(step.y, planned.y));
        if (step.y == step.dst || step.y == step.x || step.x == step.dst) break;
        return FindRead(step.x, planned.x);
      case Op::kTrimmedMean:
      case Op::kGram:
        return FindOver(step, planned);
    }
    return absl::InvalidArgumentError("one vector in two roles of an optimizer step");
  }

  absl::Status FindOver(const VectorStep& step, PlannedStep& planned) {
    if (step.over.empty() || step.over.size() > kStepVectorsMax) {
      return absl::InvalidArgumentError(
          absl::StrCat("a step over ", step.over.size(), " vectors; 1 to ", kStepVectorsMax));
    }
    if (step.op == Op::kTrimmedMean && 2 * size_t{step.cut} >= step.over.size()) {
      return absl::InvalidArgumentError("a trimmed mean of nothing");
    }
    planned.over.reserve(step.over.size());
    for (const VectorTerm& term : step.over) {
      if (step.op == Op::kTrimmedMean && term.vector == step.dst) {
        return absl::InvalidArgumentError("a trimmed mean of its own result");
      }
      CONSILIUM_RETURN_IF_ERROR(FindRead(term.vector, planned.over.emplace_back()));
    }
    return absl::OkStatus();
  }

  absl::Status FindWritten(const VectorName& name, Operand& operand) {
    if (auto found = written_.find(name); found != written_.end()) {
      operand = {Operand::Source::kBuffer, found->second};
    } else if (name.kind == Kind::kScratch) {
      operand = {Operand::Source::kBuffer, AddWritten(name)};
    } else {
      return absl::InvalidArgumentError(
          absl::StrCat("a step writes the vector of kind ", static_cast<int>(name.kind),
                       " and number ", name.number, ", which the program does not make"));
    }
    return absl::OkStatus();
  }

  absl::Status FindRead(const VectorName& name, Operand& operand) {
    if (written_.contains(name) || name.kind == Kind::kScratch) return FindWritten(name, operand);
    if (auto found = read_.find(name); found != read_.end()) {
      operand = found->second;
      return absl::OkStatus();
    }
    auto reader = store_.OpenForReading(name);
    if (absl::IsNotFound(reader.status()) && name.kind == Kind::kState) {
      operand = {Operand::Source::kBuffer, AddWritten(name)};  // Zeros, and never stepped upon.
      written_.erase(name);
    } else {
      CONSILIUM_RETURN_IF_ERROR(reader.status());
      plan_.readers.push_back(*std::move(reader));
      operand = {Operand::Source::kReader, plan_.readers.size() - 1};
    }
    read_[name] = operand;
    return absl::OkStatus();
  }

  const VectorProgram& program_;
  VectorStore& store_;
  Plan plan_;
  std::map<VectorName, size_t> written_;
  std::map<VectorName, Operand> read_;
};

// The leaves of a shard: of the result, and of the control variate where there is one.
struct Leaves {
  Digest result = {};
  Digest control = {};
};

// The buffers of one shard in the making: one for each written vector, two for what is read.
class Workspace {
 public:
  explicit Workspace(const Plan& plan)
      : plan_(plan), capacity_(ShardSize(plan.elements, 0)), buffers_(plan.written.size()) {}

  // All steps on one shard; its scalars go to `scalars`, its leaves to `leaves`.
  absl::Status Run(size_t shard, std::span<double> scalars, Leaves& leaves) {
    shard_ = shard;
    size_ = ShardSize(plan_.elements, shard);
    for (size_t i = 0; i < buffers_.size(); ++i) {
      buffers_[i].content = Buffer::Content::kUntouched;
    }
    for (const PlannedStep& step : plan_.steps) CONSILIUM_RETURN_IF_ERROR(Do(step, scalars));
    for (size_t i = 0; i < buffers_.size(); ++i) {
      const Written& written = plan_.written[i];
      if (written.writer == nullptr) continue;
      CONSILIUM_ASSIGN_OR_RETURN(std::span<float> values, Touch(i));
      const std::span<const uint8_t> bytes = {reinterpret_cast<const uint8_t*>(values.data()),
                                              values.size_bytes()};
      if (i == plan_.result) leaves.result = MerkleLeaf(bytes);
      if (i == plan_.control) leaves.control = MerkleLeaf(bytes);
      CONSILIUM_RETURN_IF_ERROR(written.writer->Write(shard, values));
    }
    return absl::OkStatus();
  }

 private:
  struct Buffer {
    std::vector<float> values;
    enum class Content : uint8_t { kUntouched, kValid } content = Content::kUntouched;
  };

  std::span<float> SpaceOf(Buffer& buffer) {
    if (buffer.values.empty()) buffer.values.resize(capacity_);
    return std::span<float>(buffer.values).first(size_);
  }

  // A buffer with its content: what the vector started with, if no step has written it yet.
  absl::StatusOr<std::span<float>> Touch(size_t index) {
    Buffer& buffer = buffers_[index];
    const std::span<float> values = SpaceOf(buffer);
    if (buffer.content == Buffer::Content::kValid) return values;
    buffer.content = Buffer::Content::kValid;
    const VectorReader* const initial = plan_.written[index].initial.get();
    if (initial == nullptr) {
      std::fill(values.begin(), values.end(), 0.0F);
      return values;
    }
    CONSILIUM_ASSIGN_OR_RETURN(std::span<const float> from, initial->Read(shard_, values));
    if (from.data() != values.data()) std::copy(from.begin(), from.end(), values.begin());
    return values;
  }

  absl::StatusOr<std::span<const float>> Read(const Operand& operand, Buffer& input) {
    if (operand.source == Operand::Source::kReader) {
      return plan_.readers[operand.index]->Read(shard_, SpaceOf(input));
    }
    CONSILIUM_ASSIGN_OR_RETURN(std::span<float> values, Touch(operand.index));
    return std::span<const float>(values);
  }

  absl::Status Copy(const PlannedStep& planned) {
    Buffer& buffer = buffers_[planned.dst.index];
    const std::span<float> to = SpaceOf(buffer);
    std::span<const float> from;
    if (planned.x.source == Operand::Source::kReader) {
      // Read straight into its destination, where the store fills buffers.
      CONSILIUM_ASSIGN_OR_RETURN(from, plan_.readers[planned.x.index]->Read(shard_, to));
    } else {
      CONSILIUM_ASSIGN_OR_RETURN(from, Touch(planned.x.index));
    }
    if (from.data() != to.data()) std::copy(from.begin(), from.end(), to.begin());
    buffer.content = Buffer::Content::kValid;
    return absl::OkStatus();
  }

  // This shard of each of the step's vectors; they stay where they are till the step is done.
  absl::Status ReadOver(const PlannedStep& planned) {
    if (inputs_.size() < planned.over.size()) inputs_.resize(planned.over.size());
    over_.clear();
    for (size_t i = 0; i < planned.over.size(); ++i) {
      CONSILIUM_ASSIGN_OR_RETURN(const std::span<const float> values,
                                 Read(planned.over[i], inputs_[i]));
      over_.push_back({values, static_cast<float>(planned.step->over[i].scale)});
    }
    return absl::OkStatus();
  }

  absl::Status TrimmedMean(const PlannedStep& planned) {
    CONSILIUM_RETURN_IF_ERROR(ReadOver(planned));
    CONSILIUM_ASSIGN_OR_RETURN(const std::span<float> dst, Touch(planned.dst.index));
    TrimmedMeanShard(over_, planned.step->cut, dst, sorting_);
    return absl::OkStatus();
  }

  absl::Status Gram(const PlannedStep& planned, std::span<double> scalars) {
    CONSILIUM_RETURN_IF_ERROR(ReadOver(planned));
    size_t next = planned.scalar;
    for (size_t j = 0; j < over_.size(); ++j) {
      for (size_t k = j; k < over_.size(); ++k) {
        scalars[next++] = DotShard(over_[j].values, over_[k].values);
      }
    }
    return absl::OkStatus();
  }

  absl::Status Do(const PlannedStep& planned, std::span<double> scalars) {
    const VectorStep& step = *planned.step;
    if (step.op == Op::kCopy) return Copy(planned);
    if (step.op == Op::kTrimmedMean) return TrimmedMean(planned);
    if (step.op == Op::kGram) return Gram(planned, scalars);
    std::span<float> dst, y, z;
    std::span<const float> x, y_read, z_read;
    if (planned.x.source != Operand::Source::kUnused) {
      CONSILIUM_ASSIGN_OR_RETURN(x, Read(planned.x, input_x_));
    }
    if (OnlyReads(step.op)) {
      if (planned.y.source != Operand::Source::kUnused) {
        CONSILIUM_ASSIGN_OR_RETURN(y_read, Read(planned.y, input_y_));
      }
      if (planned.z.source != Operand::Source::kUnused) {
        CONSILIUM_ASSIGN_OR_RETURN(z_read, Read(planned.z, input_z_));
      }
    } else {
      if (planned.y.source != Operand::Source::kUnused) {
        CONSILIUM_ASSIGN_OR_RETURN(y, Touch(planned.y.index));
      }
      if (planned.z.source != Operand::Source::kUnused) {
        CONSILIUM_ASSIGN_OR_RETURN(z, Touch(planned.z.index));
      }
    }
    if (planned.dst.source != Operand::Source::kUnused) {
      CONSILIUM_ASSIGN_OR_RETURN(dst, Touch(planned.dst.index));
    }
    switch (step.op) {
      case Op::kCopy:
      case Op::kTrimmedMean:
      case Op::kGram:
        break;
      case Op::kScale:
        ScaleShard(static_cast<float>(step.a), dst);
        break;
      case Op::kAxpy:
        AxpyShard(static_cast<float>(step.a), x, dst);
        break;
      case Op::kAdam:
        AdamShard(AdamScalarsOf(step), x, y, z, dst);
        break;
      case Op::kYogi:
        YogiShard(AdamScalarsOf(step), x, y, z, dst);
        break;
      case Op::kAdagrad:
        AdagradShard(AdamScalarsOf(step), x, y, z, dst);
        break;
      case Op::kBlend:
        BlendShard(BlendScalarsOf(step), x, dst);
        break;
      case Op::kBlendSquared:
        BlendSquaredShard(BlendScalarsOf(step), x, dst);
        break;
      case Op::kMax:
        MaxShard(x, dst);
        break;
      case Op::kRatioStep:
        RatioStepShard({.rate = static_cast<float>(step.a), .epsilon = static_cast<float>(step.d)},
                       x, y_read, dst);
        break;
      case Op::kCompensate:
        CompensateShard(static_cast<float>(step.a), x, y_read, z_read, dst);
        break;
      case Op::kMomentum:
        MomentumShard({.rate = static_cast<float>(step.a), .beta = static_cast<float>(step.b)}, x,
                      y, dst);
        break;
      case Op::kDot:
        scalars[planned.scalar] = DotShard(x, y_read);
        break;
      case Op::kNormSquared:
        scalars[planned.scalar] = DotShard(x, x);
        break;
    }
    return absl::OkStatus();
  }

  const Plan& plan_;
  size_t capacity_;
  size_t shard_ = 0;
  size_t size_ = 0;
  std::vector<Buffer> buffers_;
  Buffer input_x_, input_y_, input_z_;
  std::vector<Buffer> inputs_;  // Of a step over many vectors.
  std::vector<ScaledShard> over_;
  std::vector<float> sorting_;
};

// Workspaces that no thread uses now.
class WorkspacePool {
 public:
  explicit WorkspacePool(const Plan& plan) : plan_(plan) {}

  std::unique_ptr<Workspace> Take() {
    absl::MutexLock lock(&mutex_);
    if (free_.empty()) return std::make_unique<Workspace>(plan_);
    std::unique_ptr<Workspace> workspace = std::move(free_.back());
    free_.pop_back();
    return workspace;
  }
  void GiveBack(std::unique_ptr<Workspace> workspace) {
    absl::MutexLock lock(&mutex_);
    free_.push_back(std::move(workspace));
  }

 private:
  const Plan& plan_;
  absl::Mutex mutex_;
  std::vector<std::unique_ptr<Workspace>> free_ ABSL_GUARDED_BY(mutex_);
};

// What the shards brought; each shard writes only its own part.
struct ShardResults {
  std::vector<double> scalars;  // [shard][scalar]
  std::vector<Leaves> leaves;

  Digest RootOf(Digest Leaves::*part) const {
    std::vector<Digest> digests;
    digests.reserve(leaves.size());
    for (const Leaves& shard : leaves) digests.push_back(shard.*part);
    return MerkleRoot(digests);
  }
};

absl::Status RunShards(const Plan& plan, Executor* executor, ShardResults& results) {
  const size_t shards = ShardCount(plan.elements);
  results.scalars.resize(shards * plan.scalars);
  results.leaves.resize(shards);
  std::vector<absl::Status> statuses(shards);
  std::atomic<bool> failed = false;
  WorkspacePool pool(plan);
  const auto body = [&](size_t shard) {
    if (failed.load(std::memory_order_relaxed)) return;
    std::unique_ptr<Workspace> workspace = pool.Take();
    statuses[shard] = workspace->Run(
        shard, std::span<double>(results.scalars).subspan(shard * plan.scalars, plan.scalars),
        results.leaves[shard]);
    if (!statuses[shard].ok()) failed.store(true, std::memory_order_relaxed);
    pool.GiveBack(std::move(workspace));
  };
  if (executor != nullptr) {
    ParallelFor(*executor, shards, body);
  } else {
    for (size_t shard = 0; shard < shards; ++shard) body(shard);
  }
  for (absl::Status& status : statuses) CONSILIUM_RETURN_IF_ERROR(std::move(status));
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ProgramResult> RunProgram(const VectorProgram& program, VectorStore& store,
                                         Executor* executor) {
  CONSILIUM_ASSIGN_OR_RETURN(const Plan plan, Planner(program, store).Make());
  ShardResults shards;
  CONSILIUM_RETURN_IF_ERROR(RunShards(plan, executor, shards));
  // State first: it shows only with a committed version, the model at once.
  for (size_t i = plan.written.size(); i-- > 0;) {
    if (plan.written[i].writer != nullptr) {
      CONSILIUM_RETURN_IF_ERROR(plan.written[i].writer->Finish());
    }
  }
  ProgramResult result;
  result.scalars.resize(plan.scalars);
  for (size_t i = 0; i < shards.scalars.size(); ++i) {
    result.scalars[i % plan.scalars] += shards.scalars[i];
  }
  if (plan.written[plan.result].writer != nullptr) {
    result.payload_root = shards.RootOf(&Leaves::result);
  }
  if (plan.control.has_value()) {
    result.payload_root = MerkleRootOfTwo(result.payload_root, shards.RootOf(&Leaves::control));
  }
  return result;
}

}  // namespace consilium
