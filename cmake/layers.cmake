# The partial order of targets (docs/architecture.md): which of our libraries, and which outside
# ones, each may use. An edge that is not here does not compile:
#   * every library has an include root of its own that holds a link to its folder alone, and a
#     target sees only its own root and those of the libraries it names here;
#   * what lies in the system's include folder can not be hidden, so tests/layers reads the
#     compiler's dependency files and fails on an outside header that is not listed here.
#
# consilium_layer(NAME folder USES libs... OUTSIDE packages...)

set(CONSILIUM_LAYERS "" CACHE INTERNAL "")

function(consilium_layer name folder)
  cmake_parse_arguments(L "" "" "USES;OUTSIDE" ${ARGN})
  set_property(GLOBAL PROPERTY consilium_${name}_folder ${folder})
  set_property(GLOBAL PROPERTY consilium_${name}_uses "${L_USES}")
  set_property(GLOBAL PROPERTY consilium_${name}_outside "${L_OUTSIDE}")
  set_property(GLOBAL APPEND PROPERTY consilium_layers ${name})
endfunction()

#               name               folder               may use                          outside libraries
consilium_layer(protocol_core      protocol/core        OUTSIDE absl spdlog)
consilium_layer(protocol_wire      protocol/wire        USES protocol_core               OUTSIDE absl spdlog protobuf openssl)
consilium_layer(protocol_rpc       protocol/rpc         USES protocol_wire               OUTSIDE absl spdlog protobuf openssl grpc)
consilium_layer(privacy_at_rest    privacy/at_rest      USES protocol_core               OUTSIDE absl spdlog openssl sqlcipher)
consilium_layer(models_spec        models/spec          USES protocol_wire               OUTSIDE absl spdlog protobuf json)
consilium_layer(models_metrics     models/metrics       USES protocol_wire               OUTSIDE absl spdlog protobuf)
consilium_layer(models_torch       models/torch         USES models_spec models_metrics  OUTSIDE absl spdlog protobuf torch)
consilium_layer(aggregator_core    aggregator/core      USES models_spec models_metrics  OUTSIDE absl spdlog protobuf)
consilium_layer(aggregator_merge   aggregator/merge     USES protocol_wire               OUTSIDE absl spdlog protobuf)
consilium_layer(aggregator_server  aggregator/server    USES aggregator_core aggregator_merge protocol_rpc privacy_at_rest
                                                        OUTSIDE absl spdlog protobuf openssl grpc json)
consilium_layer(site_agent_core    site_agent/core      USES models_spec models_metrics  OUTSIDE absl spdlog protobuf)
consilium_layer(site_agent_ingest  site_agent/ingest    USES models_spec                 OUTSIDE absl spdlog protobuf zip zlib)
consilium_layer(site_agent_train   site_agent/train     USES site_agent_core site_agent_ingest models_torch
                                                        OUTSIDE absl spdlog protobuf torch)
consilium_layer(site_agent_runtime site_agent/runtime   USES site_agent_core site_agent_ingest protocol_rpc privacy_at_rest
                                                        OUTSIDE absl spdlog protobuf openssl grpc json)
consilium_layer(sim                sim                  USES aggregator_core aggregator_merge site_agent_core site_agent_ingest site_agent_train
                                                        OUTSIDE absl spdlog protobuf torch json cli11 pagmo zip zlib curl)
# The ranks of sim/cluster/ranks.h, which it implements and adds no header to.
consilium_layer(sim_mpi            sim/mpi              USES sim                         OUTSIDE absl mpi)
consilium_layer(cli                cli                  USES aggregator_core protocol_rpc privacy_at_rest
                                                        OUTSIDE absl spdlog protobuf openssl grpc json cli11)

# Everything `name` may use, directly or through what it uses.
function(consilium_layer_closure name out)
  get_property(direct GLOBAL PROPERTY consilium_${name}_uses)
  set(all ${direct})
  foreach(dep IN LISTS direct)
    consilium_layer_closure(${dep} deeper)
    list(APPEND all ${deeper})
  endforeach()
  list(REMOVE_DUPLICATES all)
  set(${out} ${all} PARENT_SCOPE)
endfunction()

# Whether one of `names`, or what they may use, needs LibTorch in a build that does without it
# (CONSILIUM_TORCH=OFF: asan, tsan). Such targets are left out of that build.
function(consilium_needs_absent_torch out)
  set(${out} FALSE PARENT_SCOPE)
  if(CONSILIUM_TORCH)
    return()
  endif()
  foreach(name IN LISTS ARGN)
    consilium_layer_closure(${name} deeper)
    foreach(layer IN ITEMS ${name} ${deeper})
      get_property(outside GLOBAL PROPERTY consilium_${layer}_outside)
      if("torch" IN_LIST outside)
        set(${out} TRUE PARENT_SCOPE)
      endif()
    endforeach()
  endforeach()
endfunction()

set(CONSILIUM_OUTSIDE_absl absl::base absl::status absl::statusor absl::strings absl::str_format
    absl::time absl::synchronization absl::flat_hash_map absl::flat_hash_set absl::btree absl::span absl::hash
    absl::cord absl::inlined_vector absl::cleanup)
