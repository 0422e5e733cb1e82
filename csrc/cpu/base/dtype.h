// The types of numbers that maps, weights and files hold.
#pragma once
#include <cstddef>
#include <cstdint>

namespace sovs {

// The numbers are part of the C API and of files: new types come at the end.
enum class DType : std::int32_t { f32, u8, s8, s32, bf16 };

// Bytes of one number; 0 of what is no DType.
constexpr std::size_t size_of(DType type) {
    switch (type) {
        case DType::f32:
        case DType::s32: return 4;
        case DType::bf16: return 2;
        case DType::u8:
        case DType::s8: return 1;
    }
    return 0;
}

constexpr bool is_float(DType type) { return type == DType::f32 || type == DType::bf16; }

// As errors and files spell it; "unknown" for what is no DType.
constexpr const char* name_of(DType type) {
    switch (type) {
        case DType::f32: return "f32";
        case DType::u8: return "u8";
        case DType::s8: return "s8";
        case DType::s32: return "s32";
        case DType::bf16: return "bf16";
    }
    return "unknown";
}

}  // namespace sovs
