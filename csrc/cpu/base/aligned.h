// Cache-line aligned, growable float storage whose contents start as zeros.
#pragma once
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <new>
#include <utility>

namespace sovs {

inline constexpr std::size_t kCacheLine = 64;

template <typename Element>
class AlignedBuffer {
public:
    AlignedBuffer() = default;
    explicit AlignedBuffer(std::size_t count) { reserve(count); }
    AlignedBuffer(AlignedBuffer&& other) noexcept { swap(other); }
    AlignedBuffer& operator=(AlignedBuffer&& other) noexcept {
        swap(other);
        return *this;
    }
    ~AlignedBuffer() { std::free(data_); }

    // Grows to at least `count` elements; what was there is lost, all of it reads as zero.
    void reserve(std::size_t count) {
        if (count <= capacity_) return;
        const std::size_t bytes = (count * sizeof(Element) + kCacheLine - 1) / kCacheLine * kCacheLine;
        void* memory = std::aligned_alloc(kCacheLine, bytes);
        if (memory == nullptr) throw std::bad_alloc();
        std::memset(memory, 0, bytes);
        std::free(data_);
        data_ = static_cast<Element*>(memory);
        capacity_ = count;
    }

    Element* data() { return data_; }
    const Element* data() const { return data_; }
    std::size_t bytes() const { return capacity_ * sizeof(Element); }

private:
    void swap(AlignedBuffer& other) noexcept {
        std::swap(data_, other.data_);
        std::swap(capacity_, other.capacity_);
    }
    Element* data_ = nullptr;
    std::size_t capacity_ = 0;
};

}  // namespace sovs
