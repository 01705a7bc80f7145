// A model graph made runnable on the CPU by LibTorch. Callers see spans of floats and no tensor
// type, so they compile without LibTorch's headers. Weights and gradient are one flat array each,
// in the layout's order; the layers' tensors are views of them, so an optimizer steps over floats
// and loading a version is one copy.
//
// Given the same weights, batch and stream, a call gives the same bits, on one CPU type and one
// build of LibTorch: one thread, MKL on its reproducible path (InitialiseTorch).
//
// Ownership: owns its tensors. Threads: one call at a time on one model; models are independent.

#ifndef CONSILIUM_MODELS_TORCH_TORCH_MODEL_H_
#define CONSILIUM_MODELS_TORCH_TORCH_MODEL_H_

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "models/spec/model_graph.h"
#include "protocol/wire/derived_seed.h"

namespace consilium {

// Sets what the reproducibility of training hangs on: one thread within an operation, and
// MKL_CBWR=COMPATIBLE where the environment says nothing else. MKL reads that variable once, at
// its first use, so a program calls this at its start, before it has threads; models call it too,
// for tests.
void InitialiseTorch();

// `labels.size()` examples, row-major. Not owned.
struct Batch {
  std::span<const float> values;
  // 0 or 1, a class index, a number, or a time (minus a time where no event was observed), as the
  // loss wants it.
  std::span<const float> labels;
};

class TorchModel {
 public:
  // Weights are zeros. INVALID_ARGUMENT for a kind of layer or loss that this build can not run, a
  // discrete hazard without an interval_end for each output, or a model without weights;
  // RESOURCE_EXHAUSTED where there is no memory for it.
  static absl::StatusOr<std::unique_ptr<TorchModel>> Create(const ModelGraph& graph);
  ~TorchModel();
  TorchModel(const TorchModel&) = delete;
  TorchModel& operator=(const TorchModel&) = delete;

  // layout.elements() floats in the layout's order. Write here to load; valid as long as the model.
  std::span<float> weights();
  // How many of them, from the first on, are trained; the rest are buffers, whose gradient is 0.
  size_t trained_elements() const;
  // As LossAndGradient left it; the caller may clip it or add to it in place.
  std::span<float> gradient();

  // Numbers of one example, and of its output.
  size_t input_elements() const;
  size_t output_elements() const;

  // The batch's mean loss in training mode, and in gradient() its derivative by the weights:
  //   cross entropy  −log softmax(z)[y];  BCE  −y·log σ(z) − (1−y)·log(1−σ(z));  MSE  (z − y)²;
  //   Cox  for an event i  ln Σ_{j: T_j ≥ T_i} exp(z_j − z_i) over the batch, 0 for the others
  //   (partial likelihood, Breslow's ties; as in FLamby, arXiv:2210.04620, up to ties);
  //   discrete hazard  Σ_{k lived through} −log(1 − σ(z_k)), and −log σ(z_k) of the event's
  //   interval (models/metrics/discrete_hazard.h).
  // Batch norm's running statistics take their step, in weights():
  //   running ← (1 − momentum)·running + momentum·batch's (the variance with n − 1);
  // a batch of one value a channel has no variance, so the running ones normalise it and stay.
  // Dropout masks are drawn from `dropout`, one number for each element. INVALID_ARGUMENT where
  // sizes do not fit, a label is none of the loss's, or an embedding has no such entry; INTERNAL
  // with LibTorch's words. A loss or gradient that is not finite is returned as it is.
  absl::StatusOr<double> LossAndGradient(const Batch& batch, RandomStream& dropout);

  // [count, output_elements()] in evaluation mode: logits where the loss takes logits.
  // INVALID_ARGUMENT where `values` is not whole examples, or an embedding has no such entry.
  absl::StatusOr<std::vector<float>> Outputs(std::span<const float> values);

 private:
  class Impl;
  explicit TorchModel(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace consilium

#endif  // CONSILIUM_MODELS_TORCH_TORCH_MODEL_H_
