#include "vision/deformable_attention.h"

#include <algorithm>
#include <limits>
#include <memory>

#include "base/buffer_pool.h"
#include "base/error.h"
#include "kernels/isa.h"
#include "base/thread_pool.h"

namespace sovs {
namespace {

// Of one head: queries of a unit lie beside each other and sample cells that do, which then stay in the L2. Many enough for
// that, few enough to balance threads.
constexpr std::int64_t kQueries = 512;
// Queries of a kernel call: many, so that what one waits for from memory others wait for at the same time; its working memory
// still lies in the L1 or just beyond.
constexpr std::int64_t kBatch = 32;

std::int64_t cells(const DeformableSizes& s) {
    const DeformableLevel& last = s.levels.back();
    return last.first_cell + std::int64_t{last.h} * last.w;
}

std::int64_t samples_of(const DeformableSizes& s) { return static_cast<std::int64_t>(s.levels.size()) * s.points; }

// The maps of a head's samples, as the kernels read them.
struct Maps {
    std::vector<float> w, h;
    std::vector<std::int32_t> first_byte, row_bytes;

    Maps(const DeformableSizes& s, std::int64_t padded, std::int64_t cell_bytes) {
        const auto add = [&](const DeformableLevel& level) {
            w.push_back(static_cast<float>(level.w));
            h.push_back(static_cast<float>(level.h));
            first_byte.push_back(static_cast<std::int32_t>(level.first_cell * cell_bytes));
            row_bytes.push_back(static_cast<std::int32_t>(level.w * cell_bytes));
        };
        for (const DeformableLevel& level : s.levels)
            for (std::int64_t p = 0; p < s.points; ++p) add(level);
        while (static_cast<std::int64_t>(w.size()) < padded) add({1, 1, 0});
    }
    SampledMaps view() const { return {w.data(), h.data(), first_byte.data(), row_bytes.data()}; }
};

// References of an image's queries may be null, see DeformableTask.
struct Places {
    const float *references, *places, *shares;
    bool shared;  // whether all images have the same references
};

// One image's values as the kernels read them.
struct Values {
    const float* first;
    std::int64_t head_stride, cell_stride;  // floats
};

// Heads one after the other, (heads, cells, depth). Cells of a head in the order of the API lie `heads` times as far apart as
// they are long: few of a cache's sets would hold all that a head samples.
Values by_head(const DeformableSizes& s, const float* values, float* to, int threads) {
    constexpr std::int64_t kCells = 64;
    const std::int64_t count = cells(s), blocks = (count + kCells - 1) / kCells;
    parallel_for(static_cast<long>(blocks), threads, [&](long block) {
        const std::int64_t first = block * kCells, end = std::min(first + kCells, count);
        for (std::int64_t head = 0; head < s.heads; ++head)
            for (std::int64_t cell = first; cell < end; ++cell)
                std::copy_n(values + (cell * s.heads + head) * s.depth, s.depth, to + (head * count + cell) * s.depth);
    });
    return {to, count * s.depth, s.depth};
}

// Working memory of a kernel call.
class Memory {
public:
    Memory(std::int64_t samples, std::int64_t width)
        : samples_(samples),
          padded_((samples + width - 1) / width * width),
          indices_(static_cast<std::size_t>(kBatch * (5 * padded_ + 1))),
          floats_(static_cast<std::size_t>(kBatch * (10 * padded_ + width))) {}

    void lend(DeformableTask& task) {
        task.corners = indices_.data();
        task.listed = task.corners + kBatch * 4 * padded_;
        task.counts = task.listed + kBatch * padded_;
        task.parts = floats_.data() + kBatch * 3 * padded_;
        task.made = task.parts + kBatch * 4 * padded_;
    }

