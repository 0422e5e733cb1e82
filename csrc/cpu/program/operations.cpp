#include "program/operations.h"

#include <functional>
#include <map>
#include <string>

#include "base/error.h"
#include "conv/conv2d.h"
#include "steps/atrous_pool_step.h"
#include "steps/attention_step.h"
#include "steps/convert_step.h"
#include "steps/crop_step.h"
#include "steps/layer_norm_step.h"
#include "steps/pool_step.h"
#include "steps/tokens_step.h"
#include "steps/upsample_step.h"

namespace sovs {
namespace {

using Made = std::shared_ptr<const Operation>;

Activation activation_of(const Json& named) {
    if (named.is_null()) return Activation::none;
    for (std::size_t i = 1; i < std::size(kActivationNames); ++i)
        if (named.string() == kActivationNames[i]) return static_cast<Activation>(i);
    throw InvalidArgument("expected an activation that this version knows, got " + named.string());
}

Tuning tuning_of(const Record& record) {
    const Json* given = record.find("tuning");
    if (given == nullptr || given->is_null()) return {};
    const auto field = [&](const char* name) { return integer_in(given->at(name), 0, INT32_MAX, name); };
    return {field("tile_rows"), field("tile_cols"), field("k_tile"), field("row_parts"), field("panel")};
}

Made conv2d(const Record& record, std::size_t inputs) {
    const auto [stride_h, stride_w] = record.pair("stride", 1, kLargestParam);
    const auto [pad_h, pad_w] = record.pair("padding", 0, kLargestParam);
    const auto [dilation_h, dilation_w] = record.pair("dilation", 1, kLargestParam);
    const ConvParams params{
        stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w, activation_of(record.at("activation"))};
    return std::make_shared<const Conv2d>(record.weights(), params, tuning_of(record), inputs > 1);
}

Made avg_pool2x2(const Record&, std::size_t) { return std::make_shared<const AvgPool2x2>(); }

Made atrous_pool2x2(const Record& record, std::size_t) {
    return std::make_shared<const AtrousPool2x2>(record.integer("dilation", 1, kLargestParam));
}

Made layer_norm(const Record& record, std::size_t) {
    return std::make_shared<const LayerNorm>(
        LayerNormParams{record.floats("gamma"), record.floats("beta"), record.number("eps")});
}

Made attention(const Record& record, std::size_t) {
    const Json::Array& first = record.at("first").array();
    require(first.size() == 3, "expected the first channels of queries, keys and values");
    const auto channel = [&](std::size_t i) { return integer_in(first[i], 0, kLargestSize, "first"); };
    return std::make_shared<const Attention>(
        AttentionParams{record.integer("heads", 1, kLargestParam), record.integer("head_channels", 1, kLargestParam),
                        channel(0), channel(1), channel(2), record.number("scale")});
}

Made tokens(const Record& record, std::size_t) {
    std::int64_t count = 0, channels = 0;
    std::vector<float> constants = record.matrix("constants", count, channels);
    return std::make_shared<const Tokens>(TokensParams{count, std::move(constants), record.boolean("mean")});
}

Made crop(const Record& record, std::size_t) {
    const auto [h, w] = record.pair("size", 1, kLargestSize);
    return std::make_shared<const Crop>(CropParams{record.integer("first", 0, INT32_MAX), {h, w}});
}

Made convert(const Record&, std::size_t) { return std::make_shared<const Convert>(); }

Made upsample2x(const Record&, std::size_t inputs) { return std::make_shared<const Upsample2x>(inputs > 1); }

}  // namespace

std::shared_ptr<const Operation> read_operation(const Record& record, std::size_t inputs) {
    static const std::map<std::string, Made (*)(const Record&, std::size_t)> vocabulary{
        {"conv2d", conv2d},
        {"avg_pool2x2", avg_pool2x2},
        {"atrous_pool2x2", atrous_pool2x2},
        {"layer_norm", layer_norm},
        {"attention", attention},
        {"tokens", tokens},
        {"crop", crop},
        {"convert", convert},
        {"upsample2x", upsample2x},
    };
    const auto found = vocabulary.find(record.op());
    if (found == vocabulary.end()) throw InvalidArgument("expected an op that this version knows, got " + record.op());
    return found->second(record, inputs);
}

}  // namespace sovs
