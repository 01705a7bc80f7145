// Tensors on disk, as safetensors files (github.com/huggingface/safetensors): the length of a JSON
// header (8 bytes, little-endian), the header, and the tensors' bytes one after another. Data and
// nothing else: no such file can make a reader run anything.
//
// Ownership: a TensorFile owns its file descriptor. Threads: const calls from any.

#ifndef CONSILIUM_MODELS_SPEC_SAFETENSORS_H_
#define CONSILIUM_MODELS_SPEC_SAFETENSORS_H_

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "models/spec/layout.h"
#include "models/spec/safetensors_header.h"

namespace consilium {

class TensorFile {
 public:
  // Reads and checks the header; no tensor yet. NOT_FOUND; INVALID_ARGUMENT where it is not a
  // regular file or not such a one (ParseSafetensorsHeader); RESOURCE_EXHAUSTED for a header above
  // limits::kSafetensorsHeaderBytesMax or data above limits::kPayloadBytesMax.
  static absl::StatusOr<TensorFile> Open(const std::string& path);
  TensorFile(TensorFile&& other) noexcept;
  TensorFile& operator=(TensorFile&& other) noexcept;
  ~TensorFile();

  const std::vector<TensorPlace>& tensors() const { return header_.tensors; }
  const std::map<std::string, std::string>& metadata() const { return header_.metadata; }

  // One of tensors() into `out`, which has as many elements. DATA_LOSS where the file became
  // shorter since.
  absl::Status Read(const TensorPlace& tensor, std::span<float> out) const;

  // All tensors of `layout`, by name, in the layout's order; `out` has layout.elements().
  // INVALID_ARGUMENT names a tensor that is missing, of another shape, not in the layout, or holds
  // a number that is not finite. `out` is unspecified after an error.
  absl::Status ReadModel(const Layout& layout, std::span<float> out) const;

 private:
  TensorFile(std::string path, int descriptor) : path_(std::move(path)), descriptor_(descriptor) {}
  absl::Status ReadHeader();

  std::string path_;
  int descriptor_ = -1;
  uint64_t data_begin_ = 0;
  SafetensorsHeader header_;
};

struct TensorFileContent {
  const Layout* layout = nullptr;
  std::span<const float> values;  // layout->elements(), in its order.
  std::map<std::string, std::string> metadata;
  mode_t mode = 0644;  // A federated model is published; one hospital's own is not.
};

// Writes such a file to `descriptor`, from where it stands; `name` is for errors. Copies nothing.
// Errors as below.
absl::Status WriteTensors(int descriptor, const std::string& name,
                          const TensorFileContent& content);

// Writes `path` so that a crash leaves the old file or the new one. Copies nothing.
// INVALID_ARGUMENT where values and layout do not fit; RESOURCE_EXHAUSTED for a full disk,
// PERMISSION_DENIED or UNAVAILABLE otherwise.
absl::Status WriteTensorFile(const std::string& path, const TensorFileContent& content);

}  // namespace consilium

#endif  // CONSILIUM_MODELS_SPEC_SAFETENSORS_H_
