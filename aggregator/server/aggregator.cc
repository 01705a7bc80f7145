#include "aggregator/server/aggregator.h"

#include <grpcpp/resource_quota.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <system_error>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "aggregator/server/admin_service.h"
#include "aggregator/server/engine_loop.h"
#include "aggregator/server/enrolment_service.h"
#include "aggregator/server/journal_head.h"
#include "aggregator/server/receipts.h"
#include "aggregator/server/server_identity.h"
#include "aggregator/server/site_sessions.h"
#include "aggregator/server/sqlcipher_store.h"
#include "aggregator/server/transfers.h"
#include "privacy/at_rest/key_file.h"
#include "protocol/core/descriptors.h"
#include "protocol/core/executor.h"
#include "protocol/core/files.h"
#include "protocol/core/status_macros.h"
#include "protocol/rpc/channels.h"
#include "protocol/rpc/coordination_service.h"
#include "protocol/rpc/credentials.h"
#include "protocol/rpc/transfer_service.h"

namespace consilium {
namespace {

constexpr char kAddressesValue[] = "addresses";
constexpr absl::Duration kCertificateCheckInterval = absl::Hours(1);
constexpr absl::Duration kDescriptorCheckInterval = absl::Seconds(1);
constexpr int kDescriptorReserve = 64;
constexpr absl::Duration kShutdownGrace = absl::Seconds(2);
constexpr int kWorkThreads = 4;
constexpr size_t kWorkQueueMax = 4096;
// Of the admin socket: a long run's report is large, and its reader is the operator.
constexpr int kAdminMessageBytesMax = 256 << 20;
// Of the enrolment listener.
constexpr size_t kEnrolmentBytesMax = 64 << 20;
constexpr int kEnrolmentThreadsMax = 32;
constexpr int kEnrolmentMessageBytesMax = 64 << 10;
constexpr absl::Duration kEnrolmentIdleMax = absl::Seconds(10);
constexpr absl::Duration kEnrolmentAgeMax = absl::Minutes(1);

// What `init` was told, kept in the store as JSON.
struct Addresses {
  HostPort main;
  HostPort enrolment;
  HostPort main_listen;
  HostPort enrolment_listen;
};

absl::StatusOr<Addresses> ParseAddresses(const Aggregator::InitOptions& options) {
  Addresses addresses;
  CONSILIUM_ASSIGN_OR_RETURN(addresses.main, ParseHostPort(options.address));
  CONSILIUM_ASSIGN_OR_RETURN(addresses.enrolment, ParseHostPort(options.enrolment_address));
  CONSILIUM_ASSIGN_OR_RETURN(
      addresses.main_listen,
      ParseHostPort(options.listen.empty() ? options.address : options.listen));
  CONSILIUM_ASSIGN_OR_RETURN(
      addresses.enrolment_listen,
      ParseHostPort(options.enrolment_listen.empty() ? options.enrolment_address
                                                     : options.enrolment_listen));
  return addresses;
}

std::string ToJson(const Aggregator::InitOptions& options) {
  return nlohmann::json{{"address", options.address},
                        {"enrolment_address", options.enrolment_address},
                        {"listen", options.listen},
                        {"enrolment_listen", options.enrolment_listen}}
      .dump();
}

absl::StatusOr<Addresses> ReadAddresses(Store& store) {
  CONSILIUM_ASSIGN_OR_RETURN(const std::optional<std::string> value, store.Value(kAddressesValue));
  if (!value.has_value()) {
    return absl::DataLossError(
        "the store has no addresses: consilium-aggregator init was not run to its end; run it "
        "again");
  }
  const nlohmann::json json = nlohmann::json::parse(*value, nullptr, false);
  if (json.is_discarded() || !json.is_object()) {
    return absl::DataLossError("the addresses in the store can not be read");
  }
  Aggregator::InitOptions options;
  options.address = json.value("address", "");
  options.enrolment_address = json.value("enrolment_address", "");
  options.listen = json.value("listen", "");
  options.enrolment_listen = json.value("enrolment_listen", "");
  return ParseAddresses(options);
}

KekLocation KekOf(const std::string& data, const std::string& key_file) {
  KekLocation location;
  location.file = key_file.empty() ? Aggregator::DefaultKeyFile(data) : key_file;
  if (const char* folder = getenv("CREDENTIALS_DIRECTORY"); folder != nullptr) {
    location.credentials_folder = folder;
  }
  // "data/" is "data".
  location.store_folder = std::string(absl::StripSuffix(data, "/"));
  return location;
}

// gRPC does not say what of it was wrong.
std::string ListenHint(absl::string_view option, const HostPort& address) {
  return absl::StrCat("no address of this machine has that name, or the port is taken; serve ",
                      option, " 0.0.0.0:", address.port, " listens on all");
}

// A listener in the making, and the port that it got.
struct Listener {
  grpc::ServerBuilder builder;
  int port = 0;

