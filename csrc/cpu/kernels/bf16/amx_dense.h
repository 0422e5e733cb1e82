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

inline void amx_dense(const Bf16DenseTask& task) {
    static const TileShapes shapes;
    _tile_loadconfig(&shapes);
    alignas(64) float start[2][16][16], sums[2][2][16][16];  // (rows / 16, half of the pixels, 16 rows, 16 pixels)
    for (std::int32_t block = task.first; block < task.first + task.blocks; ++block) {
        const std::int64_t channel = std::int64_t{kTileRows} * block;
        for (int r = 0; r < kTileRows; ++r)
            _mm512_store_ps(start[r / 16][r % 16], _mm512_set1_ps(task.bias[channel + r]));
        for (std::int32_t v = 0; v < task.vectors; ++v) {
            const Bf16Epilogue epilogue = further(task.epilogue, v);
            const auto* weights =
                reinterpret_cast<const std::uint8_t*>(task.weights + std::ptrdiff_t{2 * kTileRows} * block * task.pairs);
            const std::uint8_t* panel = task.panel + v * task.panel_bytes;
            _tile_loadd(0, start[0], 64);
            _tile_loadd(1, start[0], 64);
            _tile_loadd(2, start[1], 64);
            _tile_loadd(3, start[1], 64);
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
            _tile_stored(0, sums[0][0], 64);
            _tile_stored(1, sums[0][1], 64);
            _tile_stored(2, sums[1][0], 64);
            _tile_stored(3, sums[1][1], 64);
            for (int r = 0; r < kTileRows && channel + r < task.channels; ++r) {
                Floats row[1][2] = {{Floats::load(sums[r / 16][0][r % 16]), Floats::load(sums[r / 16][1][r % 16])}};
                leave<1>(epilogue, channel + r, row);
            }
        }
    }
    _tile_release();
}

}  // namespace sovs::SOVS_ISA_NAMESPACE
