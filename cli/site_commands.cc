#include <google/protobuf/text_format.h>
#include <sys/stat.h>

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

std::string OrDash(const std::string& text) { return text.empty() ? "-" : text; }

struct AddOptions {
  std::string site;
  std::string out;
  bool again = false;
};

absl::Status Add(const CommandLine& line, const AddOptions& options) {
  const std::string& site = options.site;
  const std::string path = options.out.empty() ? absl::StrCat(site, ".join") : options.out;
  // Before anything is asked: the aggregator would end the join file that lies there.
  if (struct stat info; lstat(path.c_str(), &info) == 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, " exists: choose another name or remove it"));
  }
  CONSILIUM_ASSIGN_OR_RETURN(AdminClient admin, AdminClient::Connect(line.data));
  v1::AddSiteRequest request;
  request.set_site_id(site);
  request.set_again(options.again);
  CONSILIUM_ASSIGN_OR_RETURN(const v1::AddSiteResponse added,
                             admin.Call(&v1::Admin::Stub::AddSite, request));
  const v1::JoinFile& join = added.join_file();
  std::string text;
  if (!google::protobuf::TextFormat::PrintToString(join, &text)) {
    return absl::InternalError("the join file can not be written as text");
  }
  CONSILIUM_RETURN_IF_ERROR(WriteFileDurably(path, text, 0600));
  Print(line,
        nlohmann::json{{"site_id", site},
                       {"file", path},
                       {"expires_unix_s", join.expires_unix_s()},
                       {"earlier_join_file_ended", added.earlier_join_file_ended()}},
        absl::StrFormat("%s: bring it to %s on a safe way. It can be used once, until %s:\n"
                        "  consilium-agent enrol --store STORE --join %s\n%s",
                        path, site, TimeText(join.expires_unix_s()), path,
                        added.earlier_join_file_ended()
                            ? "the join file given out before no longer works\n"
                            : ""));
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

absl::Status Show(const CommandLine& line, const std::string& id) {
  CONSILIUM_ASSIGN_OR_RETURN(AdminClient admin, AdminClient::Connect(line.data));
  CONSILIUM_ASSIGN_OR_RETURN(const v1::ListSitesResponse sites,
                             admin.Call(&v1::Admin::Stub::ListSites, v1::ListSitesRequest()));
  for (const v1::SiteReport& site : sites.sites()) {
    if (site.site_id() != id) continue;
    // The last two are worded and ordered as at the site, where they are compared.
    Print(
        line, site,
        absl::StrFormat("%s: %s\n"
                        "  software          %s\n"
                        "  last seen         %s\n"
                        "  certificate ends  %s\n"
                        "  certificate  %s\n"
                        "  signing key  %s\n",
                        site.site_id(), site.state(), OrDash(site.software_version()),
                        TimeText(site.last_seen_unix_s()), TimeText(site.certificate_ends_unix_s()),
                        OrDash(site.certificate_sha256()), OrDash(site.signing_key_sha256())));
    return absl::OkStatus();
  }
  return absl::NotFoundError(
      absl::StrCat("there is no site \"", id, "\"; `consilium site list` names them"));
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
  site->footer(
      "Examples:\n  consilium site add st-mary --data agg --out st-mary.join\n"
      "  consilium site list --data agg");
  auto id = std::make_shared<std::string>();
  auto options = std::make_shared<AddOptions>();
  CLI::App* add = site->add_subcommand("add", "Register a site and write its join file.");
  add->footer(
      "Examples:\n  consilium site add st-mary --data agg --out st-mary.join\n"
      "  consilium site add st-mary --data agg --again --out st-mary-2.join");
  add->add_option("SITE", options->site, "Site id: a-z, 0-9 and '-'")->required();
  add->add_option("--out", options->out, "Join file to make; default SITE.join");
  add->add_flag("--again", options->again,
                "For a site whose certificate ended while it was away: it keeps its store; the "
                "certificates that it has are revoked");
  add->callback(
      [&line, options] { line.chosen = [&line, options] { return Add(line, *options); }; });
  CLI::App* list = site->add_subcommand("list", "Sites and their state.");
  list->footer("Example:\n  consilium site list --data agg --json");
  list->callback([&line] { line.chosen = [&line] { return List(line); }; });
  CLI::App* show = site->add_subcommand(
      "show", "One site, with the fingerprints that `consilium-agent enrol` printed.");
  show->footer("Example:\n  consilium site show st-mary --data agg");
  show->add_option("SITE", *id, "Site id")->required();
  show->callback([&line, id] { line.chosen = [&line, id] { return Show(line, *id); }; });
  CLI::App* revoke = site->add_subcommand("revoke", "Shut a site out, at once and for good.");
  revoke->footer("Example:\n  consilium site revoke st-mary --data agg");
  revoke->add_option("SITE", *id, "Site id")->required();
  revoke->callback([&line, id] { line.chosen = [&line, id] { return Revoke(line, *id); }; });
}

}  // namespace consilium
