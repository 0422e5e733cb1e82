#include "plan/arena.h"

#include <algorithm>

namespace sovs {

std::size_t place_lives(std::vector<Life>& lives) {
    std::vector<Life*> order;
    for (Life& life : lives)
        if (life.born >= 0) order.push_back(&life);
    std::stable_sort(order.begin(), order.end(), [](const Life* a, const Life* b) { return a->bytes > b->bytes; });
    std::size_t arena = 0;
    std::vector<const Life*> placed;  // by place
    for (Life* mine : order) {
        for (const Life* rival : placed) {
            const bool together = rival->born <= mine->dead && mine->born <= rival->dead;
            if (together && rival->place < mine->place + mine->bytes && mine->place < rival->place + rival->bytes)
                mine->place = rival->place + rival->bytes;
        }
        arena = std::max(arena, mine->place + mine->bytes);
        const auto below = [](const Life* a, const Life* b) { return a->place < b->place; };
        placed.insert(std::upper_bound(placed.begin(), placed.end(), mine, below), mine);
    }
    return arena;
}

}  // namespace sovs
