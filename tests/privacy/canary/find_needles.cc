// Where any of many short byte strings occurs in a large corpus.
//
//   find_needles NEEDLES CORPUS
//
// Both are files of items, as message_recorder.cc writes them. Prints "needle item offset" (numbers
// of items from 0) for each occurrence, overlapping ones too. A needle has at least 3 bytes.

#include <stdio.h>

#include <cstdint>
#include <fstream>
#include <sstream>
#include <string>
#include <unordered_map>
#include <vector>

namespace {

constexpr size_t kPrefixBytes = 3;

// Contents alone; false where the file can not be read or ends in the middle of an item.
bool ReadItems(const char* path, std::vector<std::string>& contents) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream all;
  all << file.rdbuf();
  if (!file) return false;
  const std::string bytes = all.str();
  size_t at = 0;
  const auto take = [&](size_t size, std::string& out) {
    if (size > bytes.size() - at) return false;
    out = bytes.substr(at, size);
    at += size;
    return true;
  };
  const auto number = [&](size_t size, uint64_t& out) {
    std::string text;
    if (!take(size, text)) return false;
    out = 0;
    for (size_t i = size; i-- > 0;) out = out << 8 | static_cast<uint8_t>(text[i]);
    return true;
  };
  while (at < bytes.size()) {
    uint64_t size = 0;
    std::string name;
    if (!number(4, size) || !take(size, name) || !number(8, size)) return false;
    contents.emplace_back();
    if (!take(size, contents.back())) return false;
  }
  return true;
}

uint32_t PrefixAt(const std::string& text, size_t at) {
  return static_cast<uint32_t>(static_cast<uint8_t>(text[at])) << 16 |
         static_cast<uint32_t>(static_cast<uint8_t>(text[at + 1])) << 8 |
         static_cast<uint8_t>(text[at + 2]);
}

int Fail(const char* what) {
  fprintf(stderr, "find_needles: %s\n", what);
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<std::string> needles, corpus;
  if (argc != 3) return Fail("usage: find_needles NEEDLES CORPUS");
  if (!ReadItems(argv[1], needles)) return Fail("the needles can not be read");
  if (!ReadItems(argv[2], corpus)) return Fail("the corpus can not be read");
  std::vector<bool> is_prefix(size_t{1} << 24);
  std::unordered_map<uint32_t, std::vector<size_t>> by_prefix;
  for (size_t n = 0; n < needles.size(); ++n) {
    if (needles[n].size() < kPrefixBytes) return Fail("a needle is too short");
    const uint32_t prefix = PrefixAt(needles[n], 0);
    is_prefix[prefix] = true;
    by_prefix[prefix].push_back(n);
  }
  for (size_t i = 0; i < corpus.size(); ++i) {
    const std::string& text = corpus[i];
    for (size_t at = 0; at + kPrefixBytes <= text.size(); ++at) {
      const uint32_t prefix = PrefixAt(text, at);
      if (!is_prefix[prefix]) continue;
      for (const size_t n : by_prefix[prefix]) {
        if (text.compare(at, needles[n].size(), needles[n]) == 0) {
          printf("%zu %zu %zu\n", n, i, at);
        }
      }
    }
  }
  return 0;
}
