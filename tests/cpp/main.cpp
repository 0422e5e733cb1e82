// Runs every registered test, or those whose name contains the argument (with a dash before it: does not contain it),
// and closes with a count.
#include <cstring>

#include "check.h"
#include "sparse_ovs.h"

namespace {

bool wanted(const std::string& name, const std::string& filter) {
    const bool without = filter.starts_with('-');
    return (name.find(filter.substr(without)) == std::string::npos) == without;
}

}  // namespace

int main(int argc, char** argv) {
    if (sovs_isa() == nullptr) {
        std::printf("skipped: %s\n", sovs_last_error());
        return 77;  // what CTest takes for skipped
    }
    std::printf("isa %s (available: %s)\n", sovs_isa(), sovs_available_isas());
    int passed = 0, failed = 0;
    for (const check::Case& test : check::cases()) {
        if (argc > 1 && !wanted(test.name, argv[1])) continue;
        const int before = check::failures();
        test.body();
        const bool ok = check::failures() == before;
        (ok ? passed : failed) += 1;
        if (!ok) std::printf("FAILED %s\n", test.name.c_str());
    }
    std::printf("%d passed, %d failed\n", passed, failed);
    return failed == 0 && passed > 0 ? 0 : 1;
}
