// Which backend computes a convolution: what the tuner times is what plans run, wherever it stands in them.
#include <cstring>
#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "records.h"

namespace {

constexpr std::int64_t kSide = 6;

using Generator = std::mt19937;

template <class T>
T pick(Generator& g, std::initializer_list<T> values) {
    return *(values.begin() + g() % values.size());
}

// A convolution that keeps the sizes of its map.
struct Layer {
    int input, residual, output;  // maps; residual: -1 for none
    sovs_conv2d_params params;
    sovs_weights* weights;
};

// Convolutions of random kinds that read any map before them.
struct Net {
    std::vector<Layer> layers;
    std::vector<sovs_layout> layouts;  // by map; 0 is the input
    std::set<int> outputs;

    std::int64_t channels;

    explicit Net(unsigned seed) {
        Generator g(seed);
        channels = pick<std::int64_t>(g, {15, 16, 32, 64, 80});
        const int count = pick(g, {1, 2, 3, 4});
        for (int map = 0; map <= count; ++map) layouts.push_back(pick(g, {SOVS_NCHW, SOVS_NHWC}));
        for (int map = 1; map <= count; ++map) {
            const auto before = [&] { return static_cast<int>(g() % static_cast<unsigned>(map)); };
            layers.push_back({before(), g() % 4 == 0 ? before() : -1, map, {}, nullptr});
            make(layers.back(), channels, g);
            if (map == count || g() % 4 == 0) outputs.insert(map);
        }
    }
    ~Net() {
        for (const Layer& layer : layers) sovs_weights_destroy(layer.weights);
    }
    Net(const Net&) = delete;

    static void make(Layer& layer, std::int64_t channels, Generator& g) {
        const auto kernel = pick<std::int64_t>(g, {1, 3, 3});
        const std::int64_t groups = g() % 4 == 0 ? channels : 1;
        layer.params = {sizeof(sovs_conv2d_params),
                        1,
                        1,
                        kernel / 2,
                        kernel / 2,
                        1,
                        1,
                        pick<std::int64_t>(g, {SOVS_NONE, SOVS_RELU, SOVS_GELU, SOVS_QUICK_GELU, SOVS_RELU6})};
        const std::int64_t columns = kernel * kernel * channels / groups;
        if (g() % 3 > 0) {
            const std::vector<float> weight(channels * columns, 0.5f);
            const sovs_weights_desc desc{sizeof desc,   channels, channels / groups, kernel,  kernel,
                                         groups,        0,        nullptr,           nullptr, 0,
                                         weight.data(), SOVS_F32, nullptr,           nullptr};
            CHECK(sovs_weights_create(&desc, &layer.weights) == SOVS_OK);
            return;
        }
        // One weight a row.
        std::vector<std::int32_t> row_ptr;
        for (std::int32_t row = 0; row <= channels; ++row) row_ptr.push_back(row);
        const std::vector<std::int32_t> indices(channels, 0);
        const std::vector<float> values(channels, 0.5f);
        const sovs_weights_desc desc{sizeof desc,   channels, channels / groups, kernel,         kernel,
                                     groups,        1,        row_ptr.data(),    indices.data(), 32,
                                     values.data(), SOVS_F32, nullptr,           nullptr};
        CHECK(sovs_weights_create(&desc, &layer.weights) == SOVS_OK);
    }

    bool is_outside(int map) const { return map == 0 || outputs.count(map) > 0; }

    // As sparse_ovs.h says it.
    sovs_map_place place_of(int map) const {
        const auto callers = layouts[map] == SOVS_NCHW ? SOVS_MAP_NCHW : SOVS_MAP_NHWC;
        if (layers.size() == 1) return callers;
        bool read = false;
        for (const Layer& layer : layers) {
            if (layer.residual >= 0 && (layer.residual == map || layer.output == map)) return SOVS_MAP_TILED;
            read = read || layer.input == map;
        }
        return map == 0 || (is_outside(map) && !read) ? callers : SOVS_MAP_FREE;
    }

    std::string backend_of(const Layer& layer) const {
        const sovs_conv2d_place place{sizeof place,
                                      1,
                                      kSide,
                                      kSide,
                                      place_of(layer.input),
                                      place_of(layer.output),
                                      layer.residual >= 0,
                                      layers.size() == 1,
                                      SOVS_F32};
        const char* name = "";
        CHECK_SAYING(sovs_conv2d_backend(layer.weights, &layer.params, &place, &name) == SOVS_OK, sovs_last_error());
        return name;
    }
};

// By number of the layer: what the plan of a net runs it with, and the tile of its output.
struct Ran {
    std::string backend;
    std::int64_t tile;
};

std::vector<Ran> ran(const Net& net) {
    Records records;
    const auto name = [](int map) { return map == 0 ? std::string("in0") : "map" + std::to_string(map); };
    records.inputs.push_back(map_of(1, net.channels, kSide, kSide, net.layouts[0]));
    for (const Layer& layer : net.layers) {
        std::vector<std::string> read{name(layer.input)};
        if (layer.residual >= 0) read.push_back(name(layer.residual));
        records.step("conv2d", name(layer.output), read, conv_members(layer.params));
        records.use(name(layer.output), layer.weights);
    }
    for (const int map : net.outputs) records.output(name(map), net.layouts[map]);
    sovs_plan* plan = nullptr;
    CHECK_SAYING(records.make(&plan) == SOVS_OK, sovs_last_error());
    std::vector<Ran> found(net.layers.size());
    for (std::int32_t i = 0; i < sovs_plan_step_count(plan); ++i) {
        sovs_step_info info{};
        info.size = sizeof info;
        CHECK(sovs_plan_step_info(plan, i, &info) == SOVS_OK);
        if (std::strcmp(info.backend, "copy") != 0) found[info.record] = {info.backend, info.tile};
    }
    sovs_plan_destroy(plan);
    return found;
}

}  // namespace

TEST(the_tuner_times_the_backend_that_a_plan_runs) {
    std::map<std::string, int> compared;
    for (unsigned seed = 1; seed <= 1500; ++seed) {
        const Net net(seed);
        const std::vector<Ran> steps = ran(net);
        for (std::size_t i = 0; i < steps.size(); ++i) {
            const Layer& layer = net.layers[i];
            const std::string timed = net.backend_of(layer);
            // Not where a neighbour has one of its maps laid out pixel by pixel, see tune.h.
            const auto by_pixel = [&](int map) {
                return net.place_of(map) == SOVS_MAP_FREE && steps[map - 1].tile == 1;
            };
            if (timed != "winograd" && (by_pixel(layer.input) || by_pixel(layer.output))) continue;
            CHECK_SAYING(timed == steps[i].backend, "seed " + std::to_string(seed) + ", layer " + std::to_string(i) +
                                                        ": timed as " + timed + ", run as " + steps[i].backend);
            ++compared[timed + (steps.size() == 1 ? ", alone" : "")];
        }
    }
    for (const char* kind : {"depthwise", "winograd", "dense", "sparse rows1", "depthwise, alone", "winograd, alone",
                             "sparse rows1, alone"})
        CHECK_SAYING(compared[kind] > 10, kind);
}
