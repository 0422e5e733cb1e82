// The columns of sparse weights as plan files of int8 hold them: each by how many it leaves out behind the one before it.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace sovs {

// Of each row's first column, the one before it is -1. A byte of 255 leaves out that many and goes on.
// row_ptr: (rows + 1), of the columns; `tensor`: what errors call the gaps. Throws InvalidArgument where the bytes are not
// just those of row_ptr.back() columns below `columns`.
std::vector<std::int32_t> columns_of_gaps(const std::vector<std::uint8_t>& gaps,
                                          const std::vector<std::int32_t>& row_ptr, std::int64_t columns,
                                          const std::string& tensor);

}  // namespace sovs
