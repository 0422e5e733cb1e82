// What the C API's opaque handles hold.
#pragma once
#include <memory>

#include "plan/plan.h"
#include "program/encoder.h"
#include "sparse_ovs.h"
#include "training/weight_gradient.h"
#include "weights/weights.h"

struct sovs_weights {
    std::shared_ptr<const sovs::Weights> shared;
};
struct sovs_program {
    sovs::Program program;
};
struct sovs_plan {
    std::shared_ptr<const sovs::Plan> shared;
};
struct sovs_weight_gradient {
    sovs::WeightGradient gradient;
};
struct sovs_encoder {
    sovs::Encoder encoder;
};
