// CONSILIUM_EMBED(symbol, "path"): the file's bytes as read-only data from symbol_begin to
// symbol_end. The assembler puts them there; paths come from CMake.

#ifndef CONSILIUM_SIM_REPORT_EMBED_FILE_H_
#define CONSILIUM_SIM_REPORT_EMBED_FILE_H_

#define CONSILIUM_EMBED(symbol, path)     \
  asm(".section .rodata\n"                \
      ".global " #symbol                  \
      "_begin\n"                          \
      ".global " #symbol "_end\n" #symbol \
      "_begin:\n"                         \
      ".incbin \"" path "\"\n" #symbol    \
      "_end:\n"                           \
      ".previous\n");                     \
  extern "C" const char symbol##_begin[]; \
  extern "C" const char symbol##_end[]

#endif  // CONSILIUM_SIM_REPORT_EMBED_FILE_H_
