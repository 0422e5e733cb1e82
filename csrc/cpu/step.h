// What a plan is made of: an operation whose units of work are independent of each other.
#pragma once

namespace sovs {

class Step {
public:
    virtual ~Step() = default;
    // Together the units write the whole output; any thread may run any of them.
    virtual long units() const = 0;
    // residual: null for none.
    virtual void run_unit(long unit, const float* input, const float* residual, float* output) const = 0;
};

}  // namespace sovs
