// Preloaded (LD_PRELOAD) into unchanged programs by a test: copies every message that they hand to
// gRPC into a file of their own, before it is framed and encrypted. What one side receives, the
// other has sent, so sends alone are all messages in both directions. It also turns the programs'
// log up to its most talkative level. The programs have no such switch.
//
//   CONSILIUM_TEST_RECORDS   folder of the records; without it nothing is recorded
//
// The file is <program>.<pid>.items (items.py reads it), an item for each message, metadata value
// and status:
//   name length (u32) ‖ name ‖ content length (u64) ‖ content         (little endian)
//   name = "<message|metadata|status> <number of the call> <method, or 'served'>"
//
// Threads: any; one lock around the file. Written without buffering: a kill -9 loses nothing that
// was sent.

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <grpc/byte_buffer.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/grpc.h>
#include <grpc/slice.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cstdint>
#include <map>
#include <mutex>
#include <string>

// Also loaded into programs that have no gRPC, which never come here.
#pragma weak grpc_byte_buffer_reader_init
#pragma weak grpc_byte_buffer_reader_next
#pragma weak grpc_byte_buffer_reader_destroy
#pragma weak grpc_slice_unref

namespace {

[[noreturn]] void Die(const char* what) {
  fprintf(stderr, "message recorder: %s: %s\n", what, strerror(errno));
  abort();
}

// The program's own definition of a function that this library puts itself before.
template <typename Function>
Function* Next(const char* name) {
  void* found = dlsym(RTLD_NEXT, name);
  if (found == nullptr) Die(name);
  return reinterpret_cast<Function*>(found);
}

std::string TextOf(const grpc_slice& slice) {
  return std::string(reinterpret_cast<const char*>(GRPC_SLICE_START_PTR(slice)),
                     GRPC_SLICE_LENGTH(slice));
}

std::string ContentOf(grpc_byte_buffer* buffer) {
  std::string content;
  grpc_byte_buffer_reader reader;
  if (grpc_byte_buffer_reader_init(&reader, buffer) == 0) Die("a message can not be read");
  grpc_slice slice;
  while (grpc_byte_buffer_reader_next(&reader, &slice) != 0) {
    content += TextOf(slice);
    grpc_slice_unref(slice);
  }
  grpc_byte_buffer_reader_destroy(&reader);
  return content;
}

class Recorder {
 public:
  void Begin(grpc_call* call, const std::string& method) {
    const std::lock_guard<std::mutex> lock(mu_);
    calls_[call] = std::to_string(++calls_begun_) + " " + method;
  }

  // The first operation of a call that nobody has begun here: one that this program serves.
  // Addresses are used again, so every call of a server begins with its initial metadata.
  void BeginServed(grpc_call* call) {
    const std::lock_guard<std::mutex> lock(mu_);
    std::string& name = calls_[call];
    const bool is_client = !name.empty() && name.find(" served") == std::string::npos;
    if (!is_client) name = std::to_string(++calls_begun_) + " served";
  }

  void Add(const char* kind, grpc_call* call, const std::string& content) {
    const std::lock_guard<std::mutex> lock(mu_);
    if (file_ < 0 && !Open()) return;
    const std::string name = std::string(kind) + " " + calls_[call];
    std::string item;
    AppendNumber(name.size(), 4, item);
    item += name;
    AppendNumber(content.size(), 8, item);
    item += content;
    size_t written = 0;
    while (written < item.size()) {
      const ssize_t step = write(file_, item.data() + written, item.size() - written);
      if (step < 0) Die("can not write");
      written += static_cast<size_t>(step);
    }
  }

  std::map<void*, std::string>& registered() { return registered_; }

 private:
  static void AppendNumber(uint64_t value, int bytes, std::string& out) {
    for (int i = 0; i < bytes; ++i) out.push_back(static_cast<char>(value >> (8 * i)));
  }

  bool Open() {
    const char* folder = getenv("CONSILIUM_TEST_RECORDS");
    if (folder == nullptr) return false;
    const std::string path = std::string(folder) + "/" + program_invocation_short_name + "." +
                             std::to_string(getpid()) + ".items";
    file_ = open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (file_ < 0) Die(path.c_str());
    return true;
  }

