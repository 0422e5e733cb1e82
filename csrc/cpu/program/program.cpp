#include "program/program.h"

#include <string>
#include <utility>

#include "base/error.h"
#include "program/record.h"

namespace sovs {
namespace {

constexpr double kLargestMap = 1LL << 36;  // numbers

[[noreturn]] void refuse(const std::string& expected) { throw InvalidArgument("expected " + expected); }

}  // namespace

std::vector<TensorDesc> program_shapes(const Program& program, const std::vector<TensorDesc>& inputs) {
    if (inputs.size() != program.inputs.size())
        refuse(std::to_string(program.inputs.size()) + " inputs, got " + std::to_string(inputs.size()));
    std::vector<TensorDesc> maps = inputs;
    const auto check = [](const TensorDesc& map) {
        if (static_cast<double>(map.n) * map.c * map.h * map.w > kLargestMap) refuse("maps that fit in memory");
    };
    for (std::size_t i = 0; i < maps.size(); ++i) {
        const TensorDesc& map = maps[i];
        for (const std::int64_t side : {map.n, map.h, map.w})
            if (side < 1 || side > kLargestSize)
                refuse("input sizes from 1 to " + std::to_string(kLargestSize) + ", got " + std::to_string(side));
        if (map.c != program.inputs[i].channels)
            refuse(std::to_string(program.inputs[i].channels) + " channels of " + program.inputs[i].name + ", got " +
                   std::to_string(map.c));
        const ValueType& type = program.inputs[i].type;
        if (map.dtype != type.dtype || map.quant != type.quant)
            refuse("a map of " + std::string(name_of(type.dtype)) + " as the program says of " +
                   program.inputs[i].name + ", got " + name_of(map.dtype) +
                   (map.dtype == type.dtype ? " of another scale or zero point" : ""));
        check(map);
        if (maps[i].tile == 0) maps[i].tile = TensorDesc::nchw(map.h, map.w);
    }
    if (program.size && (maps[0].h != program.size->h || maps[0].w != program.size->w))
        refuse("an input of " + std::to_string(program.size->h) + "x" + std::to_string(program.size->w) +
               " pixels, which the program is for, got " + std::to_string(maps[0].h) + "x" + std::to_string(maps[0].w));
    for (const ProgramStep& step : program.steps) {
        std::vector<TensorDesc> read;
        std::vector<std::int64_t> channels;
        for (const int input : step.inputs) {
            read.push_back(maps[input]);
            channels.push_back(maps[input].c);
            if (maps[input].n != read.front().n) refuse("inputs of one batch in " + step.name);
        }
        MapSize size{};
        try {
            size = step.operation->out_size(read);
        } catch (const InvalidArgument& error) {
            throw InvalidArgument(std::string(error.what()) + " in " + step.name);
        }
        if (size.h < 1 || size.w < 1)
            refuse("a larger input than " + std::to_string(maps[0].h) + "x" + std::to_string(maps[0].w) +
                   ": nothing is left of it in " + step.name);
        maps.push_back({read.front().n, step.operation->out_channels(channels), size.h, size.w,
                        TensorDesc::nchw(size.h, size.w), step.type.dtype, step.type.quant});
        check(maps.back());
    }
    return maps;
}

std::shared_ptr<Plan> lower_program(const Program& program, const std::vector<TensorDesc>& inputs,
                                    const std::vector<std::int64_t>& output_tiles, int threads) {
    if (output_tiles.size() != program.outputs.size())
        refuse(std::to_string(program.outputs.size()) + " outputs, got " + std::to_string(output_tiles.size()));
    Network network{program_shapes(program, inputs), {}, {}, program.outputs};
    const int given = static_cast<int>(inputs.size());
    for (int i = 0; i < given; ++i) network.inputs.push_back(i);
    for (std::size_t i = 0; i < program.outputs.size(); ++i)
        if (output_tiles[i] != 0) network.maps[program.outputs[i]].tile = output_tiles[i];
    for (int i = 0; i < static_cast<int>(program.steps.size()); ++i)
        network.steps.push_back({program.steps[i].operation, program.steps[i].inputs, given + i, i});
    return std::make_shared<Plan>(std::move(network), threads);
}

}  // namespace sovs
