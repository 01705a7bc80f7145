#include "protocol/rpc/chunk_codec.h"

#include <google/protobuf/stubs/logging.h>

#include <memory>
#include <random>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "protocol/wire/limits.h"
#include "protocol/wire/reasons.h"

namespace consilium {
namespace {

v1::Chunk UpdateHead() {
  v1::Chunk chunk;
  v1::UpdateHeader* header = chunk.mutable_update();
  header->set_run_id("r1");
  header->set_site_id("cleveland");
  header->set_task_id(7);
  header->set_payload_bytes(123456789);
  header->set_payload_root(std::string(32, 'h'));
  header->set_training_loss(0.25);
  return chunk;
}

std::string Flat(const grpc::ByteBuffer& buffer) {
  std::vector<grpc::Slice> slices;
  EXPECT_TRUE(buffer.Dump(&slices).ok());
  std::string text;
  for (const auto& slice : slices) text.append(slice.begin(), slice.end());
  return text;
}

std::string Flat(ByteSpans spans) {
  std::string text;
  for (const auto& span : spans) text.append(span.begin(), span.end());
  return text;
}

// `bytes` as a network delivers them: in slices of any sizes, empty ones too.
grpc::ByteBuffer Scattered(const std::string& bytes, std::mt19937_64& random) {
  std::vector<grpc::Slice> slices;
  for (size_t at = 0; at < bytes.size();) {
    const size_t piece = std::min<size_t>(bytes.size() - at, random() % 40);
    slices.emplace_back(bytes.substr(at, piece));
    at += piece;
  }
  if (slices.empty()) slices.emplace_back(std::string());
  return grpc::ByteBuffer(slices.data(), slices.size());
}

SharedBytes Shared(const std::string& text) {
  auto owner = std::make_shared<const std::string>(text);
  return {owner, {reinterpret_cast<const uint8_t*>(owner->data()), owner->size()}};
}

TEST(ChunkCodec, WritesWhatProtobufWouldAndRefersToTheData) {
  for (size_t size : {size_t{0}, size_t{1}, size_t{127}, size_t{128}, limits::kChunkBytes}) {
    const std::string payload(size, 'x');
    v1::Chunk whole = UpdateHead();
    whole.set_data(payload);
    EXPECT_EQ(Flat(EncodeChunk(UpdateHead(), Shared(payload))), whole.SerializeAsString());
    v1::Chunk data_only;
    data_only.set_data(payload);
    EXPECT_EQ(Flat(EncodeChunk({}, Shared(payload))), data_only.SerializeAsString());
  }
}

TEST(ChunkCodec, SentDataIsNotCopiedAndLivesUntilGrpcIsDone) {
  auto owner = std::make_shared<const std::string>(limits::kChunkBytes, 'x');
  const std::weak_ptr<const std::string> alive = owner;
  const auto* data = reinterpret_cast<const uint8_t*>(owner->data());
  {
    const grpc::ByteBuffer buffer = EncodeChunk({}, {owner, {data, owner->size()}});
    owner.reset();
    EXPECT_FALSE(alive.expired());
    std::vector<grpc::Slice> slices;
    ASSERT_TRUE(buffer.Dump(&slices).ok());
    EXPECT_EQ(slices.back().begin(), data);
  }
  EXPECT_TRUE(alive.expired());
}

TEST(ChunkCodec, ReceivedDataIsNotCopied) {
  const std::string payload(100000, 'y');
  const grpc::ByteBuffer buffer = EncodeChunk(UpdateHead(), Shared(payload));
  std::vector<grpc::Slice> slices;
  ASSERT_TRUE(buffer.Dump(&slices).ok());
  const auto chunk = DecodeChunk(buffer);
  ASSERT_TRUE(chunk.ok()) << chunk.status();
  ASSERT_EQ(chunk->data().size(), 1u);
  EXPECT_EQ(chunk->data()[0].data(), slices.back().begin());
  EXPECT_EQ(chunk->data_bytes(), payload.size());
  EXPECT_EQ(chunk->head().SerializeAsString(), UpdateHead().SerializeAsString());
}

TEST(ChunkCodec, RefusesWhatIsTooLong) {
  const auto reason = [](const std::string& bytes) {
    const grpc::Slice slice(bytes);
    return DetailOf(DecodeChunk(grpc::ByteBuffer(&slice, 1)).status()).reason();
  };
  v1::Chunk chunk;
  chunk.set_data(std::string(limits::kChunkBytesMax, 'x'));
  EXPECT_EQ(reason(chunk.SerializeAsString()), v1::REASON_UNSPECIFIED);
  chunk.mutable_data()->push_back('x');
  EXPECT_EQ(reason(chunk.SerializeAsString()), v1::OVERSIZE);
  v1::Chunk head;
  head.mutable_update()->set_run_id(std::string(limits::kChunkHeaderBytesMax, 'x'));
  EXPECT_EQ(reason(head.SerializeAsString()), v1::OVERSIZE);
  EXPECT_EQ(reason(std::string(4 << 20, '\x7f')), v1::OVERSIZE);
  // A length beyond everything, near the end of 64 bits.
  EXPECT_EQ(reason("\x22\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), v1::MALFORMED);
}

TEST(ChunkCodec, RefusesTwiceAndGroups) {
  const auto reason = [](const std::string& bytes) {
    const grpc::Slice slice(bytes);
    return DetailOf(DecodeChunk(grpc::ByteBuffer(&slice, 1)).status()).reason();
  };
  const std::string head = UpdateHead().SerializeAsString();
  EXPECT_EQ(reason(head + head), v1::MALFORMED);
  v1::Chunk data;
  data.set_data("x");
  EXPECT_EQ(reason(data.SerializeAsString() + data.SerializeAsString()), v1::MALFORMED);
  EXPECT_EQ(reason("\x23\x24"), v1::MALFORMED);
  EXPECT_EQ(DetailOf(DecodeChunk(grpc::ByteBuffer()).status()).reason(), v1::MALFORMED);
}

// Whatever the bytes: where this parser takes them, protobuf's does, and both read the same.
TEST(ChunkCodec, AgreesWithProtobufOnMutatedAndRandomBytes) {
  const google::protobuf::LogSilencer silencer;  // Of its word for each string that is not UTF-8.
  std::mt19937_64 random(20240611);
  int taken = 0;
  int valid_refused = 0;
  for (int i = 0; i < 60000; ++i) {
    v1::Chunk seed;
    if (random() % 2 != 0) seed = UpdateHead();
    if (random() % 4 == 0) seed.mutable_model()->set_run_id("m");
    if (random() % 2 != 0) seed.set_data(std::string(random() % 300, static_cast<char>(random())));
    std::string bytes = seed.SerializeAsString();
    const int mutations = static_cast<int>(random() % 4);
    for (int m = 0; m < mutations; ++m) {
      const size_t at = bytes.empty() ? 0 : random() % bytes.size();
      switch (random() % 4) {
        case 0:
          if (!bytes.empty()) bytes[at] = static_cast<char>(random());
          break;
        case 1:
          bytes.insert(at, 1, static_cast<char>(random()));
          break;
        case 2:
          if (!bytes.empty()) bytes.erase(at, 1 + random() % 3);
          break;
        case 3:
          bytes.resize(at);
          break;
      }
    }
    const auto ours = DecodeChunk(Scattered(bytes, random));
    v1::Chunk theirs;
    const bool parsed = theirs.ParseFromString(bytes);
    if (mutations == 0) {
      ASSERT_TRUE(ours.ok()) << ours.status();
    }
    if (!ours.ok()) {
      valid_refused += parsed;
      continue;
    }
    ++taken;
    ASSERT_TRUE(parsed) << "iteration " << i;
    EXPECT_EQ(Flat(ours->data()), theirs.data());
    theirs.clear_data();
    theirs.DiscardUnknownFields();
    v1::Chunk head = ours->head();
    head.DiscardUnknownFields();
    EXPECT_EQ(head.SerializeAsString(), theirs.SerializeAsString());
  }
  EXPECT_GT(taken, 20000);
  // Fields that came twice, and groups: rare among these.
  EXPECT_LT(valid_refused, 600);
}

}  // namespace
}  // namespace consilium