  // `hint` follows the words "can not listen on `address`: ".
  absl::StatusOr<std::unique_ptr<grpc::Server>> Start(const std::string& address,
                                                      absl::string_view hint) {
    std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
    if (server == nullptr || port == 0) {
      return absl::UnavailableError(absl::StrCat("can not listen on ", address, ": ", hint));
    }
    return server;
  }
};

// Anyone may connect there: what all of them together may take, far below what the main listener
// has. A site's enrolment takes a second, on a connection of its own.
void ApplyEnrolmentLimits(grpc::ServerBuilder& builder) {
  grpc::ResourceQuota quota("consilium-enrolment");
  quota.Resize(kEnrolmentBytesMax);
  quota.SetMaxThreads(kEnrolmentThreadsMax);
  builder.SetResourceQuota(quota);
  builder.SetMaxReceiveMessageSize(kEnrolmentMessageBytesMax);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, 1);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_IDLE_MS,
                             static_cast<int>(absl::ToInt64Milliseconds(kEnrolmentIdleMax)));
  builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_AGE_MS,
                             static_cast<int>(absl::ToInt64Milliseconds(kEnrolmentAgeMax)));
}

// The store of an `init` that did not come to its end: its addresses, which are kept last, are
// missing. ALREADY_EXISTS where it did.
absl::StatusOr<std::unique_ptr<SqlcipherStore>> OpenUnfinished(
    const Aggregator::InitOptions& options, const KekLocation& location) {
  CONSILIUM_ASSIGN_OR_RETURN(const Kek kek, LoadKek(location));
  CONSILIUM_ASSIGN_OR_RETURN(std::unique_ptr<SqlcipherStore> store,
                             SqlcipherStore::Open(kek, options.data + "/store"));
  CONSILIUM_ASSIGN_OR_RETURN(const std::optional<std::string> addresses,
                             store->Value(kAddressesValue));
  if (!addresses.has_value()) return store;
  return absl::AlreadyExistsError(
      absl::StrCat("there is an aggregator in ", options.data,
                   " already: consilium-aggregator serve starts it; a new one needs a new folder"));
}

absl::StatusOr<std::unique_ptr<SqlcipherStore>> MakeStore(const Aggregator::InitOptions& options,
                                                          const KekLocation& location) {
  const std::string folder = options.data + "/store";
  std::error_code error;
  const bool tried_before = std::filesystem::exists(folder, error);
  CONSILIUM_RETURN_IF_ERROR(MakeFolders(options.data, 0700));
  CONSILIUM_RETURN_IF_ERROR(MakeFolders(folder, 0700));
  absl::StatusOr<Kek> kek = CreateKek(location);
  // A key that was named is taken only where a try before may have made it: it could be another
  // store's.
  if (absl::IsAlreadyExists(kek.status()) && (options.key_file.empty() || tried_before)) {
    kek = LoadKek(location);
  }
  CONSILIUM_RETURN_IF_ERROR(kek.status());
  return SqlcipherStore::Create(*kek, folder);
}

void Shutdown(std::unique_ptr<grpc::Server>& server) {
  if (server == nullptr) return;
  server->Shutdown(absl::ToChronoTime(absl::Now() + kShutdownGrace));
  server->Wait();
}

}  // namespace

std::string Aggregator::DefaultKeyFile(const std::string& data) {
  std::error_code error;
  std::filesystem::path folder = std::filesystem::absolute(data, error).lexically_normal();
  // Where the system does not say which folder it is in, the path as it was given.
  if (error) folder = data;
  // "data/" is "data".
  if (!folder.has_filename()) folder = folder.parent_path();
  return folder.string() + "-key/aggregator.kek";
}

