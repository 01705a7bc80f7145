// `consilium-agent run`: an agent, its control socket, and the signals that end it.

#include <signal.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <atomic>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <thread>
#include <utility>

#include "protocol/core/status_macros.h"
#include "protocol/rpc/credentials.h"
#include "site_agent/runtime/agent.h"
#include "site_agent/runtime/commands.h"
#include "site_agent/runtime/control_socket.h"
#include "site_agent/runtime/ending.h"
#include "site_agent/runtime/request_handler.h"

namespace consilium::site {
namespace {

// SIGTERM and SIGINT on a thread of their own; to be made before any other thread, which then
// inherits that they are blocked. A second signal ends the process at once: all that counts is
// durable.
class SignalThread {
 public:
  explicit SignalThread(std::function<void()> on_signal) {
    sigemptyset(&signals_);
    sigaddset(&signals_, SIGTERM);
    sigaddset(&signals_, SIGINT);
    pthread_sigmask(SIG_BLOCK, &signals_, nullptr);
    thread_ = std::thread([this, on_signal = std::move(on_signal)] {
      for (bool first = true;; first = false) {
        int signal = 0;
        sigwait(&signals_, &signal);
        if (over_) return;
        if (!first) _exit(1);
        on_signal();
      }
    });
  }
  ~SignalThread() {
    over_ = true;
    pthread_kill(thread_.native_handle(), SIGTERM);
    thread_.join();
  }
  SignalThread(const SignalThread&) = delete;
  SignalThread& operator=(const SignalThread&) = delete;

 private:
  sigset_t signals_;
  std::atomic<bool> over_{false};
  std::thread thread_;
};

}  // namespace

absl::Status RunAgent(const StorePlace& place, Trainer* trainer, const AgentOptions& options) {
  InitRpc();
  Ending ending;
  const SignalThread signals([&ending] { ending.End(absl::OkStatus()); });
  CONSILIUM_ASSIGN_OR_RETURN(const std::unique_ptr<SiteStore> store, OpenStore(place));
  CONSILIUM_ASSIGN_OR_RETURN(const std::unique_ptr<Agent> agent,
                             Agent::Start({store.get(), trainer, &ending}, options));
  CONSILIUM_ASSIGN_OR_RETURN(
      const std::unique_ptr<ControlServer> control,
      ControlServer::Start(store->folder(), [&](const nlohmann::json& request, int file,
                                                const ControlServer::Tell& tell) {
        return HandleRequest(*store, agent.get(), request, file, tell);
      }));
  spdlog::info("the agent runs on {}", store->folder());
  const absl::Status why = ending.Wait();
  spdlog::info("the agent stops");
  agent->Stop();
  return why;
}

}  // namespace consilium::site
