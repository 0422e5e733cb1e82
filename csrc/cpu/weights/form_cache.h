// The forms that kernels read a layer's weights in: each is made once, and lives as long as a plan uses it.
#pragma once
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <tuple>
#include <vector>

#include "base/aligned.h"
#include "weights/bf16_matrix.h"
#include "weights/byte_quads.h"
#include "weights/byte_stream.h"
#include "weights/stream.h"

namespace sovs {

// The forms of one kind, by what they depend on.
template <typename Key, typename Form>
class Forms {
public:
    // Null where none is alive.
    std::shared_ptr<Form> find(const Key& key) const {
        const auto found = forms_.find(key);
        return found == forms_.end() ? nullptr : found->second.lock();
    }

    // The form to use: the one just made, or an equal one that another thread made meanwhile.
    std::shared_ptr<Form> keep(const Key& key, std::shared_ptr<Form> made) {
        if (auto known = find(key)) return known;
        std::erase_if(forms_, [](const auto& item) { return item.second.expired(); });
        forms_[key] = made;
        return made;
    }

    // Those that are alive, in no particular order.
    std::vector<std::shared_ptr<Form>> live() const {
        std::vector<std::shared_ptr<Form>> alive;
        for (const auto& [key, weak] : forms_)
            if (auto form = weak.lock()) alive.push_back(std::move(form));
        return alive;
    }

    std::size_t bytes() const {
        std::size_t total = 0;
        for (const auto& form : live()) total += form->bytes();
        return total;
    }

private:
    std::map<Key, std::weak_ptr<Form>> forms_;
};

// A stream whose weights can be written anew.
struct LiveStream : Stream {
    std::vector<std::int32_t> positions;  // in it, of the compact copy's blocks: found at the first update
};

// Tap offsets, channel stride, channels of a K-tile, parts: panels that differ elsewhere read the same stream.
using StreamKey = std::tuple<std::vector<std::ptrdiff_t>, std::ptrdiff_t, std::int64_t, int>;
inline StreamKey key_of(const StreamLayout& layout) {
    return {layout.panel.tap_offsets, layout.panel.channel_stride, layout.k_tile, layout.parts};
}

// Not locked: whoever holds it locks it.
struct FormCache {
    Forms<StreamKey, LiveStream> streams;
    Forms<ByteStreamLayout, const ByteStream> byte_streams;
    Forms<int, const ByteQuads> byte_quads;  // by rows at a time
    Forms<Bf16Blocks, const Bf16Matrix> bf16_matrices;
    Forms<std::int64_t, const AlignedBuffer<float>> dense, winograd;  // by the padded count of output channels

    std::size_t bytes() const {
        return streams.bytes() + byte_streams.bytes() + byte_quads.bytes() + bf16_matrices.bytes() + dense.bytes() +
               winograd.bytes();
    }
};

}  // namespace sovs
