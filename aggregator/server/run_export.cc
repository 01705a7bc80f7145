#include "aggregator/server/run_export.h"

#include <algorithm>
#include <memory>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "consilium/v1/journal.pb.h"
#include "protocol/core/status_macros.h"
#include "protocol/wire/journal_export.h"
#include "protocol/wire/limits.h"

namespace consilium {
namespace {

// The run that an entry is of; empty for those about sites and the process.
absl::string_view RunOf(const v1::JournalEntry& entry) {
  switch (entry.input_case()) {
    case v1::JournalEntry::kRunSubmitted:
      return entry.run_submitted().run_id();
    case v1::JournalEntry::kRunDecided:
      return entry.run_decided().decision().run_id();
    case v1::JournalEntry::kStatisticsIn:
      return entry.statistics_in().report().run_id();
    case v1::JournalEntry::kUpdateStaged:
      return entry.update_staged().header().run_id();
    case v1::JournalEntry::kComputeDone:
      return entry.compute_done().run_id();
    case v1::JournalEntry::kEvaluationIn:
      return entry.evaluation_in().report().run_id();
    case v1::JournalEntry::kTimerFired:
      return entry.timer_fired().run_id();
    case v1::JournalEntry::kStopRequested:
      return entry.stop_requested().run_id();
    case v1::JournalEntry::kPurgeRequested:
      return entry.purge_requested().run_id();
    default:
      return "";
  }
}

absl::Status AddEntries(const Store& store, absl::string_view run_id, JournalExportWriter& writer) {
  return store.ReadJournal(Sequence(1), [&](const ChainRow& row) {
    v1::JournalEntry entry;
    if (!entry.ParseFromArray(row.payload.data(), static_cast<int>(row.payload.size()))) {
      return absl::DataLossError(
          absl::StrCat("journal entry ", row.sequence.value(), " is no journal entry"));
    }
    const absl::string_view of = RunOf(entry);
    return of.empty() || of == run_id ? writer.AddEntry(entry) : absl::OkStatus();
  });
}

struct KeptUpdates {
  std::set<Digest> updates;
  uint64_t gone = 0;
};

absl::StatusOr<KeptUpdates> ListUpdates(EngineLoop& engine, const RunId& run_id) {
  KeptUpdates kept;
  CONSILIUM_RETURN_IF_ERROR(engine.Inspect([&](const federation::FederationEngine& state) {
    const auto run = state.runs().find(run_id);
    if (run == state.runs().end()) return;
    for (const auto& [site, participant] : run->second.participants) {
      for (const auto& [task, task_state] : participant.tasks) {
        if (engine.IsNamed(
                {.run = run_id, .site = site, .task = task, .update = task_state.update})) {
          kept.updates.insert(task_state.update);
        } else if (task_state.phase == federation::TaskPhase::kIncluded) {
          ++kept.gone;
        }
      }
    }
  }));
  return kept;
}

absl::Status AddUpdates(const ExportParts& parts, const RunId& run, uint64_t elements,
                        const std::set<Digest>& updates, JournalExportWriter& writer) {
  CONSILIUM_ASSIGN_OR_RETURN(const std::shared_ptr<SealedVectors> vectors,
                             parts.vectors.Get(run, elements));
  for (const Digest& update : updates) {
    CONSILIUM_ASSIGN_OR_RETURN(SealedBlobReader reader, vectors->blobs().Read(update));
    CONSILIUM_ASSIGN_OR_RETURN(const std::vector<uint8_t> payload,
                               reader.ReadAll(limits::kPayloadBytesMax));
    CONSILIUM_RETURN_IF_ERROR(writer.AddUpdate(
        update, absl::string_view(reinterpret_cast<const char*>(payload.data()), payload.size())));
  }
  return absl::OkStatus();
}

absl::StatusOr<PublicKey> RecipientOf(const v1::ExportRunRequest& request) {
  PublicKey key;
  if (request.recipient_public_key().size() != key.size()) {
    return absl::InvalidArgumentError("recipient_public_key: an X25519 key has 32 bytes");
  }
  std::copy(request.recipient_public_key().begin(), request.recipient_public_key().end(),
            key.begin());
  return key;
}

v1::ExportHeader HeaderOf(const ExportParts& parts, const v1::ExportRunRequest& request) {
  v1::ExportHeader header;
  header.set_federation(parts.identity.federation());
  header.set_run_id(request.run_id());
  const PublicKey& key = parts.identity.signing_key().public_key();
  header.set_aggregator_signing_key(std::string(key.begin(), key.end()));
  header.set_software_version(parts.software_version);
  header.set_with_updates(request.with_updates());
  header.set_exported_unix_s(absl::ToUnixSeconds(parts.clock.Now()));
  return header;
}

}  // namespace

absl::Status ExportRunTo(const ExportParts& parts, const v1::ExportRunRequest& request,
                         const std::function<absl::Status(absl::string_view)>& sink) {
  const RunId run(request.run_id());
  CONSILIUM_ASSIGN_OR_RETURN(const PublicKey recipient, RecipientOf(request));
  CONSILIUM_ASSIGN_OR_RETURN(const RunIndex::Facts facts, parts.runs.Find(run));
  KeptUpdates kept;
  if (request.with_updates()) {
    CONSILIUM_ASSIGN_OR_RETURN(kept, ListUpdates(parts.engine, run));
    if (kept.gone > 0) {
      return absl::FailedPreconditionError(
          absl::StrCat("the run ", run.value(), " keeps ", kept.gone,
                       " of its included updates no "
                       "more, so its models can not be rebuilt: export it without updates"));
    }
  }
  CONSILIUM_ASSIGN_OR_RETURN(
      const std::unique_ptr<JournalExportWriter> writer,
      JournalExportWriter::Create(
          HeaderOf(parts, request), recipient, parts.identity.signing_key(),
          [&sink](absl::string_view bytes) {
            while (!bytes.empty()) {
              CONSILIUM_RETURN_IF_ERROR(sink(bytes.substr(0, limits::kChunkBytes)));
              bytes.remove_prefix(std::min(bytes.size(), limits::kChunkBytes));
            }
            return absl::OkStatus();
          }));
  CONSILIUM_RETURN_IF_ERROR(AddEntries(parts.store, request.run_id(), *writer));
  if (request.with_updates()) {
    CONSILIUM_RETURN_IF_ERROR(AddUpdates(parts, run, facts.elements, kept.updates, *writer));
  }
  return writer->Finish();
}

}  // namespace consilium
