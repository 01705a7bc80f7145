// Electric energy that this machine's processor packages took, by the counters of Linux's powercap
// (Intel's and AMD's RAPL): of the whole machine, its other work included.
//
// A counter begins again at 0 after some 20 minutes to hours, and says so nowhere: whoever measures
// for longer calls Sample in between.
//
// Threads: one call at a time.

#ifndef CONSILIUM_SIM_ENGINE_ENERGY_METER_H_
#define CONSILIUM_SIM_ENGINE_ENERGY_METER_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace consilium {

class EnergyMeter {
 public:
  // Begins to measure. `powercap`: the folder that has a folder for each counter. Virtual machines
  // have none, and many systems let only root read them: then there is nothing to tell.
  explicit EnergyMeter(const std::string& powercap = "/sys/class/powercap");

  void Sample();
  // Joules from the construction to the last Sample; absent where no counter could be read, or one
  // of them not each time.
  std::optional<double> joules() const;

 private:
  struct Counter {
    std::string path;
    uint64_t microjoules_max = 0;  // After which it begins again.
    uint64_t last_microjoules = 0;
  };

  std::vector<Counter> packages_;
  uint64_t microjoules_ = 0;
  bool is_whole_ = true;
};

}  // namespace consilium

#endif  // CONSILIUM_SIM_ENGINE_ENERGY_METER_H_
