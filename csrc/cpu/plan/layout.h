// How a plan's maps lie in memory: which of the caller's get a twin inside, and the tiles of those inside.
#pragma once
#include "plan/network.h"

namespace sovs {

// Steps work on tiles of the plan's own: the caller's maps that take part in residual adds, or that are read again, get
// a twin inside. One step alone works on the caller's maps, unless it adds a residual of another layout or wants
// layouts for which copies pay.
void copy_outside_maps(Network& network);

// Settles the tiles of the maps inside.
void choose_tiles(Network& network);

}  // namespace sovs
