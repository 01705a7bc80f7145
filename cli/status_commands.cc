#include <memory>
#include <string>

#include "absl/strings/escaping.h"
#include "absl/strings/str_format.h"
#include "cli/admin_client.h"
#include "cli/command.h"
#include "cli/output.h"
#include "protocol/core/status_macros.h"

namespace consilium {
namespace {

absl::Status Status(const CommandLine& line) {
  CONSILIUM_ASSIGN_OR_RETURN(AdminClient admin, AdminClient::Connect(line.data));
  CONSILIUM_ASSIGN_OR_RETURN(const v1::AggregatorStatus status,
                             admin.Call(&v1::Admin::Stub::GetStatus, v1::GetStatusRequest()));
  Print(line, status,
        absl::StrFormat("federation %s, consilium %s, up since %s\n"
                        "listening on %s (sites), %s (enrolment)\n"
                        "%d sites attached, %d live runs\n"
                        "journal: %d entries, head %s\n"
                        "signing key: %s\n",
                        status.federation(), status.software_version(),
                        TimeText(status.started_unix_s()), status.main_address(),
                        status.enrolment_address(), status.sites_attached(), status.runs_live(),
                        status.journal_entries(), absl::BytesToHexString(status.journal_head()),
                        absl::BytesToHexString(status.signing_key())));
  return absl::OkStatus();
}

absl::Status Verify(const CommandLine& line) {
  CONSILIUM_ASSIGN_OR_RETURN(AdminClient admin, AdminClient::Connect(line.data));
  CONSILIUM_ASSIGN_OR_RETURN(const v1::VerifyAuditResponse found,
                             admin.Call(&v1::Admin::Stub::VerifyAudit, v1::VerifyAuditRequest()));
  Print(line, found,
        found.intact() ? absl::StrFormat("intact: %d entries, head %s", found.entries(),
                                         absl::BytesToHexString(found.head()))
                       : absl::StrFormat("NOT INTACT from entry %d on: %s",
                                         found.first_bad_sequence(), found.finding()));
  return found.intact() ? absl::OkStatus() : absl::DataLossError("the audit chain is broken");
}

}  // namespace

void AddStatusCommands(CLI::App& app, CommandLine& line) {
  CLI::App* status = app.add_subcommand("status", "The aggregator in numbers.");
  status->footer("Example:\n  consilium status --data agg --json");
  status->callback([&line] { line.chosen = [&line] { return Status(line); }; });
  CLI::App* audit = app.add_subcommand("audit", "The journal's hash chain.");
  audit->require_subcommand(1);
  audit->footer("Example:\n  consilium audit verify --data agg");
  CLI::App* verify = audit->add_subcommand(
      "verify",
      "Check every entry of the aggregator's chain. At a site: consilium-agent audit "
      "verify.");
  verify->footer("Example:\n  consilium audit verify --data agg");
  verify->callback([&line] { line.chosen = [&line] { return Verify(line); }; });
}

}  // namespace consilium
