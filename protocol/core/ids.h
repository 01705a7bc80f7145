// Strong types for the names that travel through the whole system: an id of one kind can not be
// passed where another is meant, and costs nothing beyond the value inside.
//
// Ownership: values. Threads: as any value.

#ifndef CONSILIUM_PROTOCOL_CORE_IDS_H_
#define CONSILIUM_PROTOCOL_CORE_IDS_H_

#include <array>
#include <compare>
#include <cstdint>
#include <string>
#include <utility>

namespace consilium {

// A name of one kind. `Tag` is never defined.
template <typename Tag>
class NameId {
 public:
  NameId() = default;
  explicit NameId(std::string value) : value_(std::move(value)) {}
  const std::string& value() const { return value_; }
  bool empty() const { return value_.empty(); }
  friend auto operator<=>(const NameId&, const NameId&) = default;
  template <typename H>
  friend H AbslHashValue(H h, const NameId& id) {
    return H::combine(std::move(h), id.value_);
  }

 private:
  std::string value_;
};

// A number of one kind.
template <typename Tag>
class NumberId {
 public:
  constexpr NumberId() = default;
  constexpr explicit NumberId(uint64_t value) : value_(value) {}
  constexpr uint64_t value() const { return value_; }
  constexpr NumberId next() const { return NumberId(value_ + 1); }
  friend constexpr auto operator<=>(const NumberId&, const NumberId&) = default;
  template <typename H>
  friend H AbslHashValue(H h, const NumberId& id) {
    return H::combine(std::move(h), id.value_);
  }

 private:
  uint64_t value_ = 0;
};

// A training run of a federation; unique at one aggregator for ever.
using RunId = NameId<struct RunTag>;
// A hospital, as named in its certificate: [a-z0-9][a-z0-9-]{0,62}.
using SiteId = NameId<struct SiteTag>;
// The count of a site's tasks in one run, from 1.
using TaskId = NumberId<struct TaskTag>;
// The count of a run's models: 0 is the initial one.
using Version = NumberId<struct VersionTag>;
// The count of an agent's process starts; fences an older process of the same site.
using Incarnation = NumberId<struct IncarnationTag>;
// The place of an input in a journal, from 1, without gaps.
using Sequence = NumberId<struct SequenceTag>;

// A SHA-256 digest or a Merkle root of them (protocol/wire/hash.h).
using Digest = std::array<uint8_t, 32>;

}  // namespace consilium

#endif  // CONSILIUM_PROTOCOL_CORE_IDS_H_
