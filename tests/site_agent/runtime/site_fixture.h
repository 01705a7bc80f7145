// A site's store in a folder of its own, with a small table of patients, and helpers around it.

#ifndef CONSILIUM_TESTS_SITE_AGENT_RUNTIME_SITE_FIXTURE_H_
#define CONSILIUM_TESTS_SITE_AGENT_RUNTIME_SITE_FIXTURE_H_

#include <gtest/gtest.h>

#include <memory>
#include <sstream>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "privacy/at_rest/aead.h"
#include "privacy/at_rest/key_wrap.h"
#include "protocol/wire/text_format.h"
#include "site_agent/ingest/csv_import.h"
#include "site_agent/runtime/site_store.h"
#include "tests/fakes/status_matchers.h"
#include "tests/fakes/temp_folder.h"

namespace consilium::site {

inline v1::DataContract SmallContract() {
  v1::DataContract contract;
  const absl::Status parsed = ParseTextFormat(
      R"pb(name: "small"
           columns {
             name: "x"
             number { min: 0 max: 1000 }
           }
           label {
             column: "y"
             binary { positive: "1" negative: "0" }
           }
           patient_id_column: "id")pb",
      "small contract", contract);
  EXPECT_TRUE(parsed.ok()) << parsed;
  return contract;
}

// `count` patients p0, p1 ...; x counts up from `first`, y alternates.
inline std::string SmallCsv(int count, double first = 0) {
  std::string csv = "id,x,y\n";
  for (int i = 0; i < count; ++i) absl::StrAppend(&csv, "p", i, ",", first + i, ",", i % 2, "\n");
  return csv;
}

class SiteFixture : public ::testing::Test {
 protected:
  std::unique_ptr<SiteStore> Create() { return Value(SiteStore::Create(kek_, StoreFolder())); }
  std::unique_ptr<SiteStore> Open() { return Value(SiteStore::Open(kek_, StoreFolder())); }
  std::string StoreFolder() const { return folder_.File("store"); }

  static std::unique_ptr<SiteStore> Value(absl::StatusOr<std::unique_ptr<SiteStore>> store) {
    EXPECT_THAT(store, IsOk());
    return store.ok() ? *std::move(store) : nullptr;
  }

  static absl::StatusOr<ImportReport> Import(SiteStore& store, const std::string& csv,
                                             const std::string& name = "small") {
    return store.ReplaceDataset(name, SmallContract(), [&](const RowSink& sink) {
      return ImportCsv(std::make_unique<std::istringstream>(csv), SmallContract(), sink);
    });
  }

  static Enrolment SomeEnrolment(const std::string& site = "cleveland") {
    SiteIdentity identity;
    identity.site = SiteId(site);
    identity.federation = "test";
    identity.root_certificate_pem = "pem";
    identity.enrolment_address = "127.0.0.1:1";
    identity.aggregator_address = "127.0.0.1:2";
    identity.aggregator_key[0] = 7;
    return {identity, *SigningKey::Generate(), *RandomKey()};
  }

  TempFolder folder_;
  Kek kek_ = *Kek::Random();
};

}  // namespace consilium::site

#endif  // CONSILIUM_TESTS_SITE_AGENT_RUNTIME_SITE_FIXTURE_H_
