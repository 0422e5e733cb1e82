// Structs of the C API, which begin with their size, between callers and libraries of different ages.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstring>
#include <string>
#include <vector>

#include "base/error.h"

namespace sovs {

// Of the first version of a struct: a struct that grows keeps here the size that it had.
template <typename Struct>
inline constexpr std::size_t kFirstSize = sizeof(Struct);

// Its member `size`, which the caller has set.
template <typename Struct>
std::size_t size_of_struct(const Struct* given) {
    std::size_t size = 0;
    std::memcpy(&size, given, sizeof size);
    if (size < kFirstSize<Struct>)
        throw InvalidArgument("expected a struct that begins with its size, of " + std::to_string(kFirstSize<Struct>) +
                              " bytes or more, got " + std::to_string(size));
    return size;
}

// Throws where the caller's struct says what this library does not know.
template <typename Struct>
Struct taken(const Struct* given) {
    require(given != nullptr, "expected a struct, got NULL");
    const std::size_t size = size_of_struct(given);
    const char* bytes = reinterpret_cast<const char*>(given);
    require(std::all_of(bytes + std::min(size, sizeof(Struct)), bytes + size, [](char byte) { return byte == 0; }),
            "expected a struct without members that this library does not know: update it");
    Struct known{};
    std::memcpy(&known, given, std::min(size, sizeof known));
    return known;
}

// Of an array whose elements may be larger than here.
template <typename Struct>
std::vector<Struct> taken(const Struct* first, std::int64_t count) {
    require(count >= 0 && (count == 0 || first != nullptr), "expected an array of structs, got NULL");
    std::vector<Struct> all;
    const char* place = reinterpret_cast<const char*>(first);
    for (std::int64_t i = 0; i < count; ++i) {
        all.push_back(taken(reinterpret_cast<const Struct*>(place)));
        place += all.back().size;
    }
    return all;
}

// Fills the caller's struct, and gives the next one of its array.
template <typename Struct>
Struct* give(Struct* to, Struct from) {
    from.size = size_of_struct(to);
    std::memcpy(to, &from, std::min(from.size, sizeof from));
    return reinterpret_cast<Struct*>(reinterpret_cast<char*>(to) + from.size);
}

}  // namespace sovs
