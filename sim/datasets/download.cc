#include "sim/datasets/download.h"

#include <curl/curl.h>

#include <array>
#include <memory>
#include <optional>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "protocol/core/status_macros.h"

namespace consilium {
namespace {

using Handle = std::unique_ptr<CURL, void (*)(CURL*)>;

struct Transfer {
  CURL* curl;
  const Download* download;
  PartFile* part;
  absl::Status status;                  // Why it was given up here.
  std::optional<uint64_t> range_begin;  // Of the last answer's headers.
  bool body_begun = false;
};

long ResponseCode(CURL* curl) {
  long code = 0;
  curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &code);
  return code;
}

// "Content-Range: bytes 100-199/200" begins at 100.
std::optional<uint64_t> RangeBegin(absl::string_view value) {
  value = absl::StripAsciiWhitespace(value);
  uint64_t begin = 0;
  if (!absl::ConsumePrefix(&value, "bytes ")) return std::nullopt;
  const std::vector<absl::string_view> ends = absl::StrSplit(value, absl::MaxSplits('-', 1));
  if (ends.size() != 2 || !absl::SimpleAtoi(ends[0], &begin)) return std::nullopt;
  return begin;
}

size_t OnHeader(char* data, size_t size, size_t count, void* user) {
  auto& transfer = *static_cast<Transfer*>(user);
  const absl::string_view line(data, size * count);
  if (absl::StartsWith(line, "HTTP/")) transfer.range_begin.reset();
  constexpr absl::string_view kName = "content-range:";
  if (absl::StartsWithIgnoreCase(line, kName)) {
    transfer.range_begin = RangeBegin(line.substr(kName.size()));
  }
  return size * count;
}

absl::Status TooLarge(const Download& download) {
  return absl::ResourceExhaustedError(
      absl::StrFormat("sends more than the %d bytes that the file has", download.bytes));
}

// Where the body of the last answer belongs.
absl::Status BeginBody(Transfer& transfer) {
  const long code = ResponseCode(transfer.curl);
  if (code == 200) return transfer.part->Clear();
  if (code != 206) return absl::FailedPreconditionError(absl::StrFormat("answers %d", code));
  if (transfer.range_begin == transfer.part->bytes()) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrFormat(
      "goes on from another byte than it was asked for (%d)", transfer.part->bytes()));
}

absl::Status TakeBody(Transfer& transfer, absl::string_view piece) {
  if (!transfer.body_begun) CONSILIUM_RETURN_IF_ERROR(BeginBody(transfer));
  transfer.body_begun = true;
  if (transfer.part->bytes() + piece.size() > transfer.download->bytes) {
    return TooLarge(*transfer.download);
  }
  CONSILIUM_RETURN_IF_ERROR(transfer.part->Append(piece));
  transfer.download->progress(transfer.part->bytes());
  return absl::OkStatus();
}

size_t OnBody(char* data, size_t size, size_t count, void* user) {
  auto& transfer = *static_cast<Transfer*>(user);
  transfer.status = TakeBody(transfer, absl::string_view(data, size * count));
  return transfer.status.ok() ? size * count : 0;
}

Handle MakeHandle(Transfer& transfer, char* error) {
  static const CURLcode initialised = curl_global_init(CURL_GLOBAL_DEFAULT);
  if (initialised != CURLE_OK) return {nullptr, curl_easy_cleanup};
  Handle handle(curl_easy_init(), curl_easy_cleanup);
  CURL* curl = handle.get();
  if (curl == nullptr) return handle;
  const std::string& url = transfer.download->url;
  curl_easy_setopt(curl, CURLOPT_URL, url.c_str());
  curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, error);
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl, CURLOPT_FAILONERROR, 1L);
  curl_easy_setopt(curl, CURLOPT_USERAGENT, "consilium-sim");
  curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 1L);
  curl_easy_setopt(curl, CURLOPT_MAXREDIRS, long{kRedirectsMax});
  curl_easy_setopt(curl, CURLOPT_REDIR_PROTOCOLS_STR,
                   absl::StartsWithIgnoreCase(url, "https:") ? "https" : "http,https");
  curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 1L);
  curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 2L);
  curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, long{kConnectSecondsMax});
  curl_easy_setopt(curl, CURLOPT_MAXFILESIZE_LARGE,
                   static_cast<curl_off_t>(transfer.download->bytes));
  curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
  curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, long{kSilentSecondsMax});
  curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, OnHeader);
  curl_easy_setopt(curl, CURLOPT_HEADERDATA, &transfer);
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, OnBody);
  curl_easy_setopt(curl, CURLOPT_WRITEDATA, &transfer);
  if (transfer.part->bytes() > 0) {
    curl_easy_setopt(curl, CURLOPT_RANGE, absl::StrCat(transfer.part->bytes(), "-").c_str());
  }
  return handle;
}

absl::Status Answer(long code) {
  const std::string text = absl::StrFormat("answers %d", code);
  if (code == 404 || code == 410) return absl::NotFoundError(text);
  if (code == 429 || code >= 500) return absl::UnavailableError(text);
  return absl::FailedPreconditionError(text);
}

absl::Status StatusOfCurl(CURLcode code, const Transfer& transfer, const char* error) {
  if (!transfer.status.ok()) return transfer.status;
  const std::string text = *error != '\0' ? error : curl_easy_strerror(code);
  switch (code) {
    case CURLE_OK:
      return absl::OkStatus();
    case CURLE_HTTP_RETURNED_ERROR:
      return Answer(ResponseCode(transfer.curl));
    case CURLE_FILESIZE_EXCEEDED:
      return TooLarge(*transfer.download);
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_TOO_MANY_REDIRECTS:
    case CURLE_URL_MALFORMAT:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
      return absl::FailedPreconditionError(text);
    default:
      return absl::UnavailableError(text);
  }
}

absl::Status FetchOnce(const Download& download, PartFile& part) {
  Transfer transfer = {nullptr, &download, &part, absl::OkStatus(), std::nullopt, false};
  std::array<char, CURL_ERROR_SIZE> error = {};
  const Handle handle = MakeHandle(transfer, error.data());
  if (handle == nullptr) return absl::UnavailableError("libcurl can not be used");
  transfer.curl = handle.get();
  const bool goes_on = part.bytes() > 0;
  const CURLcode code = curl_easy_perform(handle.get());
  if (goes_on && code == CURLE_HTTP_RETURNED_ERROR && ResponseCode(handle.get()) == 416) {
    // Nothing there begins where ours ends, so ours is of another file.
    CONSILIUM_RETURN_IF_ERROR(part.Clear());
    return FetchOnce(download, part);
  }
  CONSILIUM_RETURN_IF_ERROR(StatusOfCurl(code, transfer, error.data()));
  if (part.bytes() == download.bytes) return absl::OkStatus();
  return absl::UnavailableError("ends early");
}

}  // namespace

absl::Status FetchUrl(const Download& download, PartFile& part) {
  if (part.bytes() > download.bytes) CONSILIUM_RETURN_IF_ERROR(part.Clear());
  if (part.bytes() == download.bytes) return absl::OkStatus();
  absl::Status status;
  for (int attempt = 0; attempt < kAttemptsMax; ++attempt) {
    const uint64_t before = part.bytes();
    status = FetchOnce(download, part);
    if (status.ok()) return status;
    if (!absl::IsUnavailable(status) || part.bytes() <= before) break;
  }
  return {status.code(), absl::StrFormat("%s: %s; %d of %d bytes are here", download.url,
                                         status.message(), part.bytes(), download.bytes)};
}

}  // namespace consilium
