#include "program/column_gaps.h"

#include "base/error.h"

namespace sovs {

std::vector<std::int32_t> columns_of_gaps(const std::vector<std::uint8_t>& gaps,
                                          const std::vector<std::int32_t>& row_ptr, std::int64_t columns,
                                          const std::string& tensor) {
    constexpr std::uint8_t kGoOn = 255;
    const std::string wanted = "gaps of " + std::to_string(row_ptr.back()) + " columns in " + tensor;
    const auto refuse = [](const std::string& message) { throw InvalidArgument("expected " + message); };
    std::vector<std::int32_t> made;
    made.reserve(gaps.size());  // a column takes a byte or more
    std::size_t at = 0;
    for (std::size_t row = 0; row + 1 < row_ptr.size(); ++row) {
        std::int64_t column = -1;
        for (std::int32_t i = row_ptr[row]; i < row_ptr[row + 1]; ++i) {
            ++column;
            for (std::uint8_t gap = kGoOn; gap == kGoOn; column += gap) {
                if (at == gaps.size()) refuse(wanted + ", got fewer");
                gap = gaps[at++];
            }
            if (column >= columns)
                refuse("columns below " + std::to_string(columns) + " in " + tensor + ", got " +
                       std::to_string(column));
            made.push_back(static_cast<std::int32_t>(column));
        }
    }
    if (at != gaps.size()) refuse(wanted + ", got " + std::to_string(gaps.size() - at) + " bytes more");
    return made;
}

}  // namespace sovs
