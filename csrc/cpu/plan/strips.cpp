#include "plan/strips.h"

#include <algorithm>

namespace sovs {
namespace {

constexpr std::int64_t kNothing = std::numeric_limits<std::int64_t>::max();

// Units of a step from its first one that write all pixels before `pixel`.
long units_until(const Step& step, std::int64_t pixel) {
    long low = 0, high = step.units();
    while (low < high) {
        const long middle = (low + high) / 2;
        if (step.writes(middle).begin < pixel)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

// Plans a row of bands: how far each step is, and which pixels the others still need.
class Walk {
public:
    Walk(const std::vector<GroupStep>& steps, const std::vector<bool>& inner, std::size_t tensors)
        : steps_(steps), inner_(inner), need_(tensors), done_(steps.size(), -1), end_(steps.size(), 0) {}

    // Lets the steps that write outside maps go on to `part / parts` of their units, and the others as far as they need.
    std::vector<long> targets(double part) {
        std::fill(need_.begin(), need_.end(), 0);
        std::vector<long> target(steps_.size(), 0);
        for (int s = static_cast<int>(steps_.size()) - 1; s >= 0; --s) {
            const GroupStep& g = steps_[s];
            const long units = g.step->units();
            target[s] = inner_[g.output]
                            ? units_until(*g.step, need_[g.output])
                            : std::clamp(static_cast<long>(part * static_cast<double>(units) + 0.5), 0L, units);
            if (target[s] == 0) continue;
            for (std::size_t i = 0; i < g.inputs.size(); ++i) need(g.inputs[i], g.step->reads(target[s] - 1, i).end);
        }
        return target;
    }

    // The first unit of each step that what begins at `part`, and goes on to the end, needs.
    void begin(double part) {
        const std::vector<long> last = targets(1.0);
        std::vector<std::int64_t> first(need_.size(), kNothing);
        for (int s = static_cast<int>(steps_.size()) - 1; s >= 0; --s) {
            const GroupStep& g = steps_[s];
            const long units = g.step->units();
            if (!inner_[g.output]) {
                done_[s] = std::clamp(static_cast<long>(part * static_cast<double>(units) + 0.5), 0L, units);
            } else {
                done_[s] =
                    first[g.output] == kNothing ? last[s] : std::max(0L, units_until(*g.step, first[g.output] + 1) - 1);
            }
            end_[s] = last[s];
            if (done_[s] >= last[s]) continue;
            for (std::size_t i = 0; i < g.inputs.size(); ++i)
                first[g.inputs[i]] = std::min(first[g.inputs[i]], g.step->reads(done_[s], i).begin);
        }
    }

    // Runs every step up to its target, in order; notes how many tiles of each inner map live at once.
    void advance(const std::vector<long>& target, const std::vector<TensorDesc>& tensors, std::vector<StripRun>& runs,
                 std::map<int, std::int64_t>& slots) {
        for (std::size_t s = 0; s < steps_.size(); ++s) {
            if (target[s] <= done_[s]) continue;
            const GroupStep& g = steps_[s];
            if (inner_[g.output]) {
                std::int64_t oldest = g.step->writes(done_[s]).begin;
                for (std::size_t reader = s + 1; reader < steps_.size(); ++reader) {
                    const GroupStep& r = steps_[reader];
                    if (done_[reader] >= end_[reader]) continue;
                    for (std::size_t i = 0; i < r.inputs.size(); ++i)
                        if (r.inputs[i] == g.output) oldest = std::min(oldest, r.step->reads(done_[reader], i).begin);
                }
                const TensorDesc& map = tensors[g.output];
                std::int64_t tiles = (g.step->writes(target[s] - 1).end + map.tile - 1) / map.tile - oldest / map.tile;
                // Pixel-major rings hold whole rows, so that no row is torn.
                if (map.pixel_major()) tiles = (tiles + map.w - 1) / map.w * map.w;
                slots[g.output] = std::max(slots[g.output], std::min(tiles, map.tiles()));
            }
            runs.push_back({static_cast<int>(s), done_[s], target[s]});
            done_[s] = target[s];
        }
    }

private:
    void need(int tensor, std::int64_t end) { need_[tensor] = std::max(need_[tensor], end); }

    const std::vector<GroupStep>& steps_;
    const std::vector<bool>& inner_;
    std::vector<std::int64_t> need_;
    std::vector<long> done_, end_;  // units of each step: run so far, and all that are needed
};

}  // namespace

StripSchedule schedule_strips(const std::vector<GroupStep>& steps, const std::vector<TensorDesc>& tensors,
                              const std::vector<bool>& inner, int bands, int strips_a_band, int threads) {
    StripSchedule made;
    for (const GroupStep& g : steps)
        if (inner[g.output]) made.slots[g.output] = 1;
    const auto strips = [&](Walk& walk, int band, std::vector<StripRun>& runs) {
        for (int strip = 1; strip <= strips_a_band; ++strip)
            walk.advance(walk.targets((band + static_cast<double>(strip) / strips_a_band) / bands), tensors, runs,
                         made.slots);
    };
    Walk whole(steps, inner, tensors.size());
    whole.begin(0.0);
    for (int b = 0; b < bands; ++b) {
        Band band;
        strips(whole, b, band.onward);
        Walk from_here(steps, inner, tensors.size());
        from_here.begin(static_cast<double>(b) / bands);
        strips(from_here, b, band.fresh);
        made.bands.push_back(std::move(band));
    }
    double written = 0.0, wanted = 0.0;  // numbers
    for (const GroupStep& g : steps) wanted += static_cast<double>(tensors[g.output].pixels() * tensors[g.output].c);
    for (int b = 0; b < bands; ++b)
        for (const StripRun& run : b % (bands / threads) == 0 ? made.bands[b].fresh : made.bands[b].onward) {
            const GroupStep& g = steps[run.step];
            const std::int64_t pixels = g.step->writes(run.end - 1).end - g.step->writes(run.begin).begin;
            written += static_cast<double>(pixels * tensors[g.output].c);
        }
    made.repeated = written / wanted - 1.0;
    return made;
}

}  // namespace sovs
