#include "deformable_attention.h"

#include <algorithm>
#include <limits>

#include "error.h"
#include "isa.h"
#include "thread_pool.h"

namespace sovs {
namespace {

// Queries of a unit: few enough to balance threads, many enough that handing them out costs nothing.
constexpr std::int64_t kQueries = 128;
// Cells of the largest map in a tile of queries: what they sample around themselves, in all maps, stays in the L2.
constexpr std::int64_t kTileW = 16, kTileH = 8;

std::int64_t cells(const DeformableSizes& s) {
    const DeformableLevel& last = s.levels.back();
    return last.first_cell + std::int64_t{last.h} * last.w;
}

std::int64_t samples_of(const DeformableSizes& s) { return static_cast<std::int64_t>(s.levels.size()) * s.points; }

void check(const DeformableSizes& s) {
    require(s.n > 0 && s.queries > 0 && s.heads > 0 && s.depth > 0 && s.points > 0,
            "expected batch sizes, queries, heads, channels and points of at least 1");
    // Offsets in bytes to the cells around a map, which none reads, must fit in an int32 too.
    constexpr std::int64_t kMostFloats = std::numeric_limits<std::int32_t>::max() / 2 / sizeof(float);
    require(s.heads <= kMostFloats / s.depth && s.heads * s.depth <= kMostFloats / cells(s),
            "expected values of less than 1 GB an image");
    require(s.points <= kMostFloats / 4 / static_cast<std::int64_t>(s.levels.size()), "expected fewer points");
    require(s.queries <= std::numeric_limits<std::int32_t>::max(), "expected fewer than 2^31 queries");
}

// Queries tile by tile of the picture: neighbours sample the same cells. Rows of a large map are longer than the L2 can hold.
// `where(query)` is a pointer to x and y in [0, 1].
template <class Where>
std::vector<std::int32_t> tile_order(const DeformableSizes& s, const Where& where) {
    const auto largest = std::max_element(s.levels.begin(), s.levels.end(), [](const auto& a, const auto& b) {
        return std::int64_t{a.h} * a.w < std::int64_t{b.h} * b.w;
    });
    const std::int64_t across = (largest->w + kTileW - 1) / kTileW, down = (largest->h + kTileH - 1) / kTileH;
    const auto part = [](float place, std::int64_t parts) {
        const float at = place * static_cast<float>(parts), last = static_cast<float>(parts - 1);
        return static_cast<std::size_t>(at > 0.0f ? (at < last ? at : last) : 0.0f);  // NaN is in the first one
    };
    std::vector<std::int32_t> tile(static_cast<std::size_t>(s.queries)), order(tile.size());
    std::vector<std::int32_t> first(static_cast<std::size_t>(across * down + 1), 0);
    for (std::size_t q = 0; q < tile.size(); ++q) {
        const float* at = where(static_cast<std::int64_t>(q));
        const std::size_t made = part(at[1], down) * static_cast<std::size_t>(across) + part(at[0], across);
        tile[q] = static_cast<std::int32_t>(made);
        ++first[made + 1];
    }
    for (std::size_t t = 1; t < first.size(); ++t) first[t] += first[t - 1];
    for (std::size_t q = 0; q < tile.size(); ++q)
        order[static_cast<std::size_t>(first[static_cast<std::size_t>(tile[q])]++)] = static_cast<std::int32_t>(q);
    return order;
}

// `place(image, query, row, made, task)` gives a task its locations and weights; the row counts heads of queries of images,
// and `made` holds 3 floats for each sample of a row.
template <class Place>
void attend(const DeformableSizes& s, const std::vector<std::int32_t>& order, const float* values, float* out, int threads,
            const Place& place) {
    const KernelTable& table = kernels();
    const std::int64_t image = cells(s) * s.heads * s.depth, samples = samples_of(s);
    const std::int64_t blocks = (s.queries + kQueries - 1) / kQueries;
    parallel_for(static_cast<long>(s.n * blocks), threads, [&](long unit) {
        const std::int64_t i = unit / blocks, first = unit % blocks * kQueries;
        std::vector<Entry> entries(static_cast<std::size_t>(4 * samples));
        std::vector<float> made(static_cast<std::size_t>(3 * samples));
        DeformableTask task{nullptr,
                            static_cast<std::int32_t>(s.heads * s.depth * sizeof(float)),
                            s.levels.data(),
                            static_cast<std::int32_t>(s.levels.size()),
                            static_cast<std::int32_t>(s.points),
                            static_cast<std::int32_t>(s.depth),
                            nullptr,
                            nullptr,
                            entries.data(),
                            nullptr};
        for (std::int64_t k = first; k < std::min(first + kQueries, s.queries); ++k)
            for (std::int64_t head = 0; head < s.heads; ++head) {
                const std::int64_t query = order[static_cast<std::size_t>(k)];
                const std::int64_t at = (i * s.queries + query) * s.heads + head;
                task.values = values + i * image + head * s.depth;
                task.out = out + at * s.depth;
                place(i, query, at, made.data(), task);
                table.deformable(task);
            }
    });
}

}  // namespace

std::vector<DeformableLevel> deformable_levels(const std::int64_t* shapes, std::size_t count) {
    constexpr std::int64_t kMost = std::numeric_limits<std::int32_t>::max();
    std::vector<DeformableLevel> levels;
    std::int64_t first = 0;
    for (std::size_t l = 0; l < count; ++l, shapes += 2) {
        const std::int64_t h = shapes[0], w = shapes[1];
        require(h > 0 && w > 0, "expected levels of at least 1 row and 1 column");
        require(h <= kMost / w && h * w <= kMost - first, "expected fewer than 2^31 cells");
        levels.push_back(
            {static_cast<std::int32_t>(h), static_cast<std::int32_t>(w), static_cast<std::int32_t>(first)});
        first += h * w;
    }
    return levels;
}

void deformable_attention(const DeformableSizes& s, const float* values, const float* locations, const float* weights,
                          float* out, int threads) {
    check(s);
    const std::int64_t samples = samples_of(s);
    // By the first image's first points.
    const auto order = tile_order(s, [&](std::int64_t query) { return locations + query * s.heads * samples * 2; });
    attend(s, order, values, out, threads, [&](std::int64_t, std::int64_t, std::int64_t at, float*, DeformableTask& task) {
        task.locations = locations + at * samples * 2;
        task.weights = weights + at * samples;
    });
}

void deformable_attention(const DeformableSizes& s, const float* values, const DeformablePlaces& given, float* out,
                          int threads) {
    check(s);
    const std::int64_t samples = samples_of(s), references = 2 * static_cast<std::int64_t>(s.levels.size());
    const KernelTable& table = kernels();
    const auto order = tile_order(s, [&](std::int64_t query) { return given.references + query * references; });
    attend(s, order, values, out, threads,
           [&](std::int64_t i, std::int64_t query, std::int64_t at, float* made, DeformableTask& task) {
        const std::int64_t row = (given.shared ? 0 : i * s.queries) + query;
        table.places({task.levels, task.level_count, task.points, given.references + row * references,
                      given.offsets + at * samples * 2, given.logits + at * samples, made,
                      made + 2 * samples});
        task.locations = made;
        task.weights = made + 2 * samples;
    });
}

}  // namespace sovs
