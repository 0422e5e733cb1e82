#include "program/program.h"

#include <map>

#include "base/error.h"
#include "weights/pack.h"

namespace sovs {
namespace {

// Far beyond any encoder, and small enough that no product of two overflows.
constexpr std::int64_t kLargestSize = 1 << 20, kLargestParam = (1 << 15) - 1;
constexpr double kLargestMap = 1LL << 36;  // floats

[[noreturn]] void refuse(const std::string& expected) { throw InvalidArgument("expected " + expected); }

std::int64_t integer_in(const Json& value, std::int64_t least, std::int64_t most, const std::string& what) {
    const std::int64_t number = value.integer();
    if (number < least || number > most)
        refuse(what + " from " + std::to_string(least) + " to " + std::to_string(most) + ", got " + std::to_string(number));
    return number;
}

class Reader {
public:
    Reader(const Json& header, SafetensorsFile& file) : header_(header), file_(file) {}

    Program program() {
        Program made{integer_in(header_.at("input_channels"), 1, kLargestSize, "input_channels"), {}, {}};
        values_.emplace(header_.at("input").string(), 0);
        channels_.push_back(made.in_channels);
        for (const Json& step : header_.at("steps").array()) {
            ProgramStep read = any_step(step);
            if (!values_.emplace(read.name, static_cast<int>(channels_.size())).second)
                refuse("every step to have a name of its own, got " + read.name + " twice");
            channels_.push_back(read.out_channels);
            made.steps.push_back(std::move(read));
        }
        for (const Json& output : header_.at("outputs").array()) {
            const int made_by = value(output);
            for (const int other : made.outputs)
                if (other == made_by) refuse("every output once, got " + output.string() + " twice");
            if (made_by == 0) refuse("outputs that steps make, got the input");
            made.outputs.push_back(made_by);
        }
        if (made.outputs.empty()) refuse("at least one output");
        return made;
    }

private:
    int value(const Json& name) const {
        const auto found = values_.find(name.string());
        if (found == values_.end()) refuse("steps to read what the input or a step before is, got " + name.string());
        return found->second;
    }

    ProgramStep any_step(const Json& step) {
        const std::string& op = step.at("op").string();
        if (op == "conv2d") return conv2d(step);
        if (op == "avg_pool2x2") {
            const int input = value(step.at("input"));
            return {ProgramStep::Kind::avg_pool2x2, step.at("name").string(), input, -1, nullptr, {}, channels_[input]};
        }
        if (op == "atrous_pool2x2") {
            const int input = value(step.at("input"));
            ProgramStep made{ProgramStep::Kind::atrous_pool2x2, step.at("name").string(), input, -1, nullptr, {}, channels_[input]};
            made.pool.dilation = integer_in(step.at("dilation"), 1, kLargestParam, "dilation");
            return made;
        }
        refuse("an op that this version knows, got " + op);
    }

    std::pair<std::int64_t, std::int64_t> pair(const Json& step, const char* name, std::int64_t least) const {
        const Json::Array& both = step.at(name).array();
        if (both.size() != 2) refuse("two numbers as " + std::string(name));
        return {integer_in(both[0], least, kLargestParam, name), integer_in(both[1], least, kLargestParam, name)};
    }

    ProgramStep conv2d(const Json& step) {
        ProgramStep made{ProgramStep::Kind::conv2d, step.at("name").string(), value(step.at("input")), -1, nullptr, {}, 0};
        const auto [stride_h, stride_w] = pair(step, "stride", 1);
        const auto [pad_h, pad_w] = pair(step, "padding", 0);
        const auto [dilation_h, dilation_w] = pair(step, "dilation", 1);
        made.params = {stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w, activation(step)};
        made.weights = weights(step, made.name);
        made.weights->release();  // the file's encoder makes few plans, and runs them often
        const WeightSizes& sizes = made.weights->sizes();
        made.out_channels = sizes.out_channels;
        if (channels_[made.input] != sizes.in_channels * sizes.groups)
            refuse("the weights of " + made.name + " to take " + std::to_string(channels_[made.input]) + " channels");
        if (const Json& residual = step.at("residual"); !residual.is_null()) {
            made.residual = value(residual);
            if (channels_[made.residual] != made.out_channels)
                refuse("a residual of " + made.name + " with " + std::to_string(made.out_channels) + " channels");
        }
        return made;
    }

    static Activation activation(const Json& step) {
        const Json& named = step.at("activation");
        if (named.is_null()) return Activation::none;
        static const std::map<std::string, Activation> known{{"relu", Activation::relu},
                                                             {"gelu", Activation::gelu},
                                                             {"gelu_tanh", Activation::gelu_tanh},
                                                             {"quick_gelu", Activation::quick_gelu}};
        const auto found = known.find(named.string());
        if (found == known.end()) refuse("an activation that this version knows, got " + named.string());
        return found->second;
    }