  std::mutex mu_;
  int file_ = -1;
  uint64_t calls_begun_ = 0;
  std::map<grpc_call*, std::string> calls_;
  std::map<void*, std::string> registered_;
};

Recorder& TheRecorder() {
  static Recorder* const recorder = new Recorder;  // Lives as long as the process.
  return *recorder;
}

std::mutex registered_mu;

void AddMetadata(grpc_call* call, const grpc_metadata* metadata, size_t count) {
  for (size_t i = 0; i < count; ++i) {
    TheRecorder().Add("metadata", call, TextOf(metadata[i].key) + "=" + TextOf(metadata[i].value));
  }
}

void AddOperation(grpc_call* call, const grpc_op& operation) {
  Recorder& recorder = TheRecorder();
  switch (operation.op) {
    case GRPC_OP_SEND_INITIAL_METADATA: {
      const auto& data = operation.data.send_initial_metadata;
      recorder.BeginServed(call);
      AddMetadata(call, data.metadata, data.count);
      break;
    }
    case GRPC_OP_SEND_MESSAGE:
      if (operation.data.send_message.send_message != nullptr) {
        recorder.Add("message", call, ContentOf(operation.data.send_message.send_message));
      }
      break;
    case GRPC_OP_SEND_STATUS_FROM_SERVER: {
      const auto& data = operation.data.send_status_from_server;
      AddMetadata(call, data.trailing_metadata, data.trailing_metadata_count);
      recorder.Add("status", call,
                   data.status_details == nullptr ? "" : TextOf(*data.status_details));
      break;
    }
    default:
      break;
  }
}

__attribute__((constructor)) void TurnLogUp() {
  constexpr int kTrace = 0;
  // spdlog::set_level(spdlog::level::level_enum), where the program has it.
  void* found = dlsym(RTLD_DEFAULT, "_ZN6spdlog9set_levelENS_5level10level_enumE");
  if (found != nullptr) reinterpret_cast<void (*)(int)>(found)(kTrace);
}

}  // namespace

extern "C" {

grpc_call_error grpc_call_start_batch(grpc_call* call, const grpc_op* ops, size_t nops, void* tag,
                                      void* reserved) {
  static auto* const next = Next<decltype(grpc_call_start_batch)>("grpc_call_start_batch");
  for (size_t i = 0; i < nops; ++i) AddOperation(call, ops[i]);
  return next(call, ops, nops, tag, reserved);
}

void* grpc_channel_register_call(grpc_channel* channel, const char* method, const char* host,
                                 void* reserved) {
  static auto* const next =
      Next<decltype(grpc_channel_register_call)>("grpc_channel_register_call");
  void* const handle = next(channel, method, host, reserved);
  const std::lock_guard<std::mutex> lock(registered_mu);
  TheRecorder().registered()[handle] = method;
  return handle;
}

grpc_call* grpc_channel_create_registered_call(grpc_channel* channel, grpc_call* parent,
                                               uint32_t mask, grpc_completion_queue* queue,
                                               void* handle, gpr_timespec deadline,
                                               void* reserved) {
  static auto* const next =
      Next<decltype(grpc_channel_create_registered_call)>("grpc_channel_create_registered_call");
  grpc_call* const call = next(channel, parent, mask, queue, handle, deadline, reserved);
  std::string method;
  {
    const std::lock_guard<std::mutex> lock(registered_mu);
    method = TheRecorder().registered()[handle];
  }
  TheRecorder().Begin(call, method);
  return call;
}

grpc_call* grpc_channel_create_call(grpc_channel* channel, grpc_call* parent, uint32_t mask,
                                    grpc_completion_queue* queue, grpc_slice method,
                                    const grpc_slice* host, gpr_timespec deadline, void* reserved) {
  static auto* const next = Next<decltype(grpc_channel_create_call)>("grpc_channel_create_call");
  grpc_call* const call = next(channel, parent, mask, queue, method, host, deadline, reserved);
  TheRecorder().Begin(call, TextOf(method));
  return call;
}

}  // extern "C"