    // Kernels read whole vectors. Of the last queries' samples these would leave the tensor: moves them here, padded.
    void pad(DeformableTask& task) {
        float *const shares = floats_.data(), *const places = shares + kBatch * padded_;
        for (std::int32_t q = 0; q < task.queries; ++q) {
            std::copy_n(task.shares + q * task.share_stride, samples_, shares + q * padded_);
            std::copy_n(task.places + q * task.share_stride * 2, samples_ * 2, places + q * padded_ * 2);
        }
        task.shares = shares;
        task.places = places;
        task.share_stride = padded_;
    }

private:
    std::int64_t samples_, padded_;
    std::vector<std::int32_t> indices_;
    std::vector<float> floats_;
};

using Buffer = std::unique_ptr<void, decltype(&give_buffer)>;

void attend(const DeformableSizes& s, const float* values, const Places& given, float* out, int threads) {
    require(s.n > 0 && s.queries > 0 && s.heads > 0 && s.depth > 0 && s.points > 0,
            "expected batch sizes, queries, heads, channels and points of at least 1");
    // Kernels count bytes of values, and floats of their working memory, in an int32.
    constexpr std::int64_t kMostFloats = std::numeric_limits<std::int32_t>::max() / 2 / sizeof(float);
    require(s.heads <= kMostFloats / s.depth && s.heads * s.depth <= kMostFloats / cells(s),
            "expected values of less than 1 GB an image");
    const auto levels = static_cast<std::int64_t>(s.levels.size());
    require(s.points <= kMostFloats / (4 * kBatch) / levels, "expected fewer points");
    const KernelTable& table = kernels();
    const std::int64_t width = table.width, samples = samples_of(s), padded = (samples + width - 1) / width * width;
    const std::int64_t all_samples = s.n * s.queries * s.heads * samples;
    const std::int64_t channels = s.heads * s.depth, image = cells(s) * channels;
    const std::int64_t blocks = (s.queries + kQueries - 1) / kQueries;
    // Where fewer cells are sampled, moving all of them costs more than it saves.
    const bool moves = s.heads > 1 && s.queries * samples > 3 * cells(s);
    const Buffer moved(moves ? take_buffer(static_cast<std::size_t>(image) * sizeof(float)) : nullptr, give_buffer);
    for (std::int64_t i = 0; i < s.n; ++i) {
        const Values v = moves ? by_head(s, values + i * image, static_cast<float*>(moved.get()), threads)
                               : Values{values + i * image, s.depth, channels};
        const std::int64_t cell_bytes = v.cell_stride * static_cast<std::int64_t>(sizeof(float));
        const Maps maps(s, padded, cell_bytes);
        parallel_for(static_cast<long>(s.heads * blocks), threads, [&](long unit) {
            const std::int64_t head = unit / blocks, first = unit % blocks * kQueries;
            const std::int64_t end = std::min(first + kQueries, s.queries);
            Memory memory(samples, width);
            DeformableTask task{};
            task.values = v.first + head * v.head_stride;
            task.cell_bytes = static_cast<std::int32_t>(cell_bytes);
            task.maps = maps.view();
            task.levels = static_cast<std::int32_t>(levels);
            task.points = static_cast<std::int32_t>(s.points);
            task.depth = static_cast<std::int32_t>(s.depth);
            task.out_stride = channels;
            memory.lend(task);
            for (std::int64_t query = first; query < end; query += kBatch) {
                const std::int64_t row = i * s.queries + query, at = row * s.heads + head;
                task.queries = static_cast<std::int32_t>(std::min(kBatch, end - query));
                if (given.references) task.references = given.references + (given.shared ? query : row) * 2 * levels;
                task.places = given.places + at * samples * 2;
                task.shares = given.shares + at * samples;
                task.share_stride = s.heads * samples;
                const std::int64_t last = at + (task.queries - 1) * s.heads;
                if (last * samples + padded > all_samples) memory.pad(task);
                task.out = out + at * s.depth;
                table.deformable(task);
            }
        });
    }
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
    attend(s, values, {nullptr, locations, weights, false}, out, threads);
}

void deformable_attention(const DeformableSizes& s, const float* values, const DeformablePlaces& given, float* out,
                          int threads) {
    attend(s, values, {given.references, given.offsets, given.logits, given.shared}, out, threads);
}

}  // namespace sovs
