#include "vision/decide_masks.h"

#include <algorithm>

#include "vision/upsampled_rows.h"
#include "base/error.h"
#include "vision/masked_classes.h"
#include "base/thread_pool.h"

namespace sovs {
namespace {

struct Columns {
    std::int64_t begin, end;
};

// One thread's rows of a window, for some columns of the input.
class WindowRows {
public:
    // stride: floats of a row, whole vectors, of the most columns that are asked for.
    WindowRows(const MaskedClasses& classes, std::int64_t stride)
        : classes_(classes), stride_(stride), wide_(classes.queries(), classes.across(), stride) {
        panel_.reserve(classes.panel_floats());
    }

    void start(const Columns& columns) {
        const MaskWindow& window = classes_.window();
        begin_ = std::max(columns.begin, window.left);
        width_ = std::max<std::int64_t>(std::min(columns.end, window.left + window.w) - begin_, 0);
        if (width_ > 0) wide_.start(begin_ - window.left, width_, 0);
    }

    std::int64_t begin() const { return begin_; }
    std::int64_t width() const { return width_; }
    bool covers(std::int64_t y) const {
        const MaskWindow& window = classes_.window();
        return width_ > 0 && y >= window.top && y < window.top + window.h;
    }

    // (classes padded to fours, stride): of a row of the input that the window covers.
    void scores(std::int64_t y, float* out) {
        const Between at = between(y);
        classes_.add_up(at.upper, at.lower, at.weight, width_, stride_, panel_.data(), out);
    }

    // (queries, stride).
    void logits(std::int64_t y, float* out) {
        const Between at = between(y);
        kernels().mask_row({at.upper, at.lower, stride_, at.weight, classes_.queries(), width_, false, out, stride_});
    }

private:
    struct Between {
        const float *upper, *lower;
        float weight;
    };

    Between between(std::int64_t y) {
        const auto at = static_cast<std::size_t>(y - classes_.window().top);
        const Places& down = classes_.down();
        const float* upper = wide_.row(down.first[at], down.second[at], classes_.logits());
        return {upper, wide_.row(down.second[at], down.first[at], classes_.logits()), down.weight[at]};
    }

    const MaskedClasses& classes_;
    const std::int64_t stride_;
    UpsampledRows wide_;
    AlignedBuffer<float> panel_;
    std::int64_t begin_ = 0, width_ = 0;
};

// The columns of the input that a strip of the image reads.
Columns input_columns(const Places& across, std::int64_t left, std::int64_t width) {
    return {across.first[static_cast<std::size_t>(left)],
            across.second[static_cast<std::size_t>(left + width - 1)] + 1};
}

// What all threads share.
struct Pass {
    const std::vector<MaskedClasses>& windows;
    const std::int64_t classes;
    const Places &across, &down;      // from the image to the input
    const std::int64_t stride;        // floats of a strip's rows at the image
    const std::int64_t input_stride;  // and at the input
    const Decisions& to;

    std::size_t padded_classes() const { return static_cast<std::size_t>((classes + 3) / 4 * 4); }
};

// Calls row(y, left, width, upper, lower, weight) for every row of a band of the image, strip by strip, with the rows of
// the input above and below it upsampled to the strip. source: see UpsampledRows; start(columns) comes before each strip.
template <typename Start, typename Source, typename Row>
void upsample_band(const Pass& pass, std::int64_t planes, std::int64_t top, std::int64_t bottom, const Start& start,
                   const Source& source, const Row& row) {
    UpsampledRows wide(planes, pass.across, pass.stride);
    for (std::int64_t left = 0; left < pass.to.w; left += pass.stride) {
        const std::int64_t width = std::min(pass.stride, pass.to.w - left);
        const Columns columns = input_columns(pass.across, left, width);
        start(columns);
        wide.start(left, width, columns.begin);
        for (std::int64_t y = top; y < bottom; ++y) {
            const auto at = static_cast<std::size_t>(y);
            const float* upper = wide.row(pass.down.first[at], pass.down.second[at], source);
            const float* lower = wide.row(pass.down.second[at], pass.down.first[at], source);
            row(y, left, width, upper, lower, pass.down.weight[at]);
        }
    }
}

// Rows of scores at the input, the mean over the windows that cover a pixel.
class MeanScores {
public:
    explicit MeanScores(const Pass& pass)
        : pass_(pass), total_(pass.padded_classes() * stride()), part_(pass.padded_classes() * stride()) {
        for (const MaskedClasses& window : pass.windows) windows_.emplace_back(window, pass.input_stride);
    }

    void start(const Columns& columns) {
        columns_ = columns;
        for (WindowRows& window : windows_) window.start(columns);
    }

    // (classes, input_stride), from the first column on.
    const float* row(std::int64_t y) {
        const auto whole = [&](const WindowRows& w) {
            return w.begin() == columns_.begin && w.width() == columns_.end - columns_.begin;
        };
        if (windows_.size() == 1 && windows_[0].covers(y) && whole(windows_[0])) {
            windows_[0].scores(y, total_.data());
            return total_.data();
        }
        const std::int64_t width = columns_.end - columns_.begin;
        counts_.assign(static_cast<std::size_t>(width), 0.0f);
        for (std::int64_t k = 0; k < pass_.classes; ++k)
            std::fill_n(total_.data() + k * pass_.input_stride, width, 0.0f);
        for (WindowRows& window : windows_) {
            if (!window.covers(y)) continue;
            const std::int64_t shift = window.begin() - columns_.begin;
            window.scores(y, part_.data());
            for (std::int64_t x = 0; x < window.width(); ++x) counts_[static_cast<std::size_t>(shift + x)] += 1.0f;
            for (std::int64_t k = 0; k < pass_.classes; ++k) {
                float* to = total_.data() + k * pass_.input_stride + shift;
                const float* from = part_.data() + k * pass_.input_stride;
                for (std::int64_t x = 0; x < window.width(); ++x) to[x] += from[x];
            }
        }
        for (float& count : counts_) count = std::max(count, 1.0f);
        for (std::int64_t k = 0; k < pass_.classes; ++k) {
            float* to = total_.data() + k * pass_.input_stride;
            for (std::int64_t x = 0; x < width; ++x) to[x] /= counts_[static_cast<std::size_t>(x)];
        }
        return total_.data();
    }

private:
    std::size_t stride() const { return static_cast<std::size_t>(pass_.input_stride); }