absl::Status Aggregator::Init(const InitOptions& options) {
  // All that can be wrong with what was asked for, before anything is made.
  CONSILIUM_RETURN_IF_ERROR(ParseAddresses(options).status());
  CONSILIUM_RETURN_IF_ERROR(CheckFederationName(options.federation));
  CONSILIUM_ASSIGN_OR_RETURN(const ServerIdentity::Authority authority,
                             ServerIdentity::ReadAuthority(options.pki, options.federation));
  const KekLocation location = KekOf(options.data, options.key_file);
  if (const absl::Status key = LoadKek(location).status(); !key.ok() && !absl::IsNotFound(key)) {
    return key;
  }
  CONSILIUM_ASSIGN_OR_RETURN(const std::unique_ptr<SqlcipherStore> store,
                             SqlcipherStore::Exists(options.data + "/store")
                                 ? OpenUnfinished(options, location)
                                 : MakeStore(options, location));
  CONSILIUM_RETURN_IF_ERROR(ServerIdentity::Install(*store, authority));
  CONSILIUM_RETURN_IF_ERROR(store->PutValue(kAddressesValue, ToJson(options)));
  spdlog::info("{}", DescribeProtection(location));
  return absl::OkStatus();
}

class Aggregator::Impl {
 public:
  explicit Impl(ServeOptions options)
      : options_(std::move(options)),
        work_(std::make_unique<Executor>(kWorkThreads, kWorkQueueMax)) {}

  ~Impl() {
    if (admin_ != nullptr) admin_->Stop();
    for (const std::shared_ptr<SiteLink>& link : links_.All()) {
      link->End(absl::UnavailableError("the aggregator is stopping"));
    }
    Shutdown(enrolment_server_);
    Shutdown(main_server_);
    Shutdown(admin_server_);
    stopped_.Notify();
    if (certificates_.joinable()) certificates_.join();
    if (descriptors_.joinable()) descriptors_.join();
    // Calls post to the engine and the engine answers calls, each through `work_`: it goes last.
    if (engine_ != nullptr) engine_->Stop();
    notes_.reset();
    work_.reset();
    engine_.reset();
    if (store_ != nullptr && identity_ != nullptr) {
      const absl::Status kept = KeepHead(*store_, identity_->signing_key());
      if (!kept.ok()) spdlog::error("the journal's head was not signed: {}", kept.ToString());
    }
  }

  absl::Status Start() {
    if (!std::filesystem::exists(options_.data + "/store")) {
      return absl::NotFoundError(absl::StrCat("there is no aggregator's data in ", options_.data,
                                              ": consilium-aggregator init --data makes it"));
    }
    CONSILIUM_ASSIGN_OR_RETURN(const Kek kek, LoadKek(KekOf(options_.data, options_.key_file)));
    CONSILIUM_ASSIGN_OR_RETURN(store_, SqlcipherStore::Open(kek, options_.data + "/store"));
    CONSILIUM_ASSIGN_OR_RETURN(addresses_, ReadAddresses(*store_));
    if (!options_.listen.empty()) {
      CONSILIUM_ASSIGN_OR_RETURN(addresses_.main_listen, ParseHostPort(options_.listen));
    }
    if (!options_.enrolment_listen.empty()) {
      CONSILIUM_ASSIGN_OR_RETURN(addresses_.enrolment_listen,
                                 ParseHostPort(options_.enrolment_listen));
    }
    CONSILIUM_RETURN_IF_ERROR(LoadIdentity());
    CONSILIUM_RETURN_IF_ERROR(StartEngine());
    CONSILIUM_RETURN_IF_ERROR(StartMainListener());
    CONSILIUM_RETURN_IF_ERROR(StartEnrolmentListener());
    CONSILIUM_RETURN_IF_ERROR(StartAdminSocket());
    CONSILIUM_RETURN_IF_ERROR(WriteFileDurably(
        options_.data + "/addresses.json",
        nlohmann::json{{"main", main_address_}, {"enrolment", enrolment_address_}}.dump() + "\n",
        0644));
    certificates_ = std::jthread([this] { WatchCertificate(); });
    descriptors_ = std::jthread([this] { WatchDescriptors(); });
    spdlog::info("federation {}: sites reach {}, enrolment {}", identity_->federation(),
                 main_address_, enrolment_address_);
    return absl::OkStatus();
  }

  const std::string& main_address() const { return main_address_; }
  const std::string& enrolment_address() const { return enrolment_address_; }

 private:
  absl::Status LoadIdentity() {
    ServerIdentity::Servers servers;
    servers.certificate_folder = options_.data + "/tls";
    AddName(addresses_.main.host, servers.names);
    AddName(addresses_.enrolment.host, servers.names);
    CONSILIUM_ASSIGN_OR_RETURN(identity_, ServerIdentity::Load(*store_, std::move(servers)));
    return identity_->RefreshServerCertificate(clock_.Now());
  }

