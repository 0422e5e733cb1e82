#include "conv/tune.h"

#include <algorithm>
#include <chrono>
#include <limits>

#include "base/buffer_pool.h"
#include "conv/depthwise_step.h"
#include "base/error.h"
#include "kernels/isa.h"
#include "maps/map_tile.h"
#include "conv/winograd_step.h"

namespace sovs {
namespace {

// What the timed units read and write: about the L2, as the maps that a strip works on.
constexpr std::int64_t kSliceBytes = 1 << 20;

struct Maps {
    TensorDesc input, output;
    bool winograd() const { return input.pixel_major() && output.pixel_major(); }
};

Maps maps_of(const Weights& weights, const ConvParams& p, const ConvPlace& place) {
    const WeightSizes& w = weights.sizes();
    require(place.n > 0 && place.h > 0 && place.w > 0, "expected input sizes of at least 1");
    require(p.stride_h > 0 && p.stride_w > 0, "expected strides of at least 1");
    const ConvShape shape{w.out_channels, w.in_channels, w.kernel_h, w.kernel_w, w.groups,
                          p.stride_h, p.stride_w, p.pad_h, p.pad_w, p.dilation_h, p.dilation_w};
    Maps maps{{place.n, w.in_channels * w.groups, place.h, place.w, 1},
              {place.n, w.out_channels, shape.out_h(place.h), shape.out_w(place.w), 1}};
    checked_shape(weights, p, maps.input, maps.output);
    if (!place.pixel_major || !WinogradStep::fits(weights, p))
        for (TensorDesc* map : {&maps.input, &maps.output}) map->tile = tile_for(*map, weights.held_once());
    return maps;
}

std::unique_ptr<const Step> make_step(const std::shared_ptr<const Weights>& weights, const ConvParams& params,
                                      const Maps& maps, const Tuning& tuning) {
    if (DepthwiseStep::fits(*weights, params))
        return std::make_unique<const DepthwiseStep>(weights, params, maps.input, maps.output);
    if (maps.winograd())
        return std::make_unique<const WinogradStep>(weights, params, maps.input, maps.output);
    return std::make_unique<const ConvStep>(weights, params, maps.input, maps.output, tuning, 1);
}

// A step, and its first units: as many as fit the slice.
struct Run {
    std::unique_ptr<const Step> step;
    long units = 0;
    std::int64_t pixels_read = 0, pixels_written = 0;
    double best = std::numeric_limits<double>::infinity();  // seconds

    Run(std::unique_ptr<const Step> made, const Maps& maps) : step(std::move(made)) {
        while (units < step->units()) {
            const std::int64_t read = step->reads(units).end, written = step->writes(units).end;
            const auto floats = static_cast<std::int64_t>(read * maps.input.c + written * maps.output.c);
            if (units > 0 && floats * static_cast<std::int64_t>(sizeof(float)) > kSliceBytes) break;
            pixels_read = std::max(pixels_read, read);
            pixels_written = written;
            ++units;
        }
    }

    void time(const StepMaps& maps) {
        const auto start = std::chrono::steady_clock::now();
        for (long unit = 0; unit < units; ++unit)
            for (int part = 0; part < step->parts(); ++part) step->run(unit, part, maps);
        best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    }
};

std::int64_t tiles_until(const TensorDesc& map, std::int64_t pixel) {
    return std::max<std::int64_t>(1, (pixel + map.tile - 1) / map.tile);
}

}  // namespace

std::vector<Tuning> conv_candidates(const std::shared_ptr<const Weights>& weights, const ConvParams& params,
                                    const ConvPlace& place, std::size_t most) {
    const Maps maps = maps_of(*weights, params, place);
    if (maps.winograd() || DepthwiseStep::fits(*weights, params)) return {Tuning{}};
    return candidate_tunings(checked_shape(*weights, params, maps.input, maps.output), maps.input,
                             {weights->density(), weights->sizes().block_rows, {}, weights->held_once()}, kernels(), most);
}

std::vector<double> time_conv(const std::shared_ptr<const Weights>& weights, const ConvParams& params,
                              const ConvPlace& place, const std::vector<Tuning>& tunings, int rounds) {
    require(rounds > 0, "expected at least 1 round");
    const Maps maps = maps_of(*weights, params, place);
    std::vector<Run> runs;
    std::int64_t read = 0, written = 0;
    for (const Tuning& tuning : tunings) {
        const Run& run = runs.emplace_back(make_step(weights, params, maps, tuning), maps);
        read = std::max(read, run.pixels_read);
        written = std::max(written, run.pixels_written);
    }
    // Only the tiles that the slice touches.
    const auto tiles_in = tiles_until(maps.input, read), tiles_out = tiles_until(maps.output, written);
    const auto floats_of = [](const TensorDesc& map, std::int64_t tiles) {
        return static_cast<std::size_t>(tiles * map.tile * map.c);
    };
    const std::unique_ptr<void, void (*)(void*)> input(take_buffer(floats_of(maps.input, tiles_in) * sizeof(float)), give_buffer);
    const std::unique_ptr<void, void (*)(void*)> output(take_buffer(floats_of(maps.output, tiles_out) * sizeof(float)), give_buffer);
    std::fill_n(static_cast<float*>(input.get()), floats_of(maps.input, tiles_in), 1.0f);
    StepMaps step_maps;
    step_maps.input = Map(maps.input, static_cast<float*>(input.get()), tiles_in);
    step_maps.output = Map(maps.output, static_cast<float*>(output.get()), tiles_out);
    for (int round = 0; round <= rounds; ++round)
        for (Run& run : runs) {
            run.time(step_maps);
            if (round == 0) run.best = std::numeric_limits<double>::infinity();  // it filled the caches
        }
    std::vector<double> seconds;
    for (const Run& run : runs)
        seconds.push_back(run.best * static_cast<double>(maps.output.pixels()) / static_cast<double>(run.pixels_written));
    return seconds;
}

}  // namespace sovs
