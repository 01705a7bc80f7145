// The defaults that the comments of model_spec.proto promise, written out, so that a resolved plan
// says everything that will happen.
//
// Threads: any.

#ifndef CONSILIUM_MODELS_SPEC_SPEC_DEFAULTS_H_
#define CONSILIUM_MODELS_SPEC_SPEC_DEFAULTS_H_

#include "absl/strings/string_view.h"
#include "consilium/v1/model_spec.pb.h"

namespace consilium {

// The name by which layers read the example.
inline constexpr absl::string_view kInputName = "input";

// Inputs, bias, initialiser, epsilon and parameter ranges where the spec leaves them out.
// Idempotent; checks nothing.
void FillSpecDefaults(v1::ModelSpec& spec);

}  // namespace consilium

#endif  // CONSILIUM_MODELS_SPEC_SPEC_DEFAULTS_H_
