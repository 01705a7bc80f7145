#include "sim/engine/energy_meter.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "tests/fakes/temp_folder.h"

namespace consilium {
namespace {

// A folder as Linux shows it.
class EnergyMeterTest : public testing::Test {
 protected:
  void AddCounter(const std::string& folder, const std::string& name, const std::string& max) {
    std::filesystem::create_directory(folder_.File(folder));
    Write(folder + "/name", name);
    Write(folder + "/max_energy_range_uj", max);
  }
  void Write(const std::string& file, const std::string& text) {
    std::ofstream(folder_.File(file)) << text << "\n";
  }
  std::string powercap() { return folder_.path(); }

  TempFolder folder_;
};

TEST_F(EnergyMeterTest, AddsWhatThePackagesTook) {
  AddCounter("intel-rapl:0", "package-0", "262143328850");
  AddCounter("intel-rapl:1", "package-1", "262143328850");
  AddCounter("intel-rapl:0:0", "core", "262143328850");
  AddCounter("intel-rapl:2", "psys", "262143328850");
  AddCounter("intel-rapl-mmio:0", "package-0", "262143328850");
  for (const char* folder :
       {"intel-rapl:0", "intel-rapl:1", "intel-rapl:0:0", "intel-rapl:2", "intel-rapl-mmio:0"}) {
    Write(std::string(folder) + "/energy_uj", "1000000");
  }
  EnergyMeter meter(powercap());
  EXPECT_EQ(meter.joules(), 0);
  Write("intel-rapl:0/energy_uj", "3500000");
  Write("intel-rapl:1/energy_uj", "1250000");
  Write("intel-rapl:0:0/energy_uj", "9000000");
  Write("intel-rapl:2/energy_uj", "9000000");
  Write("intel-rapl-mmio:0/energy_uj", "9000000");
  meter.Sample();
  EXPECT_DOUBLE_EQ(*meter.joules(), 2.75);
  meter.Sample();
  EXPECT_DOUBLE_EQ(*meter.joules(), 2.75);
}

TEST_F(EnergyMeterTest, GoesOnWhereACounterBeginsAgain) {
  AddCounter("intel-rapl:0", "package-0", "10000000");
  Write("intel-rapl:0/energy_uj", "9000000");
  EnergyMeter meter(powercap());
  Write("intel-rapl:0/energy_uj", "500000");
  meter.Sample();
  EXPECT_DOUBLE_EQ(*meter.joules(), 1.5);
  Write("intel-rapl:0/energy_uj", "1500000");
  meter.Sample();
  EXPECT_DOUBLE_EQ(*meter.joules(), 2.5);
}

TEST_F(EnergyMeterTest, TellsNothingWhereItCanNotReadThemAll) {
  EXPECT_EQ(EnergyMeter(folder_.File("missing")).joules(), std::nullopt);
  EXPECT_EQ(EnergyMeter(powercap()).joules(), std::nullopt);
  AddCounter("intel-rapl:0", "package-0", "10000000");
  Write("intel-rapl:0/energy_uj", "1");
  EXPECT_EQ(EnergyMeter(powercap()).joules(), 0);
  AddCounter("intel-rapl:1", "package-1", "10000000");
  EXPECT_EQ(EnergyMeter(powercap()).joules(), std::nullopt);
  Write("intel-rapl:1/energy_uj", "no number");
  EXPECT_EQ(EnergyMeter(powercap()).joules(), std::nullopt);
  Write("intel-rapl:1/energy_uj", "5");
  EnergyMeter meter(powercap());
  EXPECT_EQ(meter.joules(), 0);
  std::filesystem::remove(folder_.File("intel-rapl:1/energy_uj"));
  meter.Sample();
  EXPECT_EQ(meter.joules(), std::nullopt);
}

}  // namespace
}  // namespace consilium
