#include "conv/tune.h"

#include <algorithm>
#include <chrono>
#include <limits>

#include "base/bf16.h"
#include "base/buffer_pool.h"
#include "base/error.h"
#include "conv/backend.h"
#include "kernels/bf16_table.h"
#include "maps/map_tile.h"
#include "steps/copy_step.h"

namespace sovs {
namespace {

// What the timed units read and write: about the L2, as the maps that a strip works on.
constexpr std::int64_t kSliceBytes = 1 << 20;

void put(TensorDesc& map, MapPlace place, bool held_once) {
    switch (place) {
        case MapPlace::nchw: map.tile = TensorDesc::nchw(map.h, map.w); break;
        case MapPlace::nhwc: map.tile = TensorDesc::kNhwc; break;
        case MapPlace::tiled:
        case MapPlace::free: map.tile = tile_for(map, held_once); break;
    }
}

// The convolution before the plan lays out its maps.
ConvCase case_at(const std::shared_ptr<const Weights>& weights, const ConvParams& params, const ConvPlace& place) {
    require(place.n > 0 && place.h > 0 && place.w > 0, "expected input sizes of at least 1");
    const auto callers = [](MapPlace map) { return map == MapPlace::nchw || map == MapPlace::nhwc; };
    require(!place.alone || (callers(place.input) && callers(place.output)),
            "expected the caller's maps of a plan's only step");
    const WeightSizes& w = weights->sizes();
    const bool bytes = weights->dtype() == DType::s8;
    const DType dtype = bytes ? DType::u8 : place.dtype;
    if (dtype == DType::bf16) require_bf16_kernels();
    require(!bytes || !callers(place.input),
            "expected the plan's own input of s8 weights: those of callers are floats");
    require(dtype != DType::bf16 || (!callers(place.input) && !callers(place.output)),
            "expected the plan's own maps of bf16: those of callers are floats");
    TensorDesc input{place.n, w.in_channels * w.groups, place.h, place.w, TensorDesc::kNhwc};
    TensorDesc output = output_of(*weights, params, input, true);
    checked_shape(*weights, params, input, output);
    // What s8 weights make is timed as bytes: a caller's floats have a map of the plan's own before them.
    input.dtype = output.dtype = dtype;
    put(input, place.input, weights->held_once());
    put(output, bytes ? MapPlace::tiled : place.output, weights->held_once());
    return {.weights = weights,
            .params = params,
            .input = input,
            .output = output,
            .residual = place.residual,
            .free_maps = place.input == MapPlace::free && place.output == MapPlace::free,
            .alone = place.alone};
}

// And with its maps as its backend wants them.
ConvCase laid_out(ConvCase conv, const ConvBackend& backend) {
    if (const std::optional<Layouts> wanted = backend.layouts(conv)) {
        conv.input.tile = wanted->input;
        conv.output.tile = wanted->output;
    }
    return conv;
}

// A step, and its first units: as many as fit the slice.
struct Run {
    std::unique_ptr<const Step> step;
    long units = 0;
    std::int64_t pixels_read = 0, pixels_written = 0;
    double best = std::numeric_limits<double>::infinity();  // seconds

    Run(std::unique_ptr<const Step> made, const TensorDesc& input, const TensorDesc& output) : step(std::move(made)) {
        while (units < step->units()) {
            const std::int64_t read = step->reads(units, 0).end, written = step->writes(units).end;
            const std::int64_t numbers = read * input.c + written * output.c;
            if (units > 0 && numbers * static_cast<std::int64_t>(size_of(input.dtype)) > kSliceBytes) break;
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

// The first tiles of a map, all its numbers 1.
class Slice {
public:
    Slice(const TensorDesc& map, std::int64_t pixels)
        : tiles_(std::max<std::int64_t>(1, (pixels + map.tile - 1) / map.tile)),
          buffer_(take_buffer(map.bytes(tiles_)), give_buffer),
          map_(map, buffer_.get(), tiles_) {
        const std::size_t numbers = map.bytes(tiles_) / size_of(map.dtype);
        if (map.dtype == DType::u8)
            std::fill_n(map_.at<std::uint8_t>(0), numbers, std::uint8_t{1});
        else if (map.dtype == DType::bf16)
            std::fill_n(map_.at<std::uint16_t>(0), numbers, to_bf16(1.0f));
        else
            std::fill_n(map_.at(0), numbers, 1.0f);
    }
    const Map& map() const { return map_; }

private:
    std::int64_t tiles_;
    std::unique_ptr<void, void (*)(void*)> buffer_;
    Map map_;
};

// Seconds that each of these steps between two maps takes for the whole of them.
std::vector<double> time_steps(std::vector<std::unique_ptr<const Step>> steps, const TensorDesc& input,
                               const TensorDesc& output, int rounds) {
    std::vector<Run> runs;
    std::int64_t read = 0, written = 0;
    for (std::unique_ptr<const Step>& step : steps) {
        const Run& run = runs.emplace_back(std::move(step), input, output);
        read = std::max(read, run.pixels_read);
        written = std::max(written, run.pixels_written);
    }
    const Slice input_slice(input, read), output_slice(output, written);
    const StepMaps maps{{input_slice.map()}, output_slice.map()};
    for (int round = 0; round <= rounds; ++round)
        for (Run& run : runs) {
            run.time(maps);
            if (round == 0) run.best = std::numeric_limits<double>::infinity();  // it filled the caches
        }
    std::vector<double> seconds;
    for (const Run& run : runs)
        seconds.push_back(run.best * static_cast<double>(output.pixels()) / static_cast<double>(run.pixels_written));
    return seconds;
}

double time_copy(const TensorDesc& from, const TensorDesc& to, int rounds) {
    std::vector<std::unique_ptr<const Step>> copy;
    copy.push_back(std::make_unique<const CopyStep>(from, to));
    return time_steps(std::move(copy), from, to, rounds)[0];
}

}  // namespace

const char* conv_backend(const std::shared_ptr<const Weights>& weights, const ConvParams& params,
                         const ConvPlace& place) {
    return backend_for(case_at(weights, params, place)).name();
}

std::vector<Tuning> conv_candidates(const std::shared_ptr<const Weights>& weights, const ConvParams& params,
                                    const ConvPlace& place, std::size_t most) {
    const ConvCase conv = case_at(weights, params, place);
    const ConvBackend& backend = backend_for(conv);
    return backend.candidates(laid_out(conv, backend), most);
}

std::vector<double> time_conv(const std::shared_ptr<const Weights>& weights, const ConvParams& params,
                              const ConvPlace& place, const std::vector<Tuning>& tunings, int rounds) {
    require(rounds > 0, "expected at least 1 round");
    const ConvCase given = case_at(weights, params, place);
    const ConvBackend& backend = backend_for(given);
    const ConvCase conv = laid_out(given, backend);
    std::vector<std::unique_ptr<const Step>> steps;
    for (const Tuning& tuning : tunings) steps.push_back(backend.make(conv, tuning, 1));
    std::vector<double> seconds = time_steps(std::move(steps), conv.input, conv.output, rounds);
    if (conv.alone && backend.layouts(conv)) {
        const double copies = time_copy(given.input, conv.input, rounds) + time_copy(conv.output, given.output, rounds);
        for (double& s : seconds) s += copies;
    }
    return seconds;
}

}  // namespace sovs
