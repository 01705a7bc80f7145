# Outside libraries, each behind one CMake target. Debian's packages, but for LibTorch, which
# comes from the pinned wheel that scripts/setup unpacks (requirements.txt has its hash).

find_package(Threads REQUIRED)
find_package(absl CONFIG REQUIRED)
find_package(Protobuf CONFIG QUIET)
if(NOT Protobuf_FOUND)
  find_package(Protobuf REQUIRED)
endif()
find_package(gRPC CONFIG REQUIRED)
find_package(OpenSSL 3 REQUIRED)
find_package(spdlog CONFIG REQUIRED)
find_package(CLI11 CONFIG REQUIRED)
find_package(nlohmann_json CONFIG REQUIRED)
find_package(GTest REQUIRED)
find_package(ZLIB REQUIRED)
# Linked only: its headers lie among the system's own, which are no layer's.
find_package(CURL 7.85 REQUIRED)
add_library(consilium_curl INTERFACE)
target_link_libraries(consilium_curl INTERFACE $<LINK_ONLY:CURL::libcurl>)
# libzip's own CMake package wants its command line tools, which Debian packages apart.
find_path(CONSILIUM_ZIP_INCLUDE zip.h REQUIRED)
find_library(CONSILIUM_ZIP_LIBRARY NAMES zip REQUIRED)
add_library(consilium_zip INTERFACE)
target_link_libraries(consilium_zip INTERFACE ${CONSILIUM_ZIP_LIBRARY})
# Only the simulator's ranks (sim/mpi), which need LibTorch like the rest of it. The old C++ calls
# are left out.
if(CONSILIUM_TORCH)
  set(MPI_CXX_SKIP_MPICXX TRUE)
  find_package(MPI REQUIRED COMPONENTS CXX)
endif()
if(CONSILIUM_BENCH)
  find_package(benchmark CONFIG REQUIRED)
endif()

# SQLCipher is linked statically with its symbols hidden: libsqlite3 has the same names, and
# whichever came first would win silently, without encryption.
find_library(SQLCIPHER_STATIC NAMES libsqlcipher.a REQUIRED)
add_library(consilium_sqlcipher INTERFACE)
target_compile_definitions(consilium_sqlcipher INTERFACE SQLITE_HAS_CODEC=1)
target_link_libraries(consilium_sqlcipher INTERFACE ${SQLCIPHER_STATIC} OpenSSL::Crypto
                      Threads::Threads ${CMAKE_DL_LIBS} m)
target_link_options(consilium_sqlcipher INTERFACE -Wl,--exclude-libs,libsqlcipher.a)

# The wheel's include folder carries old copies of protobuf and fmt, so an overlay of links shows
# only what is Torch's own.
if(CONSILIUM_TORCH)
  set(torch_root ${CONSILIUM_DEPS_DIR}/site-packages/torch)
  if(NOT EXISTS ${torch_root}/lib/libtorch_cpu.so)
    message(FATAL_ERROR "LibTorch is not in ${torch_root}: run scripts/setup, or configure with "
                        "-DCONSILIUM_TORCH=OFF for the targets that do not need it.")
  endif()
  set(overlay ${CMAKE_BINARY_DIR}/torch_include)
  file(MAKE_DIRECTORY ${overlay})
  foreach(name IN ITEMS ATen c10 torch caffe2)
    if(NOT EXISTS ${overlay}/${name})
      file(CREATE_LINK ${torch_root}/include/${name} ${overlay}/${name} SYMBOLIC)
    endif()
  endforeach()
  add_library(consilium_libtorch INTERFACE)
  target_include_directories(consilium_libtorch SYSTEM INTERFACE
    ${overlay} ${torch_root}/include/torch/csrc/api/include)
  target_link_libraries(consilium_libtorch INTERFACE ${torch_root}/lib/libtorch_cpu.so
                        ${torch_root}/lib/libc10.so)
  # A program in the build folder finds LibTorch where it is; CMake writes that path, and takes it
  # out again where it installs the program (consilium_program).
  target_link_options(consilium_libtorch INTERFACE
                      -Wl,-rpath-link,${torch_root}/lib -Wl,--allow-shlib-undefined)
  # pagmo2, which the simulator's search alone uses. Linked only: its headers (Boost's, Eigen's) are
  # for the one file that asks for them.
  find_package(pagmo CONFIG REQUIRED)
  add_library(consilium_pagmo INTERFACE)
  target_link_libraries(consilium_pagmo INTERFACE $<LINK_ONLY:Pagmo::pagmo>)
  get_target_property(CONSILIUM_EIGEN_INCLUDE Eigen3::Eigen INTERFACE_INCLUDE_DIRECTORIES)
  # What an installed program loads besides the system's libraries: the two it is linked with, and
  # what these load. The wheel for GPUs has some of it in folders beside its own.
  file(GLOB torch_companions ${torch_root}/lib/libgomp*.so*
       ${CONSILIUM_DEPS_DIR}/site-packages/nvidia/*/lib/libcupti.so.[0-9]*
       ${CONSILIUM_DEPS_DIR}/site-packages/nvidia/*/lib/libcudart.so.[0-9]*)
  install(FILES ${torch_root}/lib/libtorch_cpu.so ${torch_root}/lib/libc10.so ${torch_companions}
          DESTINATION lib/consilium COMPONENT libtorch)
endif()
