#include "plan/needs.h"

#include <algorithm>

namespace sovs {
namespace {

// What a unit writes of a map, or reads.
struct MapRange {
    int map;
    Range pixels;
};

bool has_bands(const Stage& stage) { return !stage.strips.bands.empty(); }

// What a step's units [begin, end) read.
void add_reads(const Network& network, const PlanStep& s, long begin, long end, std::vector<MapRange>& reads) {
    for (std::size_t i = 0; i < s.inputs.size(); ++i) {
        const TensorDesc& map = network.maps[s.inputs[i]];
        Range range{0, map.pixels()};
        if (s.step->local()) range = {s.step->reads(begin, i).begin, s.step->reads(end - 1, i).end};
        reads.push_back({s.inputs[i], range});
    }
}

// By unit of a stage; the parts of a step's unit read and write alike and are told once.
struct StageMaps {
    int parts = 1;
    std::vector<std::vector<MapRange>> reads, writes;
};

StageMaps maps_of_bands(const Network& network, const Stage& stage) {
    StageMaps made;
    for (const Band& band : stage.strips.bands) {
        std::vector<MapRange>& reads = made.reads.emplace_back();
        std::vector<MapRange>& writes = made.writes.emplace_back();
        for (const std::vector<StripRun>* runs : {&band.fresh, &band.onward})
            for (const StripRun& run : *runs) {
                const PlanStep& s = network.steps[stage.first + run.step];
                add_reads(network, s, run.begin, run.end, reads);
                writes.push_back({s.output, {s.step->writes(run.begin).begin, s.step->writes(run.end - 1).end}});
            }
        const auto is_inner = [&](const MapRange& range) { return stage.places.contains(range.map); };
        std::erase_if(reads, is_inner);
        std::erase_if(writes, is_inner);
    }
    return made;
}

StageMaps maps_of_step(const Network& network, const PlanStep& s) {
    StageMaps made;
    made.parts = s.step->parts();
    for (long unit = 0; unit < s.step->units(); ++unit) {
        add_reads(network, s, unit, unit + 1, made.reads.emplace_back());
        made.writes.push_back({{s.output, s.step->writes(unit)}});
    }
    return made;
}

// Of a stage, from the first to the last unit that writes any of these pixels; none where no unit does.
UnitRange writers(const StageMaps& maps, int stage, const MapRange& read) {
    const auto meets = [&](const std::vector<MapRange>& writes) {
        return std::any_of(writes.begin(), writes.end(), [&](const MapRange& written) {
            return written.map == read.map && written.pixels.begin < read.pixels.end &&
                   read.pixels.begin < written.pixels.end;
        });
    };
    const auto first = std::find_if(maps.writes.begin(), maps.writes.end(), meets);
    if (first == maps.writes.end()) return {stage, 0, 0};
    const auto end = std::find_if(maps.writes.rbegin(), maps.writes.rend(), meets).base();
    return {stage, (first - maps.writes.begin()) * maps.parts, (end - maps.writes.begin()) * maps.parts};
}

}  // namespace

Stages stages_with_needs(const Network& network, const std::vector<Stage>& stages, int open) {
    Stages made;
    made.open = open;
    std::vector<StageMaps> all;
    for (const Stage& stage : stages) {
        const StageMaps& maps = all.emplace_back(has_bands(stage) ? maps_of_bands(network, stage)
                                                                  : maps_of_step(network, network.steps[stage.first]));
        made.units.push_back(static_cast<long>(maps.reads.size()) * maps.parts);
    }
    if (open == 1) return made;
    for (int number = 0; number < static_cast<int>(stages.size()); ++number) {
        std::vector<std::vector<UnitRange>>& needs = made.needs.emplace_back();
        for (const std::vector<MapRange>& reads : all[number].reads) {
            std::vector<UnitRange> of_unit;
            for (int before = std::max(0, number - open + 1); before < number; ++before)
                for (const MapRange& read : reads) {
                    const UnitRange range = writers(all[before], before, read);
                    if (range.begin < range.end) of_unit.push_back(range);
                }
            needs.insert(needs.end(), static_cast<std::size_t>(all[number].parts), of_unit);
        }
    }
    return made;
}

}  // namespace sovs
