#include "plan/stages.h"

#include <algorithm>

#include "base/aligned.h"

namespace sovs {
namespace {

// Strips: maps below kNearBytes stay in the caches anyway; a strip's part of the largest map; what a band may hold of all
// the maps of a stage; the share of outputs that threads may compute twice; how many bands threads can take from each other.
constexpr std::size_t kNearBytes = 1 << 20, kStripBytes = 64 << 10, kRingBytes = 4 << 20;
constexpr double kMostRepeated = 0.05;
constexpr int kBandsAThread = 8;

std::size_t bytes_of(const TensorDesc& map) { return map.bytes(map.tiles()); }

// Maps that only the steps [first, last) touch.
std::vector<bool> maps_within(const Network& network, int first, int last) {
    std::vector<bool> within(network.maps.size(), true);
    for (std::size_t map = 0; map < network.maps.size(); ++map)
        within[map] = !network.is_outside(static_cast<int>(map));
    for (int s = 0; s < static_cast<int>(network.steps.size()); ++s) {
        if (s >= first && s < last) continue;
        for (const int input : network.steps[s].inputs) within[input] = false;
        within[network.steps[s].output] = false;
    }
    return within;
}

// The steps after which at most one map is live (was written, and has a reader to come): the ends of blocks.
std::vector<int> block_ends(const Network& network) {
    const int count = static_cast<int>(network.steps.size());
    std::vector<int> last_read(network.maps.size(), -1);
    for (int s = 0; s < count; ++s)
        for (const int input : network.steps[s].inputs) last_read[input] = s;
    std::vector<int> ends;
    for (int s = 0; s < count; ++s) {
        int live = 0;
        for (int written = 0; written <= s; ++written)
            if (last_read[network.steps[written].output] > s) ++live;
        if (live <= 1) ends.push_back(s + 1);
    }
    return ends;
}

// Whether a step of [first, last) reads a map that another of them makes for steps behind them too. Strips may not: what
// others read is written in even parts, whatever is needed of it meanwhile.
bool reads_what_others_read(const Network& network, int first, int last) {
    const std::vector<bool> within = maps_within(network, first, last);
    for (int reader = first; reader < last; ++reader)
        for (const int input : network.steps[reader].inputs)
            for (int maker = first; maker < reader; ++maker)
                if (network.steps[maker].output == input && !within[input]) return true;
    return false;
}

// Steps [first, last) as strips, or a stage without any where they do not pay.
Stage strip_stage(const Network& network, int first, int last, int threads) {
    Stage stage{first, last, {}, {}, 0};
    std::vector<GroupStep> group;
    for (int s = first; s < last; ++s) {
        const PlanStep& step = network.steps[s];
        if (!step.step->local()) return stage;
        group.push_back({step.step.get(), step.inputs, step.output});
    }
    const std::vector<bool> inner = maps_within(network, first, last);
    std::size_t largest = 0;
    for (const GroupStep& g : group)
        if (inner[g.output]) largest = std::max(largest, bytes_of(network.maps[g.output]));
    if (largest < kNearBytes) return stage;
    const auto strips = static_cast<int>(largest / kStripBytes / static_cast<std::size_t>(threads)) + 1;
    // One thread has nobody to share with.
    const int bands_a_thread = threads > 1 ? kBandsAThread : 1;
    StripSchedule schedule = schedule_strips(group, network.maps, inner, bands_a_thread * threads,
                                             (strips + bands_a_thread - 1) / bands_a_thread, threads);
    std::map<int, std::size_t> places;
    std::size_t bytes = 0;
    for (const auto& [map, slots] : schedule.slots) {
        places[map] = bytes;
        bytes += whole_lines(network.maps[map].bytes(slots));
    }
    if (bytes > kRingBytes || schedule.repeated > kMostRepeated) return stage;
    stage.strips = std::move(schedule);
    stage.places = std::move(places);
    stage.band_bytes = bytes;
    return stage;
}

}  // namespace

std::size_t whole_lines(std::size_t bytes) { return (bytes + kCacheLine - 1) / kCacheLine * kCacheLine; }

std::vector<Stage> make_stages(const Network& network, int threads) {
    std::vector<Stage> stages;
    const std::vector<int> ends = block_ends(network);
    int first = 0;
    while (first < static_cast<int>(network.steps.size())) {
        Stage best{first, first + 1, {}, {}, 0};
        for (const int end : ends) {
            if (end <= first + 1 || reads_what_others_read(network, first, end)) continue;
            Stage longer = strip_stage(network, first, end, threads);
            if (longer.strips.bands.empty()) break;
            best = std::move(longer);
        }
        first = best.last;
        stages.push_back(std::move(best));
    }
    return stages;
}

}  // namespace sovs
