#include "plan/layout.h"

#include <algorithm>

#include "maps/map_tile.h"
#include "steps/copy_step.h"

namespace sovs {
namespace {

bool contains(const std::vector<int>& maps, int map) { return std::find(maps.begin(), maps.end(), map) != maps.end(); }

// Every residual lies in the tiles of the map that it is added to, as steps need it.
bool adds_in_one_layout(const Network& network) {
    return std::all_of(network.steps.begin(), network.steps.end(), [&](const PlanStep& step) {
        return step.added() < 0 || network.maps[step.added()].tile == network.maps[step.output].tile;
    });
}

// The caller's maps that get a twin.
std::vector<int> maps_to_copy(const Network& network) {
    std::vector<int> twins;
    if (network.steps.size() == 1) {
        const PlanStep& step = network.steps[0];
        if (step.operation->layouts(network.place_of(step, false))) {
            twins = step.inputs;
            twins.push_back(step.output);
        } else if (adds_in_one_layout(network)) {
            return {};
        }
    }
    for (const PlanStep& step : network.steps) {
        if (step.added() >= 0) twins.insert(twins.end(), {step.added(), step.output});
        if (step.operation->writes_lines()) twins.push_back(step.output);
        for (const int input : step.inputs)
            if (contains(network.outputs, input)) twins.push_back(input);
    }
    std::erase_if(twins, [&](int map) { return !network.is_outside(map); });
    std::sort(twins.begin(), twins.end());
    twins.erase(std::unique(twins.begin(), twins.end()), twins.end());
    return twins;
}

// The maps that lie in the tiles of bytes whatever their numbers: steps write whole lines to them, or they are added to such.
std::vector<bool> maps_in_lines(const Network& network) {
    std::vector<bool> in_lines(network.maps.size(), false);
    for (const PlanStep& step : network.steps)
        if (step.operation->writes_lines()) in_lines[step.output] = true;
    for (bool grew = true; grew;) {
        grew = false;
        for (const PlanStep& step : network.steps) {
            const int added = step.added();
            if (added < 0 || in_lines[added] == in_lines[step.output]) continue;
            in_lines[added] = in_lines[step.output] = grew = true;
        }
    }
    return in_lines;
}

}  // namespace

bool Network::is_outside(int map) const { return contains(inputs, map) || contains(outputs, map); }

StepPlace Network::place_of(const PlanStep& step, bool free_maps) const {
    StepPlace place{{}, maps[step.output], free_maps, steps.size() == 1};
    for (const int input : step.inputs) place.inputs.push_back(maps[input]);
    return place;
}

void copy_outside_maps(Network& network) {
    std::vector<PlanStep>& steps = network.steps;
    for (const int outside : maps_to_copy(network)) {
        const int twin = static_cast<int>(network.maps.size());
        network.maps.push_back(network.maps[outside]);
        const bool given = contains(network.inputs, outside);
        for (PlanStep& step : steps) {
            std::replace(step.inputs.begin(), step.inputs.end(), outside, twin);
            if (step.output == outside) step.output = twin;
        }
        auto place = steps.begin();
        if (!given) place = std::find_if(place, steps.end(), [&](const PlanStep& s) { return s.output == twin; }) + 1;
        const int record = given ? 0 : (place - 1)->record;
        steps.insert(
            place, PlanStep{std::make_shared<const Copy>(), {given ? outside : twin}, given ? twin : outside, record});
    }
}

void choose_tiles(Network& network) {
    if (network.steps.size() < 2) return;
    std::vector<bool> added_to(network.maps.size(), false);
    for (const PlanStep& step : network.steps)
        if (step.added() >= 0) added_to[step.added()] = added_to[step.output] = true;
    const std::vector<bool> in_lines = maps_in_lines(network);
    const bool same_for_all = std::any_of(network.steps.begin(), network.steps.end(),
                                          [](const PlanStep& step) { return step.operation->wants_same_tiles(); });
    for (int map = 0; map < static_cast<int>(network.maps.size()); ++map)
        if (!network.is_outside(map))
            network.maps[map].tile = in_lines[map] ? line_tile_for(network.maps[map], same_for_all)
                                                   : tile_for(network.maps[map], same_for_all);
    for (const PlanStep& step : network.steps) {
        const auto is_free = [&](int map) { return !network.is_outside(map) && !added_to[map] && !in_lines[map]; };
        if (!is_free(step.inputs[0]) || !is_free(step.output)) continue;
        const std::optional<Layouts> wanted = step.operation->layouts(network.place_of(step, true));
        if (!wanted) continue;
        network.maps[step.inputs[0]].tile = wanted->input;
        network.maps[step.output].tile = wanted->output;
    }
}

}  // namespace sovs
