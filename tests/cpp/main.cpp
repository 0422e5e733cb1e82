// Runs every registered test, or those whose name contains the argument, and closes with a count.
#include <cstring>

#include "check.h"
#include "sparse_ovs.h"

int main(int argc, char** argv) {
    std::printf("isa %s (available: %s)\n", sovs_isa(), sovs_available_isas());
    int passed = 0, failed = 0;
    for (const check::Case& test : check::cases()) {
        if (argc > 1 && test.name.find(argv[1]) == std::string::npos) continue;
        const int before = check::failures();
        test.body();
        const bool ok = check::failures() == before;
        (ok ? passed : failed) += 1;
        if (!ok) std::printf("FAILED %s\n", test.name.c_str());
    }
    std::printf("%d passed, %d failed\n", passed, failed);
    return failed == 0 && passed > 0 ? 0 : 1;
}
