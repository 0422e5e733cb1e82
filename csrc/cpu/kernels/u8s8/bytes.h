// The int8 kernels beside those of rows: panels, types of numbers, averages.
#pragma once
#include <cstring>

#include "kernels/tasks/bytes.h"
#include "kernels/vec/byte_vec.h"

namespace sovs::SOVS_ISA_NAMESPACE {

inline void taps(const TapsTask& task) {
    const Bytes zero = Bytes::all(task.zero);
    for (std::int32_t i = 0; i < task.column_count; ++i) {
        const std::int32_t t = task.columns[i];
        const std::uint8_t *from = task.line + task.shifts[t], *mask = task.masks + std::ptrdiff_t{t} * task.pixels;
        std::uint8_t* const column = task.panel + std::ptrdiff_t{t} * task.pixels;
        for (std::int32_t p = 0; p < task.pixels; p += Bytes::kCount)
            Bytes::blend(Bytes::load(mask + p), Bytes::load(from + p), zero).store(column + p);
    }
}

inline void part(const std::uint8_t* row, std::uint8_t* even, std::uint8_t* odd) { Bytes::load(row).part(even, odd); }

// Of numbers of any type but bytes: whole vectors of them.
template <typename Number>
inline void part(const Number* row, Number* even, Number* odd) {
    for (std::size_t i = 0; i < Bytes::kCount / 2 / sizeof(Number); ++i) {
        even[i] = row[2 * i];
        odd[i] = row[2 * i + 1];
    }
}

template <typename Number>
inline void phases(const PhasesTask& task) {
    constexpr int kNumber = sizeof(Number), kPart = Bytes::kCount / 2 / kNumber;
    const std::int32_t width = task.width / task.stride_w;
    const std::ptrdiff_t phase = task.phase_bytes / kNumber;
    for (std::int32_t y = 0; y < task.rows; ++y) {
        const Number* row = reinterpret_cast<const Number*>(task.line) + std::ptrdiff_t{y} * task.width;
        Number* to = reinterpret_cast<Number*>(task.phases) + y % task.stride_h * task.stride_w * phase +
                     std::ptrdiff_t{y / task.stride_h} * width;
        if (task.stride_w == 2) {
            for (std::int32_t x = 0; x < width; x += kPart) part(row + 2 * x, to + x, to + phase + x);
            continue;
        }
        for (std::int32_t x = 0; x < task.width; ++x) to[x % task.stride_w * phase + x / task.stride_w] = row[x];
    }
}

// Loops of a stride that is known become shuffles.
template <int kStride, typename Number>
inline void split_row(const Number* row, std::int32_t width, Number* to, std::ptrdiff_t pitch) {
    for (int phase = 0; phase < kStride; ++phase, to += pitch)
        for (std::int32_t x = phase, i = 0; x < width; x += kStride, ++i) to[i] = row[x];
}

template <typename Number>
inline void split(const SplitTask& task) {
    const auto* row = reinterpret_cast<const Number*>(task.line);
    auto* to = reinterpret_cast<Number*>(task.split);
    const std::ptrdiff_t pitch = task.pitch / static_cast<std::ptrdiff_t>(sizeof(Number));
    for (std::int32_t r = 0; r < task.rows; ++r, row += task.width, to += task.stride * pitch) {
        if (task.stride == 1)
            split_row<1>(row, task.width, to, pitch);
        else if (task.stride == 2)
            split_row<2>(row, task.width, to, pitch);
        else
            for (std::int32_t x = 0; x < task.width; ++x) to[x % task.stride * pitch + x / task.stride] = row[x];
    }
    const std::int32_t* source = task.sources;
    for (std::int32_t t = 0; t < task.taps; ++t) {
        std::uint8_t* column = task.panel + task.columns[t] * task.column_bytes;
        for (std::int32_t r = 0; r < task.run_count; ++r, ++source)
            for (std::int32_t i = 0; i < task.runs[r].count; i += Bytes::kCount)
                Bytes::load(task.split + *source + i).store(column + task.runs[r].lane + i);
    }
}

inline void quantize(const QuantizeTask& task) {
    const QuantizeTask t = task;  // which bytes that are stored might be part of
    const Floats inverse = Floats::all(t.inverse_scale), zero_point = Floats::all(t.zero_point);
    const Floats least = Floats::all(0.0f), most = Floats::all(255.0f);
    const auto quantized = [&](const float* from) {
        return Floats::max(Floats::min(Floats::load(from) * inverse + zero_point, most), least);
    };
    const std::int64_t whole = t.count / Floats::kCount * Floats::kCount, rest = t.count - whole;
    const float* row = t.from;
    std::uint8_t* out = t.to;
    for (std::int64_t r = 0; r < t.rows; ++r, row += t.from_stride, out += t.to_stride) {
        for (std::int64_t i = 0; i < whole; i += Floats::kCount) quantized(row + i).store(out + i);
        if (rest == 0) continue;
        float from[Floats::kCount] = {};
        std::uint8_t to[Floats::kCount];
        std::memcpy(from, row + whole, static_cast<std::size_t>(rest) * sizeof(float));
        quantized(from).store(to);
        std::memcpy(out + whole, to, static_cast<std::size_t>(rest));
    }
}

inline void dequantize(const DequantizeTask& task) {
    for (std::int64_t i = 0; i < task.count; ++i)
        task.to[i] = static_cast<float>(static_cast<std::int32_t>(task.from[i]) - task.zero_point) * task.scale;
}

inline void byte_pool_row(std::uint8_t* out, const std::uint8_t* upper, const std::uint8_t* lower,
                          std::int64_t pixels) {
    for (std::int64_t x = 0; x < pixels; ++x) {
        const int sum = (upper[2 * x] + upper[2 * x + 1]) + (lower[2 * x] + lower[2 * x + 1]);
        out[x] = static_cast<std::uint8_t>((sum + 2) >> 2);
    }
}

}  // namespace sovs::SOVS_ISA_NAMESPACE
