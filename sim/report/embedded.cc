#include "sim/report/embedded.h"

#include <cstddef>

// The assembler puts the files' bytes into the read-only data; their paths come from CMake.
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

CONSILIUM_EMBED(consilium_report_template, CONSILIUM_REPORT_TEMPLATE);
CONSILIUM_EMBED(consilium_compare_template, CONSILIUM_COMPARE_TEMPLATE);
CONSILIUM_EMBED(consilium_search_template, CONSILIUM_SEARCH_TEMPLATE);
CONSILIUM_EMBED(consilium_chart_js, CONSILIUM_CHART_JS);

namespace consilium::embedded {

absl::string_view ReportTemplate() {
  return {consilium_report_template_begin,
          static_cast<size_t>(consilium_report_template_end - consilium_report_template_begin)};
}

absl::string_view CompareTemplate() {
  return {consilium_compare_template_begin,
          static_cast<size_t>(consilium_compare_template_end - consilium_compare_template_begin)};
}

absl::string_view SearchTemplate() {
  return {consilium_search_template_begin,
          static_cast<size_t>(consilium_search_template_end - consilium_search_template_begin)};
}

absl::string_view ChartJs() {
  return {consilium_chart_js_begin,
          static_cast<size_t>(consilium_chart_js_end - consilium_chart_js_begin)};
}

}  // namespace consilium::embedded
