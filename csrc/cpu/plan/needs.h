// Which units of the stages before it a unit of a plan waits for: those that write the pixels it reads.
#pragma once
#include "base/stage_work.h"
#include "plan/stages.h"

namespace sovs {

// Units of a stage are its bands, or else the parts of its step's units, those of a unit in a row. open: how many stages
// may run at a time.
Stages stages_with_needs(const Network& network, const std::vector<Stage>& stages, int open);

}  // namespace sovs
