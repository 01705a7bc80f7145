// Opens what lies sealed, for a test that looks for a patient in it: every value of every table,
// every journal entry as text, every blob.
//
//   open_stores store DATABASE KEK BLOBS OUT   a site's or an aggregator's store. BLOBS: the folder
//                                              of its blobs. Work on a copy: opening a store tidies
//                                              it up.
//   open_stores rows STORE KEK OUT             the rows of a site's data sets, unsealed
//   open_stores export EXPORT KEY OUT          what `consilium run export` wrote
//   open_stores loosen DATABASE KEK            lets a site's numbers over one patient out, which no
//                                              command does: for a leak that is planted on purpose
//
// OUT is a file of items, as message_recorder.cc writes them.

#include <sqlcipher/sqlite3.h>
#include <stdio.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "consilium/v1/journal.pb.h"
#include "consilium/v1/site_journal.pb.h"
#include "privacy/at_rest/blob_store.h"
#include "privacy/at_rest/database.h"
#include "privacy/at_rest/hex.h"
#include "privacy/at_rest/key_file.h"
#include "privacy/at_rest/key_ring.h"
#include "protocol/core/status_macros.h"
#include "protocol/wire/hash.h"
#include "protocol/wire/journal_export.h"
#include "site_agent/runtime/site_store.h"

namespace consilium {
namespace {

constexpr uint64_t kBlobBytesRead = uint64_t{64} << 20;

class Items {
 public:
  explicit Items(const std::string& path) : file_(path, std::ios::binary) {}

  void Add(absl::string_view name, absl::string_view content) {
    AppendNumber(name.size(), 4);
    file_ << name;
    AppendNumber(content.size(), 8);
    file_ << content;
  }

  absl::Status Close() {
    file_.close();
    return file_ ? absl::OkStatus() : absl::UnavailableError("the items can not be written");
  }

 private:
  void AppendNumber(uint64_t value, int bytes) {
    for (int i = 0; i < bytes; ++i) file_.put(static_cast<char>(value >> (8 * i)));
  }

