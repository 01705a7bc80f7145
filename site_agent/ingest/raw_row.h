// One row of a hospital's table after its contract was checked, as it lies in the site's store:
// raw, so that another run may encode and standardise it otherwise.
//
// Ownership: values. Threads: as any value.

#ifndef CONSILIUM_SITE_AGENT_INGEST_RAW_ROW_H_
#define CONSILIUM_SITE_AGENT_INGEST_RAW_ROW_H_

#include <string>
#include <vector>

namespace consilium {

struct RawRow {
  // One for each of the contract's columns: a number as it is, a category as the index of its
  // value, NaN where it was not measured; 0 for a tensor.
  std::vector<double> values;
  // 0 or 1, a class index, or a number; of a survival label the time of the event, or minus the
  // time at which watching ended without one. Never missing.
  double label = 0;
  // Names the patient within this site; never leaves it. 1 to limits::kPatientIdBytesMax bytes.
  std::string patient_id;
  // The numbers of all tensors, in the contract's order and each row-major: finite, and at most
  // limits::kFeaturesMax of them.
  std::vector<float> tensors = {};
};

}  // namespace consilium

#endif  // CONSILIUM_SITE_AGENT_INGEST_RAW_ROW_H_
