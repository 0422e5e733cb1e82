#include "base/fork_safe.h"

#include <pthread.h>

#include <new>

namespace sovs {
namespace {

// Before any thread could fork.
[[maybe_unused]] const std::shared_mutex& made_with_the_library = fork_gate();

}  // namespace

std::shared_mutex& fork_gate() {
    static std::shared_mutex* const gate = [] {
        // The child is no owner of what its parent locked: it begins with a new one.
        pthread_atfork([] { fork_gate().lock(); }, [] { fork_gate().unlock(); },
                       [] { new (&fork_gate()) std::shared_mutex; });
        return new std::shared_mutex;  // never destroyed: weights may outlive every static
    }();
    return *gate;
}

}  // namespace sovs