  std::ofstream file_;
};

absl::string_view BytesOf(const double& number) {
  return absl::string_view(reinterpret_cast<const char*>(&number), sizeof(number));
}

absl::StatusOr<Kek> ReadKek(const std::string& path) {
  KekLocation location;
  location.file = path;
  return LoadKek(location);
}

// --- the database -------------------------------------------------------------------------------

struct CloseDatabase {
  void operator()(sqlite3* database) const { sqlite3_close_v2(database); }
};
struct FinishStatement {
  void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
};
using Connection = std::unique_ptr<sqlite3, CloseDatabase>;
using Query = std::unique_ptr<sqlite3_stmt, FinishStatement>;

absl::Status SqlError(sqlite3* database) { return absl::InternalError(sqlite3_errmsg(database)); }

// Without the product's Database, which opens a store for one kind of owner only.
absl::StatusOr<Connection> Connect(const std::string& path, const SecretBytes& key) {
  sqlite3* raw = nullptr;
  const int opened = sqlite3_open_v2(path.c_str(), &raw, SQLITE_OPEN_READWRITE, nullptr);
  Connection database(raw);
  if (opened != SQLITE_OK) return SqlError(raw);
  std::string hex(2 * key.size(), '\0');
  EncodeHex(key.span(), hex.data());
  const std::string literal = absl::StrCat("x'", hex, "'");
  const std::string pragmas =
      absl::StrCat("PRAGMA cipher_compatibility=3; PRAGMA cipher_page_size=", kDatabasePageBytes);
  if (sqlite3_key(raw, literal.data(), static_cast<int>(literal.size())) != SQLITE_OK ||
      sqlite3_exec(raw, pragmas.c_str(), nullptr, nullptr, nullptr) != SQLITE_OK) {
    return SqlError(raw);
  }
  return database;
}

absl::StatusOr<Query> Prepare(sqlite3* database, const std::string& sql) {
  sqlite3_stmt* statement = nullptr;
  if (sqlite3_prepare_v2(database, sql.c_str(), -1, &statement, nullptr) != SQLITE_OK) {
    return SqlError(database);
  }
  return Query(statement);
}

std::string ColumnBytes(sqlite3_stmt* row, int column) {
  const void* bytes = sqlite3_column_blob(row, column);
  const int size = sqlite3_column_bytes(row, column);
  return bytes == nullptr ? ""
                          : std::string(static_cast<const char*>(bytes), static_cast<size_t>(size));
}

// The entry in words, as a reader of an audit would print it.
absl::Status AddJournalText(const std::string& name, const std::string& payload, bool is_site,
                            Items& items) {
  v1::SiteJournalEntry site_entry;
  v1::JournalEntry entry;
  google::protobuf::Message& message =
      is_site ? static_cast<google::protobuf::Message&>(site_entry) : entry;
  if (!message.ParseFromString(payload)) {
    return absl::DataLossError(absl::StrCat(name, " is no journal entry"));
  }
  items.Add(absl::StrCat("journal text ", name), message.DebugString());
  return absl::OkStatus();
}

absl::Status DumpTable(sqlite3* database, const std::string& table, bool is_site, Items& items) {
  CONSILIUM_ASSIGN_OR_RETURN(const Query query,
                             Prepare(database, absl::StrCat("SELECT * FROM \"", table, "\"")));
  int code = sqlite3_step(query.get());
  for (int row = 0; code == SQLITE_ROW; ++row, code = sqlite3_step(query.get())) {
    for (int column = 0; column < sqlite3_column_count(query.get()); ++column) {
      const std::string column_name = sqlite3_column_name(query.get(), column);
      const std::string name = absl::StrCat(table, "[", row, "].", column_name);
      if (sqlite3_column_type(query.get(), column) == SQLITE_FLOAT) {
        const double number = sqlite3_column_double(query.get(), column);
        items.Add(absl::StrCat("database ", name), BytesOf(number));
      }
      const std::string content = ColumnBytes(query.get(), column);
      items.Add(absl::StrCat("database ", name), content);
      if (table == "journal" && column_name == "payload") {
        CONSILIUM_RETURN_IF_ERROR(AddJournalText(name, content, is_site, items));
      }
    }
  }
  return code == SQLITE_DONE ? absl::OkStatus() : SqlError(database);
}

absl::Status DumpDatabase(const std::string& path, const KeyRing& keys, Items& items) {
  CONSILIUM_ASSIGN_OR_RETURN(const SecretBytes key, keys.Get("database"));
  CONSILIUM_ASSIGN_OR_RETURN(const Connection database, Connect(path, key));
  std::vector<std::string> tables;
  {
    CONSILIUM_ASSIGN_OR_RETURN(
        const Query query,
        Prepare(database.get(), "SELECT name FROM sqlite_master WHERE type = 'table'"));
    int code = sqlite3_step(query.get());
    for (; code == SQLITE_ROW; code = sqlite3_step(query.get())) {
      tables.push_back(ColumnBytes(query.get(), 0));
    }
    if (code != SQLITE_DONE) return SqlError(database.get());
  }
  const bool is_site = std::filesystem::path(path).filename() == "site.db";
  for (const std::string& table : tables) {
    CONSILIUM_RETURN_IF_ERROR(DumpTable(database.get(), table, is_site, items));
  }
  return absl::OkStatus();
}

// --- blobs --------------------------------------------------------------------------------------

absl::Status DumpBlobs(SecretBytes key, const std::string& folder, Items& items) {
  CONSILIUM_ASSIGN_OR_RETURN(const std::unique_ptr<BlobStore> blobs,
                             BlobStore::Open(std::move(key), folder));
  CONSILIUM_ASSIGN_OR_RETURN(const std::vector<Digest> names, blobs->List());
  for (const Digest& name : names) {
    CONSILIUM_ASSIGN_OR_RETURN(SealedBlobReader reader, blobs->Read(name));
    CONSILIUM_ASSIGN_OR_RETURN(const std::vector<uint8_t> content, reader.ReadAll(kBlobBytesRead));
    items.Add(absl::StrCat("blob ", ToHex(name)),
              absl::string_view(reinterpret_cast<const char*>(content.data()), content.size()));
  }
  return absl::OkStatus();
}

absl::Status DumpStore(const std::string& database, const std::string& kek_file,
                       const std::string& blobs, Items& items) {
  CONSILIUM_ASSIGN_OR_RETURN(const Kek kek, ReadKek(kek_file));
  CONSILIUM_ASSIGN_OR_RETURN(const KeyRing keys, KeyRing::Open(kek, database + ".keys"));
  CONSILIUM_RETURN_IF_ERROR(DumpDatabase(database, keys, items));
  for (const std::string& name : keys.Names()) {
    const bool is_run = absl::string_view(name).substr(0, 4) == "run/";
    if (!is_run && name != kBlobsKey) continue;
    const std::string folder = is_run ? absl::StrCat(blobs, "/", name.substr(4)) : blobs;
    if (!std::filesystem::is_directory(folder)) continue;
    CONSILIUM_ASSIGN_OR_RETURN(SecretBytes key, keys.Get(name));
    CONSILIUM_RETURN_IF_ERROR(DumpBlobs(std::move(key), folder, items));
  }
  return absl::OkStatus();
}

// --- rows and exports ---------------------------------------------------------------------------

absl::Status DumpRows(const std::string& folder, const std::string& kek_file, Items& items) {
  CONSILIUM_ASSIGN_OR_RETURN(const Kek kek, ReadKek(kek_file));
  CONSILIUM_ASSIGN_OR_RETURN(const auto store, site::SiteStore::Open(kek, folder));
  CONSILIUM_ASSIGN_OR_RETURN(const std::vector<site::DatasetInfo> datasets, store->Datasets());
  for (const site::DatasetInfo& dataset : datasets) {
    CONSILIUM_ASSIGN_OR_RETURN(const std::vector<RawRow> rows, store->ReadRows(dataset));
    for (const RawRow& row : rows) {
      std::string content = row.patient_id;
      for (const double& value : row.values) absl::StrAppend(&content, BytesOf(value));
      items.Add(absl::StrCat("row of ", dataset.name), content);
    }
  }
  return absl::OkStatus();
}

absl::Status DumpExport(const std::string& path, const std::string& key_file, Items& items) {
  CONSILIUM_ASSIGN_OR_RETURN(const RecipientKey key, ReadRecipientKey(key_file));
  CONSILIUM_ASSIGN_OR_RETURN(const JournalExport content, ReadJournalExport(path, key, {}));
  items.Add("export header", content.header.SerializeAsString());
  items.Add("export header text", content.header.DebugString());
  for (const v1::JournalEntry& entry : content.entries) {
    items.Add(absl::StrCat("export entry ", entry.sequence()), entry.SerializeAsString());
    items.Add(absl::StrCat("export entry text ", entry.sequence()), entry.DebugString());
  }
  for (const auto& [update, payload] : content.updates) {
    items.Add(absl::StrCat("export update ", ToHex(update)), payload);
  }
  return absl::OkStatus();
}

absl::Status Loosen(const std::string& path, const std::string& kek_file) {
  CONSILIUM_ASSIGN_OR_RETURN(const Kek kek, ReadKek(kek_file));
  CONSILIUM_ASSIGN_OR_RETURN(const KeyRing keys, KeyRing::Open(kek, path + ".keys"));
  CONSILIUM_ASSIGN_OR_RETURN(const SecretBytes key, keys.Get("database"));
  CONSILIUM_ASSIGN_OR_RETURN(const Connection database, Connect(path, key));
  const char* const sql =
      "INSERT OR REPLACE INTO setting VALUES ('minimum_count', CAST('1' AS BLOB))";
  return sqlite3_exec(database.get(), sql, nullptr, nullptr, nullptr) == SQLITE_OK
             ? absl::OkStatus()
             : SqlError(database.get());
}

absl::Status Dump(const std::vector<std::string>& arguments) {
  const std::string mode = arguments.empty() ? "" : arguments[0];
  if (mode == "loosen" && arguments.size() == 3) return Loosen(arguments[1], arguments[2]);
  const size_t expected = mode == "store" ? 5 : mode == "rows" || mode == "export" ? 4 : 0;
  if (expected == 0 || arguments.size() != expected) {
    return absl::InvalidArgumentError("wrong arguments; the head of the source has the usage");
  }
  Items items(arguments.back());
  if (mode == "store") {
    CONSILIUM_RETURN_IF_ERROR(DumpStore(arguments[1], arguments[2], arguments[3], items));
  } else if (mode == "rows") {
    CONSILIUM_RETURN_IF_ERROR(DumpRows(arguments[1], arguments[2], items));
  } else {
    CONSILIUM_RETURN_IF_ERROR(DumpExport(arguments[1], arguments[2], items));
  }
  return items.Close();
}

}  // namespace
}  // namespace consilium

int main(int argc, char** argv) {
  const absl::Status status = consilium::Dump({argv + 1, argv + argc});
  if (status.ok()) return 0;
  fprintf(stderr, "open_stores: %s\n", std::string(status.message()).c_str());
  return 1;
}
