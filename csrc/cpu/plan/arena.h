// Memory that maps share which are never needed at the same time.
#pragma once
#include <cstddef>
#include <vector>

namespace sovs {

// A map: the first and the last stage that touch it, its size, and its place in the arena, both in bytes.
struct Life {
    int born = -1, dead = -1;
    std::size_t bytes = 0, place = 0;
};

// Sets the places of all that are born, the largest first, each at the lowest place that is free while it lives; returns
// the bytes of the arena.
std::size_t place_lives(std::vector<Life>& lives);

}  // namespace sovs
