// The vocabulary of programs: what each record's op stands for.
#pragma once
#include <memory>

#include "program/record.h"
#include "steps/operation.h"

namespace sovs {

// The operation of a record with `inputs` inputs. Throws InvalidArgument where there is none of that name, or the record
// does not say what it needs.
std::shared_ptr<const Operation> read_operation(const Record& record, std::size_t inputs);

}  // namespace sovs
