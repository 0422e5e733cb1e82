// Chooses the kernels that this CPU runs, once per process.
#pragma once
#include <string>

#include "kernels/kernel_table.h"

namespace sovs {

// The widest ISA that the CPU has, or the one that SPARSE_OVS_ISA names. Throws InvalidArgument where that one is
// unknown to this build or missing in this CPU.
const KernelTable& kernels();

// Comma-separated names, widest first.
const std::string& available_isas();

}  // namespace sovs
