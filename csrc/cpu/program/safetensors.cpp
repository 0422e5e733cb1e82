#include "program/safetensors.h"

#include <algorithm>
#include <filesystem>

#include "base/error.h"
#include "program/json.h"

namespace sovs {
namespace {

constexpr std::uint64_t kLargestHeader = 100'000'000;

// Bits of one number; 0 for a type that the format does not know.
int bits_of(const std::string& dtype) {
    if (dtype == "BOOL" || dtype == "U8" || dtype == "I8" || dtype.starts_with("F8_")) return 8;
    if (dtype == "U16" || dtype == "I16" || dtype == "F16" || dtype == "BF16") return 16;
    if (dtype == "U32" || dtype == "I32" || dtype == "F32") return 32;
    if (dtype == "U64" || dtype == "I64" || dtype == "F64") return 64;
    return 0;
}

void require_whole(bool condition, const std::string& why) {
    if (!condition) throw InvalidArgument("expected a whole safetensors file, got one " + why);
}

}  // namespace

SafetensorsFile::SafetensorsFile(const std::string& path) {
    std::error_code error;
    if (!std::filesystem::is_regular_file(path, error)) throw InvalidArgument("expected a file, got none at " + path);
    const std::uint64_t size = std::filesystem::file_size(path, error);
    stream_.open(path, std::ios::binary);
    if (error || !stream_) throw InvalidArgument("expected a readable file, got " + path);

    std::uint8_t length_bytes[8];
    require_whole(
        size >= sizeof length_bytes && stream_.read(reinterpret_cast<char*>(length_bytes), sizeof length_bytes),
        "without a header");
    std::uint64_t length = 0;
    for (int i = 7; i >= 0; --i) length = length << 8 | length_bytes[i];
    require_whole(length <= size - sizeof length_bytes && length <= kLargestHeader, "without a whole header");
    std::string text(length, '\0');
    require_whole(static_cast<bool>(stream_.read(text.data(), static_cast<std::streamsize>(length))), "that is cut");
    data_start_ = sizeof length_bytes + length;

    const Json header = Json::parse(text);
    for (const auto& [name, value] : header.object()) {
        if (name == "__metadata__") {
            for (const auto& [key, entry] : value.object()) metadata_[key] = entry.string();
            continue;
        }
        Entry entry{value.at("dtype").string(), {}, 0, 0};
        for (const Json& side : value.at("shape").array()) entry.shape.push_back(side.integer());
        const Json::Array& offsets = value.at("data_offsets").array();
        require_whole(offsets.size() == 2 && offsets[0].integer() >= 0 && offsets[1].integer() >= offsets[0].integer(),
                      "with wrong offsets of " + name);
        entry.begin = static_cast<std::uint64_t>(offsets[0].integer());
        entry.end = static_cast<std::uint64_t>(offsets[1].integer());
        entries_.emplace(name, std::move(entry));
    }
    check_places(size - data_start_);
}

// Every tensor is as large as its shape says, and together they fill the file, as the format asks.
void SafetensorsFile::check_places(std::uint64_t bytes) const {
    std::vector<std::pair<std::uint64_t, std::uint64_t>> places;
    for (const auto& [name, entry] : entries_) {
        require_whole(entry.end <= bytes, "that is cut");
        const int bits = bits_of(entry.dtype);
        require_whole(bits > 0, "with an unknown type of " + name);
        std::uint64_t count = 1;
        for (const std::int64_t side : entry.shape) {
            require_whole(side >= 0 && (side == 0 || count <= bytes / static_cast<std::uint64_t>(side)),
                          "with a wrong shape of " + name);
            count *= static_cast<std::uint64_t>(side);
        }
        require_whole(count * (bits / 8) == entry.end - entry.begin,
                      "with another size of " + name + " than its shape");
        places.emplace_back(entry.begin, entry.end);
    }
    std::sort(places.begin(), places.end());
    std::uint64_t filled = 0;
    for (const auto& [begin, end] : places) {
        require_whole(begin == filled, "with tensors that overlap or leave holes");
        filled = end;
    }
    require_whole(filled == bytes, "with bytes that belong to no tensor");
}

const std::string* SafetensorsFile::metadata(const std::string& name) const {
    const auto found = metadata_.find(name);
    return found == metadata_.end() ? nullptr : &found->second;
}

const SafetensorsFile::Entry& SafetensorsFile::entry(const std::string& name) const {
    const auto found = entries_.find(name);
    if (found == entries_.end()) throw InvalidArgument("expected a tensor " + name + ", got none");
    return found->second;
}

void SafetensorsFile::copy(const std::string& name, void* to, std::size_t bytes) {
    stream_.clear();
    stream_.seekg(static_cast<std::streamoff>(data_start_ + entry(name).begin));
    stream_.read(static_cast<char*>(to), static_cast<std::streamsize>(bytes));
    require_whole(static_cast<bool>(stream_), "that is cut");
}

}  // namespace sovs
