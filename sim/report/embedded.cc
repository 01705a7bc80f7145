#include "sim/report/embedded.h"

#include <cstddef>

#include "sim/report/embed_file.h"

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
