// The C API of programs and their plans.
#include "api/convert.h"
#include "api/handles.h"
#include "api/run.h"
#include "api/status.h"
#include "api/structs.h"

namespace {

using sovs::guarded;
using sovs::require;

}  // namespace

extern "C" {

sovs_status sovs_program_create(const char* header, const sovs_named_weights* weights, int32_t weight_count,
                                const sovs_named_tensor* tensors, int32_t tensor_count, sovs_program** out) {
    return guarded([&] {
        require(header != nullptr && out != nullptr, "expected header and out, got NULL");
        sovs::GivenTensors given;
        for (const sovs_named_weights& named : sovs::taken(weights, weight_count)) {
            require(named.name != nullptr && named.weights != nullptr, "expected named weights, got NULL");
            given.add(named.name, named.weights->shared);
        }
        for (const sovs_named_tensor& named : sovs::taken(tensors, tensor_count)) {
            require(named.name != nullptr && named.rank >= 0 && named.rank <= 8 &&
                        (named.rank == 0 || named.shape != nullptr),
                    "expected tensors with a name and a shape");
            given.add(named.name, sovs::dtype_of(named.dtype), {named.shape, named.shape + named.rank}, named.data);
        }
        *out = new sovs_program{sovs::read_program(sovs::Json::parse(header), given)};
    });
}

void sovs_program_destroy(sovs_program* program) { delete program; }

sovs_status sovs_plan_create(const sovs_program* program, const sovs_map* inputs, int32_t input_count,
                             const int64_t* output_layouts, int32_t output_count, int32_t threads, sovs_plan** out) {
    return guarded([&] {
        require(program != nullptr && out != nullptr, "expected program and out, got NULL");
        require(output_count >= 0 && (output_count == 0 || output_layouts != nullptr),
                "expected output_layouts, got NULL");
        std::vector<sovs::TensorDesc> maps;
        for (const sovs_map& map : sovs::taken(inputs, input_count)) maps.push_back(sovs::map_of(map));
        std::vector<std::int64_t> tiles;
        for (std::int32_t i = 0; i < output_count; ++i) tiles.push_back(sovs::tile_of(output_layouts[i]));
        *out = new sovs_plan{sovs::lower_program(program->program, maps, tiles, threads)};
    });
}

sovs_status sovs_plan_input(const sovs_plan* plan, int32_t i, sovs_map* out) {
    return guarded([&] {
        require(plan != nullptr && out != nullptr, "expected plan and out, got NULL");
        require(i >= 0 && static_cast<std::size_t>(i) < plan->shared->input_count(), "expected the number of an input");
        sovs::give(out, sovs::map_of(plan->shared->input(static_cast<std::size_t>(i))));
    });
}

sovs_status sovs_plan_output(const sovs_plan* plan, int32_t i, sovs_map* out) {
    return guarded([&] {
        require(plan != nullptr && out != nullptr, "expected plan and out, got NULL");
        require(i >= 0 && static_cast<std::size_t>(i) < plan->shared->output_count(),
                "expected the number of an output");
        sovs::give(out, sovs::map_of(plan->shared->output(static_cast<std::size_t>(i))));
    });
}

sovs_status sovs_plan_run(const sovs_plan* plan, const sovs_buffer* inputs, int32_t input_count,
                          const sovs_buffer* outputs, int32_t output_count, int32_t threads) {
    return guarded([&] {
        require(plan != nullptr, "expected plan, got NULL");
        sovs::run(*plan->shared, inputs, input_count, outputs, output_count, threads, nullptr);
    });
}

sovs_status sovs_plan_time(const sovs_plan* plan, const sovs_buffer* inputs, int32_t input_count,
                           const sovs_buffer* outputs, int32_t output_count, int32_t threads, double* seconds) {
    return guarded([&] {
        require(plan != nullptr && seconds != nullptr, "expected plan and seconds, got NULL");
        sovs::run(*plan->shared, inputs, input_count, outputs, output_count, threads, seconds);
    });
}

int32_t sovs_plan_step_count(const sovs_plan* plan) { return plan == nullptr ? 0 : plan->shared->run_steps(); }

sovs_status sovs_plan_step_info(const sovs_plan* plan, int32_t i, sovs_step_info* out) {
    return guarded([&] {
        require(plan != nullptr && out != nullptr, "expected plan and out, got NULL");
        const sovs::PlanStepInfo step = plan->shared->info(i);
        const sovs::TensorDesc& map = step.output;
        sovs_step_info info{};
        info.record = step.record;
        info.strip_group = step.strip_group;
        info.backend = step.backend;
        info.n = map.n;
        info.c = map.c;
        info.h = map.h;
        info.w = map.w;
        info.tile = map.tile;
        info.density = step.density;
        if (const sovs::Tiling* tiling = step.tiling) {
            info.tile_rows = tiling->tile_rows;
            info.tile_cols = tiling->tile_cols;
            info.k_tile = tiling->k_tile;
            info.row_parts = tiling->row_parts;
            info.panel = static_cast<std::int64_t>(tiling->panel) + 1;
        }
        sovs::give(out, info);
    });
}

size_t sovs_plan_arena_bytes(const sovs_plan* plan) { return plan == nullptr ? 0 : plan->shared->arena_bytes(); }

void sovs_plan_destroy(sovs_plan* plan) { delete plan; }

}  // extern "C"
