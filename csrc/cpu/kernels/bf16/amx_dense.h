// The bf16 inner loop of dense rows on AMX: 32 output channels times 32 pixels in four tiles of sums.
#pragma once
#include <immintrin.h>

#include "kernels/bf16/bf16_dense.h"

namespace sovs::SOVS_ISA_NAMESPACE {

// How the tile registers are cut, as the instruction that sets them reads it: all into 16 rows of 64 bytes.
struct alignas(64) TileShapes {
    std::uint8_t palette = 1, start_row = 0, reserved[14] = {};
    std::uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
    std::uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};

inline constexpr int kTileRows = 32, kTilePairs = 16;
inline constexpr int kTileBytes = 1024;

// Tiles of sums lie one after the other: (rows / 16, half of the pixels).
inline void amx_part(const Bf16DenseTask& task, const Bf16Part& part) {
    if (task.begins) {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
    } else {
        _tile_loadd(0, part.sums, 64);
        _tile_loadd(1, part.sums + 256, 64);
        _tile_loadd(2, part.sums + 512, 64);
        _tile_loadd(3, part.sums + 768, 64);
    }
    const auto* weights = reinterpret_cast<const std::uint8_t*>(part.weights);
    const std::uint8_t* panel = part.panel;
    for (std::int32_t k = 0; k < task.pairs; k += kTilePairs) {
        _tile_loadd(4, weights, 64);
        _tile_loadd(6, panel, 2 * kByteLine);
        _tile_loadd(7, panel + kByteLine, 2 * kByteLine);
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
        _tile_loadd(5, weights + kTileBytes, 64);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
        weights += 2 * kTileBytes;
        panel += 2 * kTileBytes;
    }
    _tile_stored(0, part.sums, 64);
    _tile_stored(1, part.sums + 256, 64);
    _tile_stored(2, part.sums + 512, 64);
    _tile_stored(3, part.sums + 768, 64);
}

inline void leave_part(const Bf16DenseTask& task, const Bf16Part& part) {
    for (int r = 0; r < kTileRows && part.channel + r < task.channels; ++r) {
        const Floats bias = Floats::all(task.bias[part.channel + r]);
        Floats row[1][2] = {{Floats::load(part.sums + r / 16 * 512 + r % 16 * 16) + bias,
                             Floats::load(part.sums + r / 16 * 512 + 256 + r % 16 * 16) + bias}};
        leave<1>(part.epilogue, part.channel + r, row);
    }
}

inline void amx_dense(const Bf16DenseTask& task) {
    static const TileShapes shapes;
    _tile_loadconfig(&shapes);
    each_part<kTileRows>(task, [&](const Bf16Part& part) {
        amx_part(task, part);
        if (task.ends) leave_part(task, part);
    });
    _tile_release();
}

}  // namespace sovs::SOVS_ISA_NAMESPACE
