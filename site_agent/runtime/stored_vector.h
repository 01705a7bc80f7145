// Vectors of floats in the site's sealed blobs: models, updates, what is kept with them.
//
// Threads: any.

#ifndef CONSILIUM_SITE_AGENT_RUNTIME_STORED_VECTOR_H_
#define CONSILIUM_SITE_AGENT_RUNTIME_STORED_VECTOR_H_

#include <vector>

#include "absl/status/statusor.h"
#include "privacy/at_rest/blob_store.h"
#include "protocol/core/ids.h"

namespace consilium::site {

// NOT_FOUND; DATA_LOSS where it was damaged, or is no vector of at most limits::kPayloadBytesMax.
absl::StatusOr<std::vector<float>> ReadStoredVector(const BlobStore& blobs, const Digest& name);

}  // namespace consilium::site

#endif  // CONSILIUM_SITE_AGENT_RUNTIME_STORED_VECTOR_H_
