/* Shared libraries on demand, by the dynamic linker; see late.h. */
#include "base/late.h"

#include <dlfcn.h>

#include "base/assert.h"

static_assert(sizeof(void *) == sizeof(void (*)(void)), "dlsym gives functions as data");

const char *late_load(const char *file, const char *const names[], void *table, size_t count)
{
    /* Whatever it lacks itself is to be known now, not in the middle of its use. */
    void *library = dlopen(file, RTLD_NOW | RTLD_LOCAL);
    if (!library)
        return dlerror();
    void **functions = table;
    for (size_t i = 0; i < count; i++) {
        functions[i] = dlsym(library, names[i]);
        if (!functions[i])
            return dlerror();
    }
    return NULL;
}
