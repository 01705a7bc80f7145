// A folder of mode 0700 of its own for each test, removed with all in it.

#ifndef CONSILIUM_TESTS_FAKES_TEMP_FOLDER_H_
#define CONSILIUM_TESTS_FAKES_TEMP_FOLDER_H_

#include <stdlib.h>

#include <filesystem>
#include <string>
#include <system_error>

namespace consilium {

class TempFolder {
 public:
  TempFolder() : path_((std::filesystem::temp_directory_path() / "consilium-XXXXXX").string()) {
    if (mkdtemp(path_.data()) == nullptr) abort();
  }
  ~TempFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;

  const std::string& path() const { return path_; }
  std::string File(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

}  // namespace consilium

#endif  // CONSILIUM_TESTS_FAKES_TEMP_FOLDER_H_
