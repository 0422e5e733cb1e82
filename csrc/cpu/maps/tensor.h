// Activation maps: their sizes and types, and where in memory each number lies.
//
// The pixels of all images are numbered in a row, (n, y, x). A map stores them in tiles: the `tile` pixels of one
// channel side by side, then the next channel, then the next tile. One tile an image is NCHW, one pixel a tile is NHWC;
// tiles in between keep what a convolution reads and writes together, and need no copy to be multiplied. Maps of u8 and
// bf16 live inside plans alone, channel by channel: a tile of one pixel has nothing of NHWC there.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>

#include "base/byte_line.h"
#include "base/dtype.h"

namespace sovs {

// What an integer of a map stands for: scale * (integer - zero_point). Not read where numbers are floats.
struct Quant {
    float scale = 1.0f;
    std::int32_t zero_point = 0;

    bool operator==(const Quant&) const = default;
};

struct TensorDesc {
    std::int64_t n, c, h, w;
    std::int64_t tile;
    DType dtype = DType::f32;
    Quant quant{};

    static std::int64_t nchw(std::int64_t h, std::int64_t w) { return h * w; }
    static constexpr std::int64_t kNhwc = 1;

    std::int64_t image_pixels() const { return h * w; }
    std::int64_t pixels() const { return n * h * w; }
    std::int64_t tiles() const { return (pixels() + tile - 1) / tile; }
    // Whether channels lie in whole cache lines: those of narrow numbers do.
    bool in_lines() const { return size_of(dtype) < sizeof(float); }
    // Of maps in lines: numbers of one, and the least whole lines that hold so many pixels.
    std::int64_t line() const { return kByteLine / static_cast<std::int64_t>(size_of(dtype)); }
    std::int64_t whole_lines(std::int64_t pixels) const { return (pixels + line() - 1) / line() * line(); }
    // Numbers from one channel of a tile to the next one.
    std::int64_t pitch() const { return in_lines() ? whole_lines(tile) : tile; }
    bool pixel_major() const { return tile == kNhwc && !in_lines(); }
    bool same_shape(const TensorDesc& other) const {
        return n == other.n && c == other.c && h == other.h && w == other.w;
    }
    // Of `count` tiles in memory.
    std::size_t bytes(std::int64_t count) const {
        return static_cast<std::size_t>(count * pitch() * c) * size_of(dtype);
    }
};

// A map in memory. Where only its last tiles are kept, they lie in a ring of `slots` tiles. Strides are in numbers.
struct Map {
    std::byte* data = nullptr;
    std::int64_t channels = 0, tile = 1, pitch = 1, slots = 1;

    Map() = default;
    Map(const TensorDesc& desc, void* data, std::int64_t slots)
        : data(static_cast<std::byte*>(data)), channels(desc.c), tile(desc.tile), pitch(desc.pitch()), slots(slots) {}

    // Channel 0 of a pixel. Number is the type that the map's description names.
    template <typename Number = float>
    Number* at(std::int64_t pixel) const {
        return reinterpret_cast<Number*>(data) + pixel / tile % slots * (channels * pitch) + pixel % tile;
    }
    std::ptrdiff_t channel_stride() const { return pitch; }
    std::ptrdiff_t pixel_stride() const { return tile == TensorDesc::kNhwc ? channels : 1; }
    // Pixels from this one on that lie pixel_stride apart.
    std::int64_t run(std::int64_t pixel) const {
        return tile == TensorDesc::kNhwc ? slots - pixel % slots : tile - pixel % tile;
    }
};

}  // namespace sovs
