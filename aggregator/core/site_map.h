// A map by site in the order of site ids, as replays and digests need it, that finds a site as fast
// among ten thousand as among four: an ordered tree beside a hash index. Sites are never taken out.
//
// Ownership: holds the values; references to them and iterators stay valid while sites are added
// and when the map is moved. Threads: as any value.

#ifndef CONSILIUM_AGGREGATOR_CORE_SITE_MAP_H_
#define CONSILIUM_AGGREGATOR_CORE_SITE_MAP_H_

#include <cstddef>
#include <map>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "protocol/core/ids.h"

namespace consilium::federation {

template <typename T>
class SiteMap {
 public:
  using Tree = std::map<SiteId, T>;
  using value_type = typename Tree::value_type;
  using iterator = typename Tree::iterator;
  using const_iterator = typename Tree::const_iterator;

  SiteMap() = default;
  SiteMap(const SiteMap& other) : tree_(other.tree_) {
    for (iterator it = tree_.begin(); it != tree_.end(); ++it) index_[it->first.value()] = it;
  }
  SiteMap& operator=(const SiteMap& other) { return *this = SiteMap(other); }
  SiteMap(SiteMap&& other) noexcept = default;
  SiteMap& operator=(SiteMap&& other) noexcept = default;
  ~SiteMap() = default;

  iterator begin() { return tree_.begin(); }
  iterator end() { return tree_.end(); }
  const_iterator begin() const { return tree_.begin(); }
  const_iterator end() const { return tree_.end(); }
  size_t size() const { return tree_.size(); }
  bool empty() const { return tree_.empty(); }

  iterator find(const SiteId& site) {
    const auto found = index_.find(site.value());
    return found == index_.end() ? tree_.end() : found->second;
  }
  const_iterator find(const SiteId& site) const {
    const auto found = index_.find(site.value());
    return found == index_.end() ? tree_.end() : const_iterator(found->second);
  }
  bool contains(const SiteId& site) const { return index_.contains(site.value()); }
  // The first whose id is not before `site`.
  iterator lower_bound(const SiteId& site) { return tree_.lower_bound(site); }
  // Of a site that is there.
  const T& at(const SiteId& site) const { return find(site)->second; }
  T& operator[](const SiteId& site) {
    if (const auto found = index_.find(site.value()); found != index_.end()) {
      return found->second->second;
    }
    const iterator made = tree_.try_emplace(site).first;
    index_.emplace(made->first.value(), made);
    return made->second;
  }

 private:
  Tree tree_;
  // The names lie in the tree's nodes, which never move.
  absl::flat_hash_map<absl::string_view, iterator> index_;
};

}  // namespace consilium::federation

#endif  // CONSILIUM_AGGREGATOR_CORE_SITE_MAP_H_
