// What each function of the C API returns: exceptions as a status and a message.
#pragma once
#include <exception>
#include <new>
#include <string>

#include "base/error.h"
#include "sparse_ovs.h"

namespace sovs {

inline thread_local std::string last_error;

template <typename Body>
sovs_status guarded(Body&& body) {
    try {
        body();
        return SOVS_OK;
    } catch (const sovs::InvalidArgument& error) {
        last_error = error.what();
        return SOVS_INVALID_ARGUMENT;
    } catch (const std::bad_alloc&) {
        last_error = "out of memory";
        return SOVS_OUT_OF_MEMORY;
    } catch (const std::exception& error) {
        last_error = error.what();
        return SOVS_INTERNAL_ERROR;
    }
}

}  // namespace sovs
