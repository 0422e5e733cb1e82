#include "kernels/isa.h"

#include <cstdlib>
#include <vector>

#if defined(__aarch64__) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif
#if defined(__x86_64__)
#include <cpuid.h>
#endif
#if defined(__x86_64__) && defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include "base/error.h"
#include "kernels/bf16_table.h"
#include "kernels/byte_table.h"

namespace sovs {
namespace {

std::vector<const KernelTable*> usable_tables() {
    std::vector<const KernelTable*> tables;
#if defined(__x86_64__)
    __builtin_cpu_init();  // also asks whether the system saves the wide registers
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512bw"))
        tables.push_back(&avx512::table);
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
        tables.push_back(&avx2::table);
#if defined(SOVS_HAS_AVX2X16)  // slower: only when asked for
        tables.push_back(&avx2x16::table);
#endif
    }
#elif defined(__aarch64__)
    tables.push_back(&neon::table);
#endif
    tables.push_back(&generic::table);
    return tables;
}

const KernelTable& choose() {
    const auto tables = usable_tables();
    const char* wanted = std::getenv("SPARSE_OVS_ISA");
    if (wanted == nullptr || *wanted == '\0') return *tables.front();
    for (const KernelTable* table : tables)
        if (std::string(table->isa) == wanted) return *table;
    throw InvalidArgument("expected SPARSE_OVS_ISA to be one of " + available_isas() + ", got '" + wanted + "'");
}

#if defined(__aarch64__)
bool has_dot_products() {
#if defined(__linux__)
    return (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0;
#else
    return true;  // every Apple processor of a Mac
#endif
}
#endif

const ByteTable& choose_bytes() {
    const std::string isa = kernels().isa;
#if defined(__x86_64__)
    if (isa == "avx512" && __builtin_cpu_supports("avx512vnni")) return avx512vnni::byte_table;
    if (isa != "generic") return avx2::byte_table;
#elif defined(__aarch64__)
    if (isa == "neon") return has_dot_products() ? neondot::byte_table : neon::byte_table;
#endif
    return generic::byte_table;
}

#if defined(__x86_64__)
// Whether the CPU has AMX's tiles and products of bf16 (older compilers know no names of these), the system hands them out,
// which Linux does on request, and SPARSE_OVS_AMX is not 0.
bool may_use_tiles() {
#if defined(__linux__)
    const char* wanted = std::getenv("SPARSE_OVS_AMX");
    if (wanted != nullptr && std::string(wanted) == "0") return false;
    constexpr unsigned kBf16 = 1u << 22, kTiles = 1u << 24;  // of leaf 7's edx
    unsigned a = 0, b = 0, c = 0, d = 0;
    if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0 || (d & kBf16) == 0 || (d & kTiles) == 0) return false;
    constexpr long kRequest = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
    return syscall(SYS_arch_prctl, kRequest, kTileData) == 0;
#else
    return false;
#endif
}
#endif

const Bf16Table* choose_bf16() {
#if defined(__x86_64__)
    if (std::string(kernels().isa) == "avx512" && __builtin_cpu_supports("avx512bf16")) {
        if (may_use_tiles()) return &amxbf16::bf16_table;
        return &avx512bf16::bf16_table;
    }
#endif
    return nullptr;
}

}  // namespace

const Bf16Table* bf16_kernels() {
    static const Bf16Table* const table = choose_bf16();
    return table;
}

void require_bf16_kernels() {
    if (bf16_kernels() == nullptr)
        throw InvalidArgument(std::string("expected a CPU with AVX512_BF16 for numbers of bf16, got ") + kernels().isa +
                              " without");
}

const ByteTable& byte_kernels() {
    static const ByteTable& table = choose_bytes();
    return table;
}

const KernelTable& kernels() {
    static const KernelTable& table = choose();
    return table;
}

const std::string& available_isas() {
    static const std::string names = [] {
        std::string joined;
        for (const KernelTable* table : usable_tables()) {
            if (!joined.empty()) joined += ',';
            joined += table->isa;
        }
        return joined;
    }();
    return names;
}

}  // namespace sovs
