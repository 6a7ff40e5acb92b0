/* Goal: no text that a client or server.properties gives for a key makes its checks misbehave; what
 * passes has a canonical form that passes, too, and means the same. Method: the first two bytes
 * choose the scope and the key, the rest is the value. */
#include "base/assert.h"
#include "meta/address_limits.h"
#include "meta/config_def.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define ARENA_BYTES_MAX ((size_t)16 << 20)

static void check_value(const struct config_def *def, struct str value, struct arena *arena)
{
    struct meta_error error = {ERR_OK, STR_NULL};
    enum err err = config_def_check(def, value, arena, &error);
    if (err == ERR_NOMEM)
        return;
    ASSERT(err == ERR_OK || error.text.len > 0);
    (void)config_value_i64(value);
    (void)config_value_f64(value);
    if (err != ERR_OK)
        return;
    struct str canonical = config_value_canonical(def, value, arena);
    if (!canonical.data)
        return;
    err = config_def_check(def, canonical, arena, &error);
    ASSERT(err == ERR_OK || err == ERR_NOMEM);
    struct str again = config_value_canonical(def, canonical, arena);
    ASSERT(!again.data || str_eq(again, canonical));
}

static void check_addresses(struct str text)
{
    struct address address;
    struct address_limit limit;
    struct str element, list = text;
    (void)address_parse(text, &address);
    for (size_t left = text.len + 1; address_limit_next(&list, &limit, &element) == ERR_OK; left--)
        ASSERT(left > 0); /* each takes something off the list */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (len < 2)
        return 0;
    const struct config_def *first;
    size_t count = config_def_list((enum config_scope)(data[0] % (CONFIG_SCOPE_OWN + 1)), &first);
    struct arena arena;
    arena_init(&arena, ARENA_BYTES_MAX);
    size_t at = ((size_t)data[0] / (CONFIG_SCOPE_OWN + 1) * 256 + data[1]) % count;
    struct str value = arena_str(&arena, (struct str){(const char *)data + 2, len - 2});
    if (value.data) {
        check_value(&first[at], value, &arena);
        check_addresses(value);
    }
    arena_deinit(&arena);
    return 0;
}
