// A test framework in one page: TEST registers a function, CHECK counts and reports, main runs them all.
#pragma once
#include <cstdio>
#include <functional>
#include <string>
#include <vector>

namespace check {

struct Case {
    std::string name;
    std::function<void()> body;
};

inline std::vector<Case>& cases() {
    static std::vector<Case> all;
    return all;
}

inline int& failures() {
    static int count = 0;
    return count;
}

inline bool report(bool ok, const char* file, int line, const std::string& what) {
    if (!ok) {
        ++failures();
        std::printf("%s:%d: failed: %s\n", file, line, what.c_str());
    }
    return ok;
}

struct Register {
    Register(const char* name, std::function<void()> body) { cases().push_back({name, std::move(body)}); }
};

}  // namespace check

#define CHECK(condition) check::report((condition), __FILE__, __LINE__, #condition)
#define CHECK_SAYING(condition, text) check::report((condition), __FILE__, __LINE__, (text))
#define TEST(name)                                             \
    static void name();                                        \
    static const check::Register register_##name{#name, name}; \
    static void name()