set(CONSILIUM_OUTSIDE_spdlog spdlog::spdlog)
set(CONSILIUM_OUTSIDE_protobuf protobuf::libprotobuf)
set(CONSILIUM_OUTSIDE_openssl OpenSSL::SSL OpenSSL::Crypto)
set(CONSILIUM_OUTSIDE_grpc gRPC::grpc++)
set(CONSILIUM_OUTSIDE_sqlcipher consilium_sqlcipher)
set(CONSILIUM_OUTSIDE_json nlohmann_json::nlohmann_json)
set(CONSILIUM_OUTSIDE_torch consilium_libtorch)
set(CONSILIUM_OUTSIDE_cli11 CLI11::CLI11)
set(CONSILIUM_OUTSIDE_pagmo consilium_pagmo)
set(CONSILIUM_OUTSIDE_mpi MPI::MPI_CXX)
set(CONSILIUM_OUTSIDE_zip consilium_zip)
set(CONSILIUM_OUTSIDE_zlib ZLIB::ZLIB)
set(CONSILIUM_OUTSIDE_curl consilium_curl)

# consilium_library(NAME SOURCES files... [OUTSIDE more...]): the library of a layer.
# Headers are included by their whole path from the project's root ("protocol/core/clock.h").
function(consilium_library name)
  cmake_parse_arguments(L "" "" "SOURCES" ${ARGN})
  get_property(folder GLOBAL PROPERTY consilium_${name}_folder)
  get_property(uses GLOBAL PROPERTY consilium_${name}_uses)
  get_property(outside GLOBAL PROPERTY consilium_${name}_outside)
  consilium_needs_absent_torch(left_out ${name})
  if(left_out)
    return()
  endif()
  set(root ${CMAKE_BINARY_DIR}/include_roots/${name})
  get_filename_component(parent ${root}/${folder} DIRECTORY)
  file(MAKE_DIRECTORY ${parent})
  if(NOT EXISTS ${root}/${folder})
    file(CREATE_LINK ${CMAKE_SOURCE_DIR}/${folder} ${root}/${folder} SYMBOLIC)
  endif()
  if(L_SOURCES)
    add_library(${name} STATIC ${L_SOURCES})
    set(kind PUBLIC)
  else()
    add_library(${name} INTERFACE)
    set(kind INTERFACE)
  endif()
  target_include_directories(${name} ${kind} ${root})
  foreach(dep IN LISTS uses)
    target_link_libraries(${name} ${kind} ${dep})
  endforeach()
  foreach(package IN LISTS outside)
    target_link_libraries(${name} ${kind} ${CONSILIUM_OUTSIDE_${package}})
  endforeach()
  target_link_libraries(${name} ${kind} Threads::Threads)
endfunction()

# consilium_executable(NAME SOURCES files... USES libs...): build/PRESET/bin/NAME.
function(consilium_executable name)
  cmake_parse_arguments(P "" "" "SOURCES;USES" ${ARGN})
  consilium_needs_absent_torch(left_out ${P_USES})
  if(left_out)
    return()
  endif()
  add_executable(${name} ${P_SOURCES})
  target_link_libraries(${name} PRIVATE ${P_USES} CLI11::CLI11)
  target_compile_definitions(${name} PRIVATE CONSILIUM_VERSION="${PROJECT_VERSION}")
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
endfunction()

# consilium_program: an executable that people get. The target `programs` builds all of them, and
# `cmake --install` copies them, so that they load LibTorch from ../lib/consilium and from nowhere
# that its builder owns.
add_custom_target(programs)
function(consilium_program name)
  consilium_executable(${name} ${ARGN})
  if(NOT TARGET ${name})
    return()
  endif()
  set_target_properties(${name} PROPERTIES INSTALL_RPATH "$ORIGIN/../lib/consilium")
  install(TARGETS ${name} RUNTIME DESTINATION bin COMPONENT programs)
  add_dependencies(programs ${name})
endfunction()

# consilium_test(NAME SOURCES files... USES libs... LABELS labels...): one GoogleTest program.
# A test may name any layer, and reads tests/ headers from the root of its own. The target
# tests_labelled_LABEL builds all tests that have LABEL.
function(consilium_test name)
  cmake_parse_arguments(T "" "TIMEOUT" "SOURCES;USES;LABELS;ENVIRONMENT" ${ARGN})
  consilium_needs_absent_torch(left_out ${T_USES})
  if(left_out)
    return()
  endif()
  add_executable(${name} ${T_SOURCES})
  set(root ${CMAKE_BINARY_DIR}/include_roots/tests)
  file(MAKE_DIRECTORY ${root})
  if(NOT EXISTS ${root}/tests)
    file(CREATE_LINK ${CMAKE_SOURCE_DIR}/tests ${root}/tests SYMBOLIC)
  endif()
  target_include_directories(${name} PRIVATE ${root})
  target_link_libraries(${name} PRIVATE ${T_USES} GTest::gmock GTest::gtest_main)
  if(NOT T_TIMEOUT)
    set(T_TIMEOUT 300)
  endif()
  if(NOT T_LABELS)
    set(T_LABELS unit)
  endif()
  foreach(label IN LISTS T_LABELS)
    if(NOT TARGET tests_labelled_${label})
      add_custom_target(tests_labelled_${label})
    endif()
    add_dependencies(tests_labelled_${label} ${name})
  endforeach()
  # gtest_discover_tests expands its arguments three more times, each halving the backslashes.
  string(REPLACE ";" [[\\\\\\\\;]] labels "${T_LABELS}")
  string(REPLACE ";" [[\\\\\\\\;]] environment "${T_ENVIRONMENT}")
  include(GoogleTest)
  gtest_discover_tests(${name} DISCOVERY_TIMEOUT 60
    PROPERTIES LABELS "${labels}" TIMEOUT ${T_TIMEOUT} ENVIRONMENT "${environment}")
endfunction()
