// What deformable attention computes: samples of a pyramid of maps.
#pragma once
#include <cstddef>
#include <cstdint>

namespace sovs {

// One map of a pyramid whose cells lie row by row, map after map.
struct DeformableLevel {
    std::int32_t h, w;
    std::int32_t first_cell;
};

// The map that each sample of a query and head meets: (levels, points), padded with maps of one cell to whole vectors.
struct SampledMaps {
    const float *w, *h;
    const std::int32_t *first_byte, *row_bytes;  // of its first cell, and between its rows
};

// One head of a run of queries: out = sum over levels and points of weight * the bilinear sample of values at the point's
// location. Cells outside a map count as zeros and are not read; a location that is not finite gives NaN.
// Where `references` is null, `places` are locations, x and y in [0, 1] within the map, and `shares` weights. Else they are
// offsets in cells from the reference of the query in the map, and logits, whose softmax over levels and points gives the
// weights. Both are readable for whole vectors: masked loads of rows that are not in a cache are slow.
struct DeformableTask {
    const float* values;      // first channel of the head in the first cell
    std::int32_t cell_bytes;  // between cells; all cells lie within 1 GB
    SampledMaps maps;
    std::int32_t levels, points, depth;  // depth: channels of the head
    std::int32_t queries;
    const float* references;      // (queries, levels, 2): x, y in [0, 1]; or null
    const float* places;          // (levels, points, 2) of the first query
    const float* shares;          // (levels, points) of the first query
    std::ptrdiff_t share_stride;  // floats between queries of `shares`; those of `places` are twice as far apart
    float* out;                   // (depth,) of the first query
    std::ptrdiff_t out_stride;
    // Working memory, where S is the number of samples padded to whole vectors:
    std::int32_t* corners;  // (queries, S / width, 4, width): bytes from `values` to a cell
    float* parts;           // as `corners`: the cell's weight
    std::int32_t* listed;   // (queries, S): where the first corners lie of the samples that meet a cell
    std::int32_t* counts;   // (queries,): how many do
    float* made;            // (queries, 3 S + width): places in pixels, x and y; weights where there are references
};

}  // namespace sovs