  absl::Status StartEngine() {
    CONSILIUM_ASSIGN_OR_RETURN(directory_, SiteDirectory::Load(*store_));
    CONSILIUM_ASSIGN_OR_RETURN(
        SigningKey key, SigningKey::FromPrivateBytes(identity_->signing_key().private_bytes()));
    receipts_ = std::make_unique<ReceiptSigner>(std::move(key));
    vectors_ = std::make_unique<RunVectors>(*store_, options_.cache_bytes_max);
    CONSILIUM_ASSIGN_OR_RETURN(engine_,
                               EngineLoop::Start({.store = *store_,
                                                  .clock = clock_,
                                                  .receipts = *receipts_,
                                                  .links = links_,
                                                  .runs = runs_,
                                                  .vectors = *vectors_,
                                                  .staged = staged_,
                                                  .compute_threads = options_.compute_threads,
                                                  .gate = std::move(options_.gate)}));
    return absl::OkStatus();
  }

  absl::Status StartMainListener() {
    CONSILIUM_ASSIGN_OR_RETURN(TrustAnchors anchors, TrustAnchors::FromPem(identity_->root_pem()));
    ClientCheck check{std::move(anchors), {PeerKind::kSite}, nullptr};
    check.admit = [this](const PeerIdentity& peer) { return directory_->Admit(peer); };
    CONSILIUM_ASSIGN_OR_RETURN(
        const std::shared_ptr<grpc::ServerCredentials> credentials,
        MutualTlsServerCredentials({.certificate_folder = identity_->certificate_folder()},
                                   std::move(check)));
    transfer_ = std::make_unique<TransferService>(MakeTransferHandlers({.engine = *engine_,
                                                                        .runs = runs_,
                                                                        .vectors = *vectors_,
                                                                        .staged = staged_,
                                                                        .directory = *directory_,
                                                                        .budget = budget_}),
                                                  work_.get());
    notes_ = std::make_unique<SiteNotes>(*directory_, clock_);
    sessions_ = std::make_unique<SiteSessions>(SiteSession::Parts{.engine = *engine_,
                                                                  .links = links_,
                                                                  .directory = *directory_,
                                                                  .runs = runs_,
                                                                  .budget = budget_,
                                                                  .claims = claims_,
                                                                  .notes = *notes_,
                                                                  .clock = clock_});
    coordination_ = std::make_unique<CoordinationService>(sessions_.get());
    const EnrolmentParts enrolment{
        .engine = *engine_, .directory = *directory_, .identity = *identity_, .clock = clock_};
    renewal_ = std::make_unique<RenewalService>(enrolment);
    enrolment_ = std::make_unique<EnrolmentService>(enrolment);
    Listener listener;
    ApplyServerLimits(listener.builder);
    const std::string address = ToText(addresses_.main_listen);
    listener.builder.AddListeningPort(address, credentials, &listener.port);
    listener.builder.RegisterService(transfer_.get());
    listener.builder.RegisterService(coordination_.get());
    listener.builder.RegisterService(renewal_.get());
    CONSILIUM_ASSIGN_OR_RETURN(
        main_server_, listener.Start(address, ListenHint("--listen", addresses_.main_listen)));
    main_address_ = AddressFor(addresses_.main, listener.port);
    return absl::OkStatus();
  }

  absl::Status StartEnrolmentListener() {
    CONSILIUM_ASSIGN_OR_RETURN(
        const std::shared_ptr<grpc::ServerCredentials> credentials,
        EnrolmentServerCredentials({.certificate_folder = identity_->certificate_folder()}));
    Listener listener;
    ApplyServerLimits(listener.builder);
    ApplyEnrolmentLimits(listener.builder);
    const std::string address = ToText(addresses_.enrolment_listen);
    listener.builder.AddListeningPort(address, credentials, &listener.port);
    listener.builder.RegisterService(enrolment_.get());
    CONSILIUM_ASSIGN_OR_RETURN(
        enrolment_server_,
        listener.Start(address, ListenHint("--enrolment-listen", addresses_.enrolment_listen)));
    enrolment_address_ = AddressFor(addresses_.enrolment, listener.port);
    return absl::OkStatus();
  }

