#include "program/encoder.h"

#include <algorithm>

#include "base/error.h"
#include "base/fork_safe.h"

namespace sovs {
namespace {

constexpr std::int64_t kFormatVersion = 1;
constexpr std::size_t kPlansKept = 8;
constexpr const char* kHeaderKey = "sparse_ovs";

Program open(const std::string& path, std::string& text) {
    SafetensorsFile file(path);
    const std::string* found = file.metadata(kHeaderKey);
    require(found != nullptr, "expected a file written by sparse_ovs, got another one");
    text = *found;
    const Json header = Json::parse(text);
    const std::int64_t version = header.at("format_version").integer();
    require(version >= 1, "expected a format version of at least 1");
    if (version > kFormatVersion)
        throw InvalidArgument("expected format version " + std::to_string(kFormatVersion) + " or older, got " +
                              std::to_string(version) + ": update sparse_ovs to read it");
    const Json* kind = header.find("kind");
    require(kind != nullptr && kind->string() == "plan", "expected a plan, got another file of sparse_ovs");
    return read_program(header, file);
}

}  // namespace

Encoder::Encoder(const std::string& path) try : program_(open(path, header_)) {
} catch (const InvalidArgument& error) {
    throw InvalidArgument(std::string(error.what()) + " (" + path + ")");
}

std::vector<TensorDesc> Encoder::outputs(std::int64_t n, std::int64_t h, std::int64_t w) const {
    const std::vector<TensorDesc> maps = program_shapes(program_, n, h, w);
    std::vector<TensorDesc> made;
    for (const int value : program_.outputs) made.push_back(maps[value]);
    return made;
}

std::shared_ptr<Plan> Encoder::plan(std::int64_t n, std::int64_t h, std::int64_t w, int threads) const {
    const Key key{n, h, w, threads};
    const auto with_key = [&](const auto& kept) { return kept.first == key; };
    const auto find = [&]() -> std::shared_ptr<Plan> {
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
    auto made = lower_program(program_, n, h, w, threads);
    const ForkSafeLock lock(mutex_);
    if (auto known = find()) return known;
    plans_.emplace_front(key, made);
    if (plans_.size() > kPlansKept) plans_.pop_back();
    return made;
}

}  // namespace sovs
