// Owning pointers to OpenSSL's objects, and its error queue as one line of text.
//
// Threads: as OpenSSL's own objects; the error queue is the calling thread's.

#ifndef CONSILIUM_PROTOCOL_RPC_OPENSSL_PTR_H_
#define CONSILIUM_PROTOCOL_RPC_OPENSSL_PTR_H_

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <memory>
#include <string>

#include "absl/strings/string_view.h"

namespace consilium::openssl {

template <auto kFree>
struct Deleter {
  template <typename T>
  void operator()(T* object) const {
    kFree(object);
  }
};

inline void FreeNames(GENERAL_NAMES* names) { GENERAL_NAMES_free(names); }
inline void FreeChain(STACK_OF(X509) * chain) { sk_X509_pop_free(chain, X509_free); }
// Frees the stack and not what it refers to.
inline void FreeRefs(STACK_OF(X509) * chain) { sk_X509_free(chain); }

using BioPtr = std::unique_ptr<BIO, Deleter<BIO_free_all>>;
using PkeyPtr = std::unique_ptr<EVP_PKEY, Deleter<EVP_PKEY_free>>;
using X509Ptr = std::unique_ptr<X509, Deleter<X509_free>>;
using X509ReqPtr = std::unique_ptr<X509_REQ, Deleter<X509_REQ_free>>;
using X509ExtensionPtr = std::unique_ptr<X509_EXTENSION, Deleter<X509_EXTENSION_free>>;
using X509StorePtr = std::unique_ptr<X509_STORE, Deleter<X509_STORE_free>>;
using X509StoreCtxPtr = std::unique_ptr<X509_STORE_CTX, Deleter<X509_STORE_CTX_free>>;
using BignumPtr = std::unique_ptr<BIGNUM, Deleter<BN_free>>;
using NamesPtr = std::unique_ptr<GENERAL_NAMES, Deleter<FreeNames>>;
using ChainPtr = std::unique_ptr<STACK_OF(X509), Deleter<FreeChain>>;
using ChainRefsPtr = std::unique_ptr<STACK_OF(X509), Deleter<FreeRefs>>;

// A read-only view of `bytes`, which must outlive it.
BioPtr ViewOf(absl::string_view bytes);
BioPtr MemoryBio();
std::string TextOf(BIO* memory);

// A passphrase callback that gives none: without one, OpenSSL asks the terminal when a PEM block,
// a peer's included, says that it is encrypted.
int NoPassphrase(char* buffer, int size, int for_writing, void* unused);

// Empties this thread's error queue and returns its first reason, "no reason given" where empty.
std::string TakeError();

}  // namespace consilium::openssl

#endif  // CONSILIUM_PROTOCOL_RPC_OPENSSL_PTR_H_
