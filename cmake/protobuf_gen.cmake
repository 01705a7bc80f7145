# Messages are generated into the include root of protocol_wire, services into that of
# protocol_rpc, so that a target without gRPC can not name a service.

set(CONSILIUM_PROTO_DIR ${CMAKE_SOURCE_DIR}/protocol/proto)
set(CONSILIUM_GEN_WIRE ${CMAKE_BINARY_DIR}/gen/wire)
set(CONSILIUM_GEN_RPC ${CMAKE_BINARY_DIR}/gen/rpc)
file(MAKE_DIRECTORY ${CONSILIUM_GEN_WIRE} ${CONSILIUM_GEN_RPC})
find_program(GRPC_CPP_PLUGIN grpc_cpp_plugin REQUIRED)

# consilium_proto_messages(out_sources names...)
function(consilium_proto_messages out)
  set(sources)
  foreach(name IN LISTS ARGN)
    set(base ${CONSILIUM_GEN_WIRE}/consilium/v1/${name}.pb)
    add_custom_command(
      OUTPUT ${base}.cc ${base}.h
      COMMAND protobuf::protoc --cpp_out=${CONSILIUM_GEN_WIRE} -I ${CONSILIUM_PROTO_DIR}
              ${CONSILIUM_PROTO_DIR}/consilium/v1/${name}.proto
      DEPENDS ${CONSILIUM_PROTO_DIR}/consilium/v1/${name}.proto
      COMMENT "protoc ${name}.proto")
    list(APPEND sources ${base}.cc ${base}.h)
  endforeach()
  set(${out} ${sources} PARENT_SCOPE)
endfunction()

# consilium_proto_services(out_sources names...)
function(consilium_proto_services out)
  set(sources)
  foreach(name IN LISTS ARGN)
    set(base ${CONSILIUM_GEN_RPC}/consilium/v1/${name}.grpc.pb)
    add_custom_command(
      OUTPUT ${base}.cc ${base}.h
      COMMAND protobuf::protoc --grpc_out=${CONSILIUM_GEN_RPC}
              --plugin=protoc-gen-grpc=${GRPC_CPP_PLUGIN} -I ${CONSILIUM_PROTO_DIR}
              ${CONSILIUM_PROTO_DIR}/consilium/v1/${name}.proto
      DEPENDS ${CONSILIUM_PROTO_DIR}/consilium/v1/${name}.proto
      COMMENT "protoc ${name}.proto (services)")
    list(APPEND sources ${base}.cc ${base}.h)
  endforeach()
  set(${out} ${sources} PARENT_SCOPE)
endfunction()
