// How a plan's maps lie in memory: which of the caller's get a twin inside, and the tiles of those inside.
#include <algorithm>

#include "maps/map_tile.h"
#include "plan/plan.h"
#include "conv/winograd_step.h"

namespace sovs {

bool Plan::is_outside(int id) const {
    return std::find(inputs_.begin(), inputs_.end(), id) != inputs_.end() ||
           std::find(outputs_.begin(), outputs_.end(), id) != outputs_.end();
}

// Winograd's scheme alone, between copies to its layout and back, is faster than any other dense 3x3 kernel.
bool Plan::is_one_winograd() const {
    constexpr std::int64_t kFewestChannels = 64;  // that pay for the copies
    if (steps_.size() != 1 || steps_[0].kind != Kind::conv || steps_[0].residual >= 0) return false;
    const PlanStep& step = steps_[0];
    const WeightSizes& sizes = step.weights->sizes();
    return std::min(sizes.in_channels, sizes.out_channels) >= kFewestChannels && WinogradStep::fits(*step.weights, step.params);
}

// Every residual lies in the tiles of the map that it is added to, as steps need it.
bool Plan::adds_in_one_layout() const {
    return std::all_of(steps_.begin(), steps_.end(), [&](const PlanStep& step) {
        return step.kind != Kind::conv || step.residual < 0 || tensors_[step.residual].tile == tensors_[step.output].tile;
    });
}

// Steps work on tiles of the plan's own: the caller's maps that take part in residual adds, or that are read again, get
// a twin inside. One step alone works on the caller's maps, but where it adds a residual of another layout.
void Plan::copy_outside_maps() {
    std::vector<int> twins;
    if (is_one_winograd())
        twins = {steps_[0].input, steps_[0].output};
    else if (steps_.size() < 2 && adds_in_one_layout())
        return;
    for (const PlanStep& step : steps_) {
        if (step.residual >= 0) twins.insert(twins.end(), {step.residual, step.output});
        twins.push_back(std::find(outputs_.begin(), outputs_.end(), step.input) != outputs_.end() ? step.input : -1);
    }
    std::erase_if(twins, [&](int id) { return id < 0 || !is_outside(id); });
    std::sort(twins.begin(), twins.end());
    twins.erase(std::unique(twins.begin(), twins.end()), twins.end());
    for (const int outside : twins) {
        const int twin = add_tensor(tensors_[outside]);
        const bool given = std::find(inputs_.begin(), inputs_.end(), outside) != inputs_.end();
        for (PlanStep& step : steps_)
            for (int* id : {&step.input, &step.residual, &step.output})
                if (*id == outside) *id = twin;
        auto place = steps_.begin();
        if (!given)
            place = std::find_if(place, steps_.end(), [&](const PlanStep& s) { return s.output == twin; }) + 1;
        PlanStep copy{Kind::copy, given ? outside : twin, -1, given ? twin : outside, 0, nullptr, {}, {}, nullptr};
        copy.added = given ? 0 : (place - 1)->added;
        steps_.insert(place, std::move(copy));
    }
}

void Plan::choose_tiles() {
    if (steps_.size() < 2) return;
    std::vector<bool> added_to(tensors_.size(), false);
    for (const PlanStep& step : steps_)
        if (step.residual >= 0) added_to[step.residual] = added_to[step.output] = true;
    const bool held_once = std::any_of(steps_.begin(), steps_.end(), [](const PlanStep& step) {
        return step.weights != nullptr && step.weights->held_once();
    });
    for (int id = 0; id < static_cast<int>(tensors_.size()); ++id)
        if (!is_outside(id)) tensors_[id].tile = tile_for(tensors_[id], held_once);
    for (const PlanStep& step : steps_) {
        if (step.kind != Kind::conv || is_outside(step.input) || is_outside(step.output)) continue;
        if (added_to[step.input] || added_to[step.output] || !WinogradStep::fits(*step.weights, step.params)) continue;
        tensors_[step.input].tile = tensors_[step.output].tile = TensorDesc::kNhwc;
    }
}

}  // namespace sovs
