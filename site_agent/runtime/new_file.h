// A file that a command makes for the person who asks. It gets its name when it is whole, and never
// takes the place of another.
//
// Ownership: owns its descriptor, and the temporary name where it has one. Threads: one.

#ifndef CONSILIUM_SITE_AGENT_RUNTIME_NEW_FILE_H_
#define CONSILIUM_SITE_AGENT_RUNTIME_NEW_FILE_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "privacy/at_rest/sealed_blob.h"

namespace consilium::site {

class NewFile {
 public:
  // What it is called until then. Nothing leaves no trace of a process that was killed; a file
  // system that has no such files (NFS, FAT) gets a temporary name beside `path` all the same.
  enum class UntilWhole { kNameless, kTemporaryName };

  // Empty, only for this user (0600). ALREADY_EXISTS; errors of the system where `path` can not be.
  static absl::StatusOr<NewFile> Create(const std::string& path,
                                        UntilWhole until = UntilWhole::kNameless);
  NewFile(NewFile&& other) noexcept;
  NewFile& operator=(NewFile&& other) = delete;
  // Nothing is left of it unless it was committed.
  ~NewFile();

  // Whoever has it writes the file.
  int descriptor() const { return descriptor_.get(); }

  // Makes it durable under its name, and tells its bytes. ALREADY_EXISTS where another has come
  // there meanwhile, which stays; errors of the system.
  absl::StatusOr<uint64_t> Commit();

 private:
  NewFile(std::string path, std::string temporary, FileDescriptor descriptor);
  int TakeName() const;

  std::string path_;
  std::string temporary_;  // Empty: it has no name.
  FileDescriptor descriptor_;
};

}  // namespace consilium::site

#endif  // CONSILIUM_SITE_AGENT_RUNTIME_NEW_FILE_H_
