// The motif that dna-tal1 is drawn from, so that its tests need no data set: TAL1::TCF3, MA0091.1
// of JASPAR (jaspar.elixir.no, CC BY 4.0), as ENCODE's file of motifs writes it (Kheradpour and
// Kellis 2014, doi:10.1093/nar/gkt1249).

#ifndef CONSILIUM_TESTS_SIM_DATASETS_TAL1_MOTIF_H_
#define CONSILIUM_TESTS_SIM_DATASETS_TAL1_MOTIF_H_

namespace consilium {

inline constexpr char kTal1Motif[] =
    ">TAL1_known5\tTAL1_5\tTAL1::TCF3_jaspar_MA0091.1\n"
    "N 0.295455 0.318182 0.181818 0.204545\n"
    "V 0.204545 0.227273 0.454545 0.113636\n"
    "A 0.886364 0.000000 0.068182 0.045455\n"
    "M 0.454545 0.545455 0.000000 0.000000\n"
    "C 0.000000 0.977273 0.022727 0.000000\n"
    "A 1.000000 0.000000 0.000000 0.000000\n"
    "K 0.000000 0.022727 0.250000 0.727273\n"
    "M 0.272727 0.727273 0.000000 0.000000\n"
    "T 0.000000 0.000000 0.000000 1.000000\n"
    "G 0.000000 0.000000 0.977273 0.022727\n"
    "K 0.000000 0.068182 0.454545 0.477273\n"
    "T 0.090909 0.090909 0.045455 0.772727\n";

}  // namespace consilium

#endif  // CONSILIUM_TESTS_SIM_DATASETS_TAL1_MOTIF_H_
