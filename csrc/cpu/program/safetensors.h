// Reads safetensors files: https://github.com/huggingface/safetensors#format. Nothing in a file is trusted.
#pragma once
#include <cstdint>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "program/tensor_source.h"

namespace sovs {

class SafetensorsFile final : public TensorSource {
public:
    // Reads and checks the header. Throws InvalidArgument where the file is missing, cut, or none of this format.
    explicit SafetensorsFile(const std::string& path);

    // An entry of the file's own metadata; null for none.
    const std::string* metadata(const std::string& name) const;
    bool has(const std::string& name) const override { return entries_.contains(name); }
    const std::vector<std::int64_t>& shape(const std::string& name) const override { return entry(name).shape; }
    const std::string& dtype(const std::string& name) const override { return entry(name).dtype; }

private:
    struct Entry {
        std::string dtype;
        std::vector<std::int64_t> shape;
        std::uint64_t begin, end;  // bytes after the header
    };

    const Entry& entry(const std::string& name) const;
    void check_places(std::uint64_t bytes) const;
    void copy(const std::string& name, void* to, std::size_t bytes) override;

    std::ifstream stream_;
    std::uint64_t data_start_ = 0;
    std::map<std::string, std::string> metadata_;
    std::map<std::string, Entry> entries_;
};

}  // namespace sovs