    std::shared_ptr<const Weights> weights(const Json& step, const std::string& name) {
        const Json& given = step.at("weight");
        const Json::Array& shape = given.at("shape").array();
        if (shape.size() != 4) refuse("a weight of four dimensions in " + name);
        std::int64_t sides[4];
        for (int i = 0; i < 4; ++i) sides[i] = integer_in(shape[i], 1, INT32_MAX, "sides of a weight");
        const std::int64_t groups = integer_in(step.at("groups"), 1, sides[0], "groups");
        std::vector<float> bias;
        if (file_.has(name + ".bias")) bias = file_.read<float>(name + ".bias", {sides[0]});
        const float* bias_at = bias.empty() ? nullptr : bias.data();
        if (file_.has(name + ".weight")) {
            const auto dense = file_.read<float>(name + ".weight", {sides[0], sides[1], sides[2], sides[3]});
            Weights::Packed sizes{sides[0], sides[1], sides[2], sides[3], groups, 0, {}, {}, {}};
            return std::make_shared<const Weights>(pack_dense(std::move(sizes), dense.data()), bias_at);
        }
        const std::int64_t block_rows = given.at("block_rows").integer();
        if (block_rows != 1 && block_rows != 4) refuse("block_rows of 1 or 4 in " + name);
        const auto row_ptr = file_.read<std::int32_t>(name + ".row_ptr", {(sides[0] + block_rows - 1) / block_rows + 1});
        const std::int64_t blocks = row_ptr.back();
        const auto values = file_.read<float>(name + ".values", {blocks, block_rows});
        std::vector<std::uint16_t> narrow;
        std::vector<std::int32_t> wide;
        const bool is_narrow = file_.dtype(name + ".indices") == "U16";
        if (is_narrow)
            narrow = file_.read<std::uint16_t>(name + ".indices", {blocks});
        else
            wide = file_.read<std::int32_t>(name + ".indices", {blocks});
        const void* indices = is_narrow ? static_cast<const void*>(narrow.data()) : wide.data();
        const sovs_weights_desc desc{sides[0], sides[1], sides[2], sides[3], groups, block_rows, row_ptr.data(),
                                     indices, is_narrow ? 16 : 32, values.data(), nullptr};
        return std::make_shared<const Weights>(pack_sparse(desc), bias_at);
    }

    const Json& header_;
    SafetensorsFile& file_;
    std::map<std::string, int> values_;
    std::vector<std::int64_t> channels_;  // by value
};

TensorDesc map_of(std::int64_t n, std::int64_t c, std::int64_t h, std::int64_t w) {
    return {n, c, h, w, TensorDesc::nchw(h, w)};
}

TensorDesc step_map(const ProgramStep& step, const TensorDesc& input) {
    if (step.kind == ProgramStep::Kind::avg_pool2x2) return map_of(input.n, step.out_channels, input.h / 2, input.w / 2);
    if (step.kind == ProgramStep::Kind::atrous_pool2x2) return map_of(input.n, step.out_channels, input.h, input.w);
    const WeightSizes& w = step.weights->sizes();
    const ConvParams& p = step.params;
    // Rounded down, also where the kernel is larger than the padded map.
    const auto size = [](std::int64_t side, std::int64_t pad, std::int64_t reach, std::int64_t stride) {
        const std::int64_t room = side + 2 * pad - reach - 1;
        return room < 0 ? 0 : room / stride + 1;
    };
    return map_of(input.n, step.out_channels, size(input.h, p.pad_h, p.dilation_h * (w.kernel_h - 1), p.stride_h),
                  size(input.w, p.pad_w, p.dilation_w * (w.kernel_w - 1), p.stride_w));
}

}  // namespace

Program read_program(const Json& header, SafetensorsFile& file) { return Reader(header, file).program(); }

std::vector<TensorDesc> program_shapes(const Program& program, std::int64_t n, std::int64_t h, std::int64_t w) {
    for (const std::int64_t side : {n, h, w})
        if (side < 1 || side > kLargestSize)
            refuse("input sizes from 1 to " + std::to_string(kLargestSize) + ", got " + std::to_string(side));
    std::vector<TensorDesc> maps{map_of(n, program.in_channels, h, w)};
    const auto check = [](const TensorDesc& map) {
        if (static_cast<double>(map.n) * map.c * map.h * map.w > kLargestMap) refuse("maps that fit in memory");
    };
    check(maps.front());
    for (const ProgramStep& step : program.steps) {
        const TensorDesc map = step_map(step, maps[step.input]);
        if (map.h < 1 || map.w < 1)
            refuse("a larger input than " + std::to_string(h) + "x" + std::to_string(w) + ": nothing is left of it in " +
                   step.name);
        check(map);
        if (step.residual >= 0 && !maps[step.residual].same_shape(map))
            refuse("a residual of the output's size in " + step.name);
        maps.push_back(map);
    }
    return maps;
}

std::shared_ptr<Plan> lower_program(const Program& program, std::int64_t n, std::int64_t h, std::int64_t w, int threads) {
    auto plan = std::make_shared<Plan>();
    for (const TensorDesc& map : program_shapes(program, n, h, w)) plan->add_tensor(map);
    for (int i = 0; i < static_cast<int>(program.steps.size()); ++i) {
        const ProgramStep& step = program.steps[i];
        if (step.kind == ProgramStep::Kind::avg_pool2x2)
            plan->add_avg_pool2x2(step.input, i + 1);
        else if (step.kind == ProgramStep::Kind::atrous_pool2x2)
            plan->add_atrous_pool2x2(step.pool, step.input, i + 1);
        else
            plan->add_conv2d(step.weights, step.params, {}, step.input, step.residual, i + 1);
    }
    plan->finalize({0}, program.outputs, threads);
    return plan;
}

}  // namespace sovs
