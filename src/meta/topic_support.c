/* What topics cannot have yet. Each entry names the setting, when it is refused, and the sentence
 * that the client gets. */
#include "meta/topic_support.h"

#include "meta/config_def.h"

static bool is_true(struct str value)
{
    return config_value_bool(value);
}

static const struct {
    const char *key;
    bool (*is_refused)(struct str value);
    const char *why;
} refusals[] = {
    {"remote.storage.enable", is_true,
     "Tiered Storage functionality is disabled in the broker. Topic cannot be configured with "
     "remote log storage."},
};

enum err topic_support_check(struct str key, struct str value, struct arena *arena,
                             struct meta_error *error)
{
    for (size_t i = 0; i < ARRAY_LEN(refusals); i++)
        if (str_eq_cstr(key, refusals[i].key) && refusals[i].is_refused(value))
            return meta_error_set(error, arena, ERR_INVALID_CONFIG, "%s", refusals[i].why);
    return ERR_OK;
}
