// Tells ThreadSanitizer how gRPC hands a call from one of its threads to the next: its library is
// built without it, while its headers are compiled into our programs, so every reaction of a
// reactor would be reported as a race with the thread that began the operation.
//
// gRPC's headers reach its library through an interface of functions. This stands between: what
// begins an operation is before the reaction to that operation, what ended a call is before what
// uses its memory again, and what made a slice is before what destroys it. Calls are not ordered
// among each other by it, so a race between the handlers of two calls is found as ever.

#include <grpc/impl/codegen/grpc_types.h>
#include <grpcpp/impl/codegen/core_codegen_interface.h>
#include <grpcpp/impl/grpc_library.h>
#include <sanitizer/tsan_interface.h>

#include <memory>

// What gRPC calls when an operation of the callback interface has ended; static in its header, and
// there only if a program uses that interface.
extern "C" void StaticRunOfSuccessTag(grpc_completion_queue_functor* tag, int ok) __asm__(
    "_ZN4grpc8internal22CallbackWithSuccessTag9StaticRunEP29grpc_completion_queue_functori");
#pragma weak StaticRunOfSuccessTag

namespace {

// Where memory of calls is given back and taken again.
char call_memory;

void RunAfterAcquire(grpc_completion_queue_functor* tag, int ok) {
  __tsan_acquire(tag);
  StaticRunOfSuccessTag(tag, ok);
}

// What a slice of somebody's memory was given, to destroy that memory with. The library counts who
// still has the slice, and the last of them, in whatever thread, destroys it.
struct SliceOwner {
  void (*destroy)(void*);
  void* user_data;
};

void DestroyAfterAcquire(void* data) {
  const std::unique_ptr<SliceOwner> owner(static_cast<SliceOwner*>(data));
  __tsan_acquire(owner.get());
  owner->destroy(owner->user_data);
}

class WatchedInterface final : public grpc::CoreCodegenInterface {
 public:
  explicit WatchedInterface(grpc::CoreCodegenInterface* real) : real_(real) {}

  grpc_call_error grpc_call_start_batch(grpc_call* call, const grpc_op* ops, size_t nops, void* tag,
                                        void* reserved) override {
    auto* functor = static_cast<grpc_completion_queue_functor*>(tag);
    // A tag of a completion queue is an object with a table of virtual functions in this place.
    if (StaticRunOfSuccessTag != nullptr && functor->functor_run == StaticRunOfSuccessTag) {
      functor->functor_run = RunAfterAcquire;
    }
    __tsan_release(tag);
    return real_->grpc_call_start_batch(call, ops, nops, tag, reserved);
  }
  void grpc_call_unref(grpc_call* call) override {
    __tsan_release(&call_memory);
    real_->grpc_call_unref(call);
  }
  void* grpc_call_arena_alloc(grpc_call* call, size_t length) override {
    __tsan_acquire(&call_memory);
    return real_->grpc_call_arena_alloc(call, length);
  }
  grpc_slice grpc_slice_new_with_user_data(void* p, size_t len, void (*destroy)(void*),
                                           void* user_data) override {
    auto owner = std::make_unique<SliceOwner>(SliceOwner{destroy, user_data});
    __tsan_release(owner.get());
    return real_->grpc_slice_new_with_user_data(p, len, DestroyAfterAcquire, owner.release());
  }

