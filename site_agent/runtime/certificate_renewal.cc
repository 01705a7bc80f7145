#include "site_agent/runtime/certificate_renewal.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "protocol/core/status_macros.h"
#include "protocol/rpc/certificate_folder.h"
#include "protocol/rpc/pki.h"
#include "protocol/wire/reasons.h"
#include "site_agent/runtime/link_errors.h"

namespace consilium::site {
namespace {

constexpr double kJitterShare = 0.05;
// A failed renewal has half of the certificate's life to succeed in.
constexpr absl::Duration kRetryMin = absl::Minutes(1);
constexpr absl::Duration kRetryMax = absl::Minutes(15);

}  // namespace

absl::Time RenewalTime(const CertificateLife& life, double jitter) {
  return life.begin + (life.end - life.begin) * (0.5 + kJitterShare * (2 * jitter - 1));
}

absl::Status CheckNotExpired(const SiteStore& store, absl::Time now) {
  const absl::StatusOr<InstalledCertificate> installed =
      ReadInstalledCertificate(store.tls_folder());
  // Another trouble with it shows where it is used.
  if (!installed.ok() || now < installed->certificate.not_after()) return absl::OkStatus();
  const absl::Time ended = installed->certificate.not_after();
  return Refusal(
      v1::CERTIFICATE_EXPIRED,
      absl::StrCat("this site's certificate has expired on ",
                   absl::FormatTime("%Y-%m-%d %H:%M UTC", ended, absl::UTCTimeZone()), ", ",
                   (now - ended) / absl::Hours(24),
                   " days ago: the agent was off for too long, or this machine's clock is wrong"));
}

CertificateRenewal::~CertificateRenewal() { Stop(); }

void CertificateRenewal::Start() {
  thread_ = std::thread([this] { Run(); });
}

void CertificateRenewal::Stop() {
  {
    absl::MutexLock lock(&mu_);
    stopping_ = true;
  }
  if (thread_.joinable()) thread_.join();
}

bool CertificateRenewal::WaitUnlessStopping(absl::Duration time) {
  absl::MutexLock lock(&mu_);
  return !mu_.AwaitWithTimeout(absl::Condition(&stopping_), time);
}

absl::StatusOr<absl::Time> CertificateRenewal::NextRenewal() const {
  CONSILIUM_ASSIGN_OR_RETURN(const InstalledCertificate installed,
                             ReadInstalledCertificate(store_->tls_folder()));
  return RenewalTime({installed.certificate.not_before(), installed.certificate.not_after()},
                     DrawJitter());
}

absl::Status CertificateRenewal::RenewNow() {
  CONSILIUM_ASSIGN_OR_RETURN(const InstalledCertificate installed,
                             ReadInstalledCertificate(store_->tls_folder()));
  CONSILIUM_ASSIGN_OR_RETURN(const PeerName own_name, installed.certificate.Name());
  CONSILIUM_ASSIGN_OR_RETURN(const TlsKey key, TlsKey::Generate());
  v1::RenewRequest request;
  CONSILIUM_ASSIGN_OR_RETURN(*request.mutable_csr_pem(), key.MakeRequestPem());
  CONSILIUM_ASSIGN_OR_RETURN(const v1::RenewResponse response, gate_->Renew(request));
  CONSILIUM_ASSIGN_OR_RETURN(const Certificate renewed,
                             Certificate::FromPem(response.certificate_chain_pem()));
  CONSILIUM_ASSIGN_OR_RETURN(const PeerName name, renewed.Name());
  if (!(name == own_name) || !renewed.Matches(key)) {
    return absl::FailedPreconditionError(
        "the renewed certificate is not for this site and its new key; the old one stays");
  }
  CONSILIUM_RETURN_IF_ERROR(
      InstallCertificate(store_->tls_folder(), key, response.certificate_chain_pem()));
  spdlog::info("the site's certificate is renewed; it is valid until {}",
               absl::FormatTime(renewed.not_after(), absl::UTCTimeZone()));
  return absl::OkStatus();
}

void CertificateRenewal::Run() {
  absl::Duration retry = kRetryMin;
  for (;;) {
    const absl::StatusOr<absl::Time> next = NextRenewal();
    absl::Duration wait = retry;
    if (next.ok()) wait = *next - absl::Now();
    if (!WaitUnlessStopping(std::max(wait, absl::ZeroDuration()))) return;
    const absl::Status renewed = next.ok() ? RenewNow() : next.status();
    if (renewed.ok()) {
      retry = kRetryMin;
      continue;
    }
    spdlog::warn("the site's certificate could not be renewed, trying again in {}: {}",
                 absl::FormatDuration(retry), std::string(renewed.message()));
    if (!WaitUnlessStopping(retry)) return;
    retry = std::min(retry * 2, kRetryMax);
  }
}

}  // namespace consilium::site
