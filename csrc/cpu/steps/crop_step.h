// A run of each image's pixels, such as a vision transformer's tokens without the class token, as a map.
#pragma once
#include "steps/operation.h"

namespace sovs {

struct CropParams {
    std::int64_t first;  // pixel of each image
    MapSize size;        // of the output
};

// Output: the pixels [first, first + size.h * size.w) of each image.
class CropStep final : public Step {
public:
    CropStep(std::int64_t first, const TensorDesc& input, const TensorDesc& output);

    long units() const override { return static_cast<long>(output_.n); }
    const char* backend() const override { return "crop"; }
    int parts() const override;
    Range writes(long unit) const override { return rows_of(output_, unit, 0, output_.h); }
    Range reads(long unit, std::size_t) const override { return rows_of(input_, unit, 0, input_.h); }
    void run(long unit, int part, const StepMaps& maps) const override;

private:
    std::int64_t first_;
    TensorDesc input_, output_;
};

class Crop final : public Operation {
public:
    explicit Crop(CropParams params) : params_(params) {}

    const char* name() const override { return "crop"; }
    MapSize out_size(const std::vector<TensorDesc>& inputs) const override;
    std::unique_ptr<const Step> make(const StepPlace& place, int threads) const override;

private:
    CropParams params_;
};

}  // namespace sovs