  // As they are.
  void assert_fail(const char* failed_assertion, const char* file, int line) override {
    real_->assert_fail(failed_assertion, file, line);
  }
  const grpc_completion_queue_factory* grpc_completion_queue_factory_lookup(
      const grpc_completion_queue_attributes* attributes) override {
    return real_->grpc_completion_queue_factory_lookup(attributes);
  }
  grpc_completion_queue* grpc_completion_queue_create(
      const grpc_completion_queue_factory* factory,
      const grpc_completion_queue_attributes* attributes, void* reserved) override {
    return real_->grpc_completion_queue_create(factory, attributes, reserved);
  }
  grpc_completion_queue* grpc_completion_queue_create_for_next(void* reserved) override {
    return real_->grpc_completion_queue_create_for_next(reserved);
  }
  grpc_completion_queue* grpc_completion_queue_create_for_pluck(void* reserved) override {
    return real_->grpc_completion_queue_create_for_pluck(reserved);
  }
  void grpc_completion_queue_shutdown(grpc_completion_queue* cq) override {
    real_->grpc_completion_queue_shutdown(cq);
  }
  void grpc_completion_queue_destroy(grpc_completion_queue* cq) override {
    real_->grpc_completion_queue_destroy(cq);
  }
  grpc_event grpc_completion_queue_pluck(grpc_completion_queue* cq, void* tag,
                                         gpr_timespec deadline, void* reserved) override {
    return real_->grpc_completion_queue_pluck(cq, tag, deadline, reserved);
  }
  void* gpr_malloc(size_t size) override { return real_->gpr_malloc(size); }
  void gpr_free(void* p) override { real_->gpr_free(p); }
  void grpc_init() override { real_->grpc_init(); }
  void grpc_shutdown() override { real_->grpc_shutdown(); }
  void gpr_mu_init(gpr_mu* mu) override { real_->gpr_mu_init(mu); }
  void gpr_mu_destroy(gpr_mu* mu) override { real_->gpr_mu_destroy(mu); }
  void gpr_mu_lock(gpr_mu* mu) override { real_->gpr_mu_lock(mu); }
  void gpr_mu_unlock(gpr_mu* mu) override { real_->gpr_mu_unlock(mu); }
  void gpr_cv_init(gpr_cv* cv) override { real_->gpr_cv_init(cv); }
  void gpr_cv_destroy(gpr_cv* cv) override { real_->gpr_cv_destroy(cv); }
  int gpr_cv_wait(gpr_cv* cv, gpr_mu* mu, gpr_timespec abs_deadline) override {
    return real_->gpr_cv_wait(cv, mu, abs_deadline);
  }
  void gpr_cv_signal(gpr_cv* cv) override { real_->gpr_cv_signal(cv); }
  void gpr_cv_broadcast(gpr_cv* cv) override { real_->gpr_cv_broadcast(cv); }
  grpc_byte_buffer* grpc_byte_buffer_copy(grpc_byte_buffer* bb) override {
    return real_->grpc_byte_buffer_copy(bb);
  }
  void grpc_byte_buffer_destroy(grpc_byte_buffer* bb) override {
    real_->grpc_byte_buffer_destroy(bb);
  }
  size_t grpc_byte_buffer_length(grpc_byte_buffer* bb) override {
    return real_->grpc_byte_buffer_length(bb);
  }
  int grpc_byte_buffer_reader_init(grpc_byte_buffer_reader* reader,
                                   grpc_byte_buffer* buffer) override {
    return real_->grpc_byte_buffer_reader_init(reader, buffer);
  }
  void grpc_byte_buffer_reader_destroy(grpc_byte_buffer_reader* reader) override {
    real_->grpc_byte_buffer_reader_destroy(reader);
  }
  int grpc_byte_buffer_reader_next(grpc_byte_buffer_reader* reader, grpc_slice* slice) override {
    return real_->grpc_byte_buffer_reader_next(reader, slice);
  }
  int grpc_byte_buffer_reader_peek(grpc_byte_buffer_reader* reader, grpc_slice** slice) override {
    return real_->grpc_byte_buffer_reader_peek(reader, slice);
  }
  grpc_byte_buffer* grpc_raw_byte_buffer_create(grpc_slice* slice, size_t nslices) override {
    return real_->grpc_raw_byte_buffer_create(slice, nslices);
  }
  grpc_slice grpc_slice_new_with_len(void* p, size_t len, void (*destroy)(void*, size_t)) override {
    return real_->grpc_slice_new_with_len(p, len, destroy);
  }
  grpc_call_error grpc_call_cancel_with_status(grpc_call* call, grpc_status_code status,
                                               const char* description, void* reserved) override {
    return real_->grpc_call_cancel_with_status(call, status, description, reserved);
  }
  int grpc_call_failed_before_recv_message(const grpc_call* c) override {
    return real_->grpc_call_failed_before_recv_message(c);
  }
  void grpc_call_ref(grpc_call* call) override { real_->grpc_call_ref(call); }
  const char* grpc_call_error_to_string(grpc_call_error error) override {
    return real_->grpc_call_error_to_string(error);
  }
  grpc_slice grpc_empty_slice() override { return real_->grpc_empty_slice(); }
  grpc_slice grpc_slice_malloc(size_t length) override { return real_->grpc_slice_malloc(length); }
  void grpc_slice_unref(grpc_slice slice) override { real_->grpc_slice_unref(slice); }
  grpc_slice grpc_slice_ref(grpc_slice slice) override { return real_->grpc_slice_ref(slice); }
  grpc_slice grpc_slice_split_tail(grpc_slice* s, size_t split) override {
    return real_->grpc_slice_split_tail(s, split);
  }
  grpc_slice grpc_slice_split_head(grpc_slice* s, size_t split) override {
    return real_->grpc_slice_split_head(s, split);
  }
  grpc_slice grpc_slice_sub(grpc_slice s, size_t begin, size_t end) override {
    return real_->grpc_slice_sub(s, begin, end);
  }
  void grpc_slice_buffer_add(grpc_slice_buffer* sb, grpc_slice slice) override {
    real_->grpc_slice_buffer_add(sb, slice);
  }
  void grpc_slice_buffer_add_indexed(grpc_slice_buffer* sb, grpc_slice slice) override {
    real_->grpc_slice_buffer_add_indexed(sb, slice);
  }
  void grpc_slice_buffer_pop(grpc_slice_buffer* sb) override { real_->grpc_slice_buffer_pop(sb); }
  grpc_slice grpc_slice_from_static_buffer(const void* buffer, size_t length) override {
    return real_->grpc_slice_from_static_buffer(buffer, length);
  }
  grpc_slice grpc_slice_from_copied_buffer(const void* buffer, size_t length) override {
    return real_->grpc_slice_from_copied_buffer(buffer, length);
  }
  void grpc_metadata_array_init(grpc_metadata_array* array) override {
    real_->grpc_metadata_array_init(array);
  }
  void grpc_metadata_array_destroy(grpc_metadata_array* array) override {
    real_->grpc_metadata_array_destroy(array);
  }
  const grpc::Status& ok() override { return real_->ok(); }
  const grpc::Status& cancelled() override { return real_->cancelled(); }
  gpr_timespec gpr_inf_future(gpr_clock_type type) override { return real_->gpr_inf_future(type); }
  gpr_timespec gpr_time_0(gpr_clock_type type) override { return real_->gpr_time_0(type); }

 private:
  grpc::CoreCodegenInterface* const real_;
};

}  // namespace

// The linker is told to look for this name, so that the object is taken out of its archive.
extern "C" {
bool consilium_tsan_watches_grpc = [] {
  const grpc::internal::GrpcLibraryInitializer initializer;
  grpc::g_core_codegen_interface = new WatchedInterface(grpc::g_core_codegen_interface);
  return true;
}();
}