    const Pass& pass_;
    std::vector<WindowRows> windows_;
    AlignedBuffer<float> total_, part_;  // (classes padded to fours, input_stride)
    std::vector<float> counts_;          // windows by column
    Columns columns_{};
};

void decide_at_input(const Pass& pass, std::int64_t top, std::int64_t bottom) {
    MeanScores scores(pass);
    DecisionRows decisions(pass.to, pass.classes, pass.stride, false);
    upsample_band(
        pass, pass.classes, top, bottom, [&](const Columns& columns) { scores.start(columns); },
        [&](std::int32_t y) {
            const float* row = scores.row(y);
            return [&pass, row](std::int64_t k) { return row + k * pass.input_stride; };
        },
        [&](std::int64_t y, std::int64_t left, std::int64_t width, const float* upper, const float* lower,
            float weight) { decisions.write(y, left, width, upper, lower, weight); });
}

void decide_at_image(const Pass& pass, std::int64_t top, std::int64_t bottom) {
    const MaskedClasses& window = pass.windows.front();
    WindowRows rows(window, pass.input_stride);
    AlignedBuffer<float> logits(static_cast<std::size_t>(window.queries() * pass.input_stride));
    AlignedBuffer<float> panel(window.panel_floats()),
        scores(pass.padded_classes() * static_cast<std::size_t>(pass.stride));
    DecisionRows decisions(pass.to, pass.classes, pass.stride, false);
    upsample_band(
        pass, window.queries(), top, bottom, [&](const Columns& columns) { rows.start(columns); },
        [&](std::int32_t y) {
            rows.logits(y, logits.data());
            return [&](std::int64_t query) { return logits.data() + query * pass.input_stride; };
        },
        [&](std::int64_t y, std::int64_t left, std::int64_t width, const float* upper, const float* lower,
            float weight) {
            window.add_up(upper, lower, weight, width, pass.stride, panel.data(), scores.data());
            decisions.write(y, left, width, scores.data(), scores.data(), 0.0f);
        });
}

}  // namespace

void decide_masks(const std::vector<MaskWindow>& windows, std::int64_t classes, std::int64_t input_h,
                  std::int64_t input_w, MaskedAt masked_at, const Decisions& to, int threads) {
    require(classes > 0 && input_h > 0 && input_w > 0 && to.h > 0 && to.w > 0,
            "expected classes and pixels of at least 1");
    require(classes < (1 << 24), "expected fewer than 2^24 classes");  // kernels count them in floats
    require(!windows.empty(), "expected at least 1 window");
    require(masked_at == MaskedAt::input || windows.size() == 1,
            "expected one window where masks are upsampled to the image");
    std::int64_t most_queries = 0;
    std::vector<MaskedClasses> prepared;
    for (const MaskWindow& w : windows) {
        require(w.logits != nullptr && w.probabilities != nullptr, "expected logits and probabilities, got NULL");
        require(w.top >= 0 && w.left >= 0 && w.h > 0 && w.w > 0 && w.grid_h > 0 && w.grid_w > 0 && w.queries > 0,
                "expected queries, cells and pixels of at least 1 in every window, within the input");
        require(masked_at == MaskedAt::input || (w.top == 0 && w.left == 0 && w.h >= input_h && w.w >= input_w),
                "expected a window over the whole image");
        require(w.queries < (1 << 20), "expected fewer than 2^20 queries");  // offsets within a panel are 32 bits wide
        prepared.emplace_back(w, classes);
        most_queries = std::max(most_queries, prepared.back().queries());
    }
    const Places across(input_w, to.w), down(input_h, to.h);
    // Columns of the input by columns of the image, in a strip's memory: two rows of logits and one of results at the
    // input, two of results at the image.
    const double scale = std::max(1.0, static_cast<double>(input_w) / static_cast<double>(to.w));
    const std::int64_t results = masked_at == MaskedAt::input ? classes : most_queries;
    const auto floats =
        static_cast<std::int64_t>(scale * static_cast<double>(2 * most_queries + results)) + 2 * results;
    const std::int64_t stride = strip_columns(std::max<std::int64_t>(floats, 1), to.w), vector = kernels().width;
    std::int64_t most_columns = 0;
    for (std::int64_t left = 0; left < to.w; left += stride) {
        const Columns columns = input_columns(across, left, std::min(stride, to.w - left));
        most_columns = std::max(most_columns, columns.end - columns.begin);
    }
    const Pass pass{prepared, classes, across, down, stride, (most_columns + vector - 1) / vector * vector, to};
    const std::int64_t bands = band_count(to.h, threads);
    parallel_for(static_cast<long>(bands), threads, [&](long band) {
        const std::int64_t top = to.h * band / bands, bottom = to.h * (band + 1) / bands;
        if (masked_at == MaskedAt::input)
            decide_at_input(pass, top, bottom);
        else
            decide_at_image(pass, top, bottom);
    });
}

}  // namespace sovs
