// What units of a plan wait for: the units of the open stages before them that write the pixels they read.
#include <algorithm>
#include <memory>
#include <vector>

#include "check.h"
#include "plan/needs.h"

namespace {

constexpr std::int64_t kRows = 12, kWidth = 10;

// A unit writes `rows` rows in `parts` parts and reads `halo` rows more on both sides.
class RowsStep final : public sovs::Step {
public:
    RowsStep(std::int64_t rows, std::int64_t halo, int parts, bool local)
        : rows_(rows), halo_(halo), parts_(parts), local_(local) {}
    long units() const override { return (kRows + rows_ - 1) / rows_; }
    sovs::Range writes(long unit) const override {
        return {unit * rows_ * kWidth, std::min(kRows, (unit + 1) * rows_) * kWidth};
    }
    sovs::Range reads(long unit, std::size_t) const override {
        return {std::max<std::int64_t>(0, unit * rows_ - halo_) * kWidth,
                std::min(kRows, (unit + 1) * rows_ + halo_) * kWidth};
    }
    bool local() const override { return local_; }
    int parts() const override { return parts_; }
    void run(long, int, const sovs::StepMaps&) const override {}
    const char* backend() const override { return "none"; }

private:
    std::int64_t rows_, halo_;
    int parts_;
    bool local_;
};

// Steps in a row: step i reads map i and writes map i + 1.
struct Chain {
    sovs::Network network;
    std::vector<sovs::Stage> stages;

    void add(std::int64_t rows, std::int64_t halo, int parts, bool local = true) {
        if (network.maps.empty()) network.maps.push_back({1, 4, kRows, kWidth, sovs::TensorDesc::nchw(kRows, kWidth)});
        const int number = static_cast<int>(network.steps.size());
        network.maps.push_back(network.maps[0]);
        sovs::PlanStep& step = network.steps.emplace_back();
        step.inputs = {number};
        step.output = number + 1;
        step.step = std::make_unique<const RowsStep>(rows, halo, parts, local);
        stages.push_back({number, number + 1, {}, {}, 0});
    }
};

bool same(const std::vector<sovs::UnitRange>& found, const std::vector<sovs::UnitRange>& wanted) {
    return std::equal(found.begin(), found.end(), wanted.begin(), wanted.end(), [](const auto& a, const auto& b) {
        return a.stage == b.stage && a.begin == b.begin && a.end == b.end;
    });
}

}  // namespace

TEST(a_unit_needs_all_parts_of_the_units_that_write_what_it_reads) {
    Chain chain;
    chain.add(3, 0, 2);  // units of rows 0-2, 3-5, 6-8, 9-11, two parts each
    chain.add(2, 1, 1);
    const sovs::Stages made = sovs::stages_with_needs(chain.network, chain.stages, 3);
    CHECK(made.open == 3);
    CHECK((made.units == std::vector<long>{8, 6}));
    for (const auto& needs : made.needs[0]) CHECK(needs.empty());
    CHECK(same(made.needs[1][0], {{0, 0, 2}}));  // rows 0-2
    CHECK(same(made.needs[1][1], {{0, 0, 4}}));  // rows 1-4
    CHECK(same(made.needs[1][2], {{0, 2, 6}}));  // rows 3-6
    CHECK(same(made.needs[1][5], {{0, 6, 8}}));  // rows 9-11
}

TEST(every_part_of_a_unit_needs_the_same) {
    Chain chain;
    chain.add(6, 0, 1);
    chain.add(6, 0, 3);
    const sovs::Stages made = sovs::stages_with_needs(chain.network, chain.stages, 2);
    for (int part = 0; part < 3; ++part) CHECK(same(made.needs[1][part], {{0, 0, 1}}));
    for (int part = 3; part < 6; ++part) CHECK(same(made.needs[1][part], {{0, 1, 2}}));
}

TEST(a_step_that_may_read_anything_needs_the_whole_map) {
    Chain chain;
    chain.add(3, 0, 1);
    chain.add(3, 0, 1, false);
    const sovs::Stages made = sovs::stages_with_needs(chain.network, chain.stages, 2);
    for (const auto& needs : made.needs[1]) CHECK(same(needs, {{0, 0, 4}}));
}

TEST(stages_that_must_have_ended_anyway_are_not_listed) {
    Chain chain;
    for (int step = 0; step < 3; ++step) chain.add(3, 0, 1);
    chain.network.steps[2].inputs = {0, 1, 2};
    const sovs::Stages made = sovs::stages_with_needs(chain.network, chain.stages, 2);
    CHECK(same(made.needs[2][1], {{1, 1, 2}}));
    CHECK(same(sovs::stages_with_needs(chain.network, chain.stages, 3).needs[2][1], {{0, 1, 2}, {1, 1, 2}}));
    CHECK(sovs::stages_with_needs(chain.network, chain.stages, 1).needs.empty());
}

TEST(a_band_needs_and_gives_what_its_steps_read_and_write_outside) {
    // Steps 1 and 2 run in two bands; map 2 between them is the bands' own.
    Chain chain;
    for (const std::int64_t halo : {0, 1, 0, 0}) chain.add(3, halo, 1);
    chain.stages = {{0, 1, {}, {}, 0}, {1, 3, {}, {{2, 0}}, 64}, {3, 4, {}, {}, 0}};
    const std::vector<sovs::StripRun> upper{{0, 0, 2}, {1, 0, 2}}, lower{{0, 2, 4}, {1, 2, 4}};
    chain.stages[1].strips.bands = {{upper, upper}, {lower, lower}};
    const sovs::Stages made = sovs::stages_with_needs(chain.network, chain.stages, 3);
    CHECK((made.units == std::vector<long>{4, 2, 4}));
    CHECK(same(made.needs[1][0], {{0, 0, 3}, {0, 0, 3}}));  // rows 0-5 and one more, of both runs
    CHECK(same(made.needs[1][1], {{0, 1, 4}, {0, 1, 4}}));
    CHECK(same(made.needs[2][1], {{1, 0, 1}}));
    CHECK(same(made.needs[2][2], {{1, 1, 2}}));
}