  absl::Status StartAdminSocket() {
    AdminService::Parts parts{.engine = *engine_,
                              .store = *store_,
                              .directory = *directory_,
                              .identity = *identity_,
                              .runs = runs_,
                              .vectors = *vectors_,
                              .clock = clock_,
                              .main_address = main_address_,
                              .enrolment_address = enrolment_address_,
                              .software_version = options_.software_version,
                              .disconnect = nullptr};
    parts.disconnect = [this](const SiteId& site, const absl::Status& why) {
      transfer_->Disconnect(site, why);
      coordination_->Disconnect(site, why);
    };
    admin_ = std::make_unique<AdminService>(std::move(parts));
    const std::string path = std::filesystem::absolute(options_.data + "/admin.sock").string();
    unlink(path.c_str());
    Listener listener;
    listener.builder.SetMaxSendMessageSize(kAdminMessageBytesMax);
    listener.builder.AddListeningPort("unix:" + path, grpc::InsecureServerCredentials(),
                                      &listener.port);
    listener.builder.RegisterService(admin_.get());
    // The folder's mode keeps others out in the moment before the socket's own does.
    CONSILIUM_ASSIGN_OR_RETURN(admin_server_, listener.Start(path, "may this user write there?"));
    if (chmod(path.c_str(), 0600) != 0) return SystemError("can not set the mode of", path);
    return absl::OkStatus();
  }

  static std::string AddressFor(HostPort reached, int port) {
    if (reached.port == 0) reached.port = port;
    return ToText(reached);
  }

  void WatchCertificate() {
    while (!stopped_.WaitForNotificationWithTimeout(kCertificateCheckInterval)) {
      const absl::Status status = identity_->RefreshServerCertificate(clock_.Now());
      if (!status.ok()) {
        spdlog::error("the servers' certificate could not be renewed: {}", status.ToString());
      }
    }
  }

  // gRPC (before 1.53.2, CVE-2023-4785) gives a listener up for good when the system refuses it a
  // descriptor: a process that was without any can not be relied on to hear anyone again.
  void WatchDescriptors() {
    while (!stopped_.WaitForNotificationWithTimeout(kDescriptorCheckInterval)) {
      const absl::Status left = CheckDescriptorsLeft(kDescriptorReserve);
      if (left.ok()) continue;
      spdlog::critical(
          "too many connections: {}; the listeners may be deaf from now on, so the aggregator ends "
          "and has to be started anew; limit connections by address in front of both ports",
          std::string(left.message()));
      if (options_.on_failure != nullptr) options_.on_failure(left);
      return;
    }
  }

  ServeOptions options_;
  SystemClock clock_;
  std::unique_ptr<SqlcipherStore> store_;
  Addresses addresses_;
  std::unique_ptr<ServerIdentity> identity_;
  std::unique_ptr<SiteDirectory> directory_;
  std::unique_ptr<ReceiptSigner> receipts_;
  LinkTable links_;
  RunIndex runs_;
  StagedBlobs staged_;
  InputBudget budget_;
  EvaluationClaims claims_;
  std::unique_ptr<RunVectors> vectors_;
  std::unique_ptr<EngineLoop> engine_;
  std::unique_ptr<Executor> work_;
  std::unique_ptr<SiteNotes> notes_;
  std::unique_ptr<TransferService> transfer_;
  std::unique_ptr<SiteSessions> sessions_;
  std::unique_ptr<CoordinationService> coordination_;
  std::unique_ptr<RenewalService> renewal_;
  std::unique_ptr<EnrolmentService> enrolment_;
  std::unique_ptr<AdminService> admin_;
  std::unique_ptr<grpc::Server> main_server_;
  std::unique_ptr<grpc::Server> enrolment_server_;
  std::unique_ptr<grpc::Server> admin_server_;
  std::string main_address_;
  std::string enrolment_address_;
  absl::Notification stopped_;
  std::jthread certificates_;
  std::jthread descriptors_;
};

Aggregator::Aggregator(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Aggregator::~Aggregator() = default;

absl::StatusOr<std::unique_ptr<Aggregator>> Aggregator::Start(ServeOptions options) {
  InitRpc();
  auto impl = std::make_unique<Impl>(std::move(options));
  CONSILIUM_RETURN_IF_ERROR(impl->Start());
  return std::unique_ptr<Aggregator>(new Aggregator(std::move(impl)));
}

const std::string& Aggregator::main_address() const { return impl_->main_address(); }
const std::string& Aggregator::enrolment_address() const { return impl_->enrolment_address(); }

}  // namespace consilium
