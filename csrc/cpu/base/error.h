// Failures inside the library: one exception type that the C API turns into a status and a message.
#pragma once
#include <stdexcept>
#include <string>

namespace sovs {

struct InvalidArgument : std::invalid_argument {
    using std::invalid_argument::invalid_argument;
};

inline void require(bool condition, const char* message) {
    if (!condition) throw InvalidArgument(message);
}

}  // namespace sovs
