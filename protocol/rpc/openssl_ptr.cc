#include "protocol/rpc/openssl_ptr.h"

#include <openssl/err.h>

namespace consilium::openssl {

BioPtr ViewOf(absl::string_view bytes) {
  return BioPtr(BIO_new_mem_buf(bytes.data(), static_cast<int>(bytes.size())));
}

BioPtr MemoryBio() { return BioPtr(BIO_new(BIO_s_mem())); }

std::string TextOf(BIO* memory) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(memory, &data);
  return size > 0 ? std::string(data, static_cast<size_t>(size)) : std::string();
}

int NoPassphrase(char*, int, int, void*) { return 0; }

std::string TakeError() {
  const unsigned long code = ERR_get_error();
  const char* reason = code == 0 ? nullptr : ERR_reason_error_string(code);
  std::string text = reason == nullptr ? "no reason given" : reason;
  ERR_clear_error();
  return text;
}

}  // namespace consilium::openssl
