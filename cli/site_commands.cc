#include <google/protobuf/text_format.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "cli/admin_client.h"
#include "cli/command.h"
#include "cli/output.h"
#include "protocol/core/files.h"
#include "protocol/core/status_macros.h"

namespace consilium {
namespace {

absl::Status Add(const CommandLine& line, const std::string& site, const std::string& out) {
  CONSILIUM_ASSIGN_OR_RETURN(AdminClient admin, AdminClient::Connect(line.data));
  v1::AddSiteRequest request;
  request.set_site_id(site);
  CONSILIUM_ASSIGN_OR_RETURN(const v1::JoinFile join,
                             admin.Call(&v1::Admin::Stub::AddSite, request));
  std::string text;
  if (!google::protobuf::TextFormat::PrintToString(join, &text)) {
    return absl::InternalError("the join file can not be written as text");
  }
  const std::string path = out.empty() ? absl::StrCat(site, ".join") : out;
  CONSILIUM_RETURN_IF_ERROR(WriteFileDurably(path, text, 0600));
  Print(
      line,
      nlohmann::json{{"site_id", site}, {"file", path}, {"expires_unix_s", join.expires_unix_s()}},
      absl::StrFormat("%s: bring it to %s on a safe way. It can be used once, until %s:\n"
                      "  consilium-agent enrol --store STORE --join %s",
                      path, site, TimeText(join.expires_unix_s()), path));
  return absl::OkStatus();
}

absl::Status List(const CommandLine& line) {
  CONSILIUM_ASSIGN_OR_RETURN(AdminClient admin, AdminClient::Connect(line.data));
  CONSILIUM_ASSIGN_OR_RETURN(const v1::ListSitesResponse sites,
                             admin.Call(&v1::Admin::Stub::ListSites, v1::ListSitesRequest()));
  std::string text = absl::StrFormat("%-24s %-9s %-23s %-23s %s\n", "SITE", "STATE", "LAST SEEN",
                                     "CERTIFICATE ENDS", "SOFTWARE");
  for (const v1::SiteReport& site : sites.sites()) {
    absl::StrAppendFormat(&text, "%-24s %-9s %-23s %-23s %s\n", site.site_id(), site.state(),
                          TimeText(site.last_seen_unix_s()),
                          TimeText(site.certificate_ends_unix_s()), site.software_version());
  }
  Print(line, sites, text);
  return absl::OkStatus();
}

absl::Status Revoke(const CommandLine& line, const std::string& site) {
  CONSILIUM_ASSIGN_OR_RETURN(AdminClient admin, AdminClient::Connect(line.data));
  v1::RevokeSiteRequest request;
  request.set_site_id(site);
  CONSILIUM_ASSIGN_OR_RETURN(const v1::RevokeSiteResponse done,
                             admin.Call(&v1::Admin::Stub::RevokeSite, request));
  Print(line, done,
        absl::StrFormat("%s is revoked: every call of it is refused from now on", site));
  return absl::OkStatus();
}

}  // namespace

void AddSiteCommands(CLI::App& app, CommandLine& line) {
  CLI::App* site = app.add_subcommand("site", "Hospitals of the federation.");
  site->require_subcommand(1);
  auto id = std::make_shared<std::string>();
  auto out = std::make_shared<std::string>();
  CLI::App* add = site->add_subcommand("add", "Register a site and write its join file.");
  add->footer("Example:\n  consilium site add st-mary --out st-mary.join");
  add->add_option("SITE", *id, "Site id: a-z, 0-9 and '-'")->required();
  add->add_option("--out", *out, "Join file; default SITE.join");
  add->callback(
      [&line, id, out] { line.chosen = [&line, id, out] { return Add(line, *id, *out); }; });
  CLI::App* list = site->add_subcommand("list", "Sites and their state.");
  list->footer("Example:\n  consilium site list --json");
  list->callback([&line] { line.chosen = [&line] { return List(line); }; });
  CLI::App* revoke = site->add_subcommand("revoke", "Shut a site out, at once and for good.");
  revoke->footer("Example:\n  consilium site revoke st-mary");
  revoke->add_option("SITE", *id, "Site id")->required();
  revoke->callback([&line, id] { line.chosen = [&line, id] { return Revoke(line, *id); }; });
}

}  // namespace consilium
