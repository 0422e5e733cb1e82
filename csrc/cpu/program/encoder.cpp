#include "program/encoder.h"

#include <algorithm>

#include "base/error.h"
#include "base/fork_safe.h"
#include "kernels/bf16_table.h"
#include "program/safetensors.h"

namespace sovs {
namespace {

constexpr std::size_t kPlansKept = 8;
constexpr const char* kHeaderKey = "sparse_ovs";

Program open(const std::string& path, std::string& text) {
    SafetensorsFile file(path);
    const std::string* found = file.metadata(kHeaderKey);
    require(found != nullptr, "expected a file written by sparse_ovs, got another one");
    text = *found;
    const Json header = Json::parse(text);
    const Json* kind = header.find("kind");
    require(kind != nullptr && kind->string() == "plan", "expected a plan, got another file of sparse_ovs");
    Program program = read_program(header, file);
    require(program.inputs.size() == 1, "expected a program of one input");
    for (const ProgramStep& step : program.steps)
        if (step.type.dtype == DType::bf16) require_bf16_kernels();
    return program;
}

}  // namespace

Encoder::Encoder(const std::string& path) try : program_(open(path, header_)) {
} catch (const InvalidArgument& error) {
    throw InvalidArgument(std::string(error.what()) + " (" + path + ")");
}

std::vector<TensorDesc> Encoder::inputs(std::int64_t n, std::int64_t h, std::int64_t w) const {
    const ProgramInput& input = program_.inputs[0];
    return {{n, input.channels, h, w, 0, input.type.dtype, input.type.quant}};
}

std::vector<TensorDesc> Encoder::outputs(std::int64_t n, std::int64_t h, std::int64_t w) const {
    const std::vector<TensorDesc> maps = program_shapes(program_, inputs(n, h, w));
    std::vector<TensorDesc> made;
    for (const int value : program_.outputs) made.push_back(maps[value]);
    return made;
}

std::shared_ptr<const Plan> Encoder::plan(std::int64_t n, std::int64_t h, std::int64_t w, int threads) const {
    const Key key{n, h, w, threads};
    const auto with_key = [&](const auto& kept) { return kept.first == key; };
    const auto find = [&]() -> std::shared_ptr<const Plan> {
        const auto found = std::find_if(plans_.begin(), plans_.end(), with_key);
        if (found == plans_.end()) return nullptr;
        plans_.splice(plans_.begin(), plans_, found);
        return found->second;
    };
    {
        const ForkSafeLock lock(mutex_);
        if (auto known = find()) return known;
    }
    // Outside the lock: planning takes milliseconds. Two threads may do it at once; the plans are equal.
    std::shared_ptr<const Plan> made =
        lower_program(program_, inputs(n, h, w), std::vector<std::int64_t>(program_.outputs.size(), 0), threads);
    const ForkSafeLock lock(mutex_);
    if (auto known = find()) return known;
    plans_.emplace_front(key, made);
    if (plans_.size() > kPlansKept) plans_.pop_back();
    return made;
}

}  // namespace sovs
