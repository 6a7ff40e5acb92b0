/* Of each thing the last record counts, and a removal is a record, too: so they are put in order,
 * the later ones behind, and of every run of the same thing the last is looked at. */
#include "meta/kept.h"

#include <stdlib.h>

struct kept {
    struct meta_record record;
    uint64_t number;
};

static bool is_kind(int16_t type, bool is_quota)
{
    return is_quota
               ? type == META_CLIENT_QUOTA
               : type == META_USER_SCRAM_CREDENTIAL || type == META_REMOVE_USER_SCRAM_CREDENTIAL;
}

static enum err collect(const struct image *image, struct arena *arena, bool is_quota,
                        struct kept **out, size_t *count)
{
    struct kept *items = arena_array(arena, image->carried.count, sizeof(*items));
    struct table_iter iter;
    size_t n = 0;
    if (!items)
        return ERR_NOMEM;
    table_begin(&iter, &image->carried);
    for (const struct carried_image *carried; (carried = table_next(&iter)) != NULL;) {
        struct meta_error error;
        items[n].number = carried->number;
        TRY(meta_record_decode(carried->value, arena, &items[n].record, &error));
        n += is_kind(items[n].record.type, is_quota);
    }
    *out = items;
    *count = n;
    return ERR_OK;
}

static int number_cmp(const struct kept *a, const struct kept *b)
{
    return (a->number > b->number) - (a->number < b->number);
}

/* --- quotas --- */

static int part_cmp(const void *a, const void *b)
{
    const struct client_quota_record_entity *x = a, *y = b;
    return str_cmp(x->entity_type, y->entity_type);
}

int quota_entity_cmp(const struct client_quota_record *a, const struct client_quota_record *b)
{
    int order = (a->entity_len > b->entity_len) - (a->entity_len < b->entity_len);
    for (int32_t i = 0; order == 0 && i < a->entity_len; i++) {
        const struct client_quota_record_entity *x = &a->entity[i], *y = &b->entity[i];
        order = str_cmp(x->entity_type, y->entity_type);
        if (order == 0) /* a default is a null, and no name */
            order = str_is_null(y->entity_name) - str_is_null(x->entity_name);
        if (order == 0 && !str_is_null(x->entity_name))
            order = str_cmp(x->entity_name, y->entity_name);
    }
    return order;
}

static int quota_cmp(const struct kept *a, const struct kept *b)
{
    const struct client_quota_record *x = a->record.body, *y = b->record.body;
    int order = quota_entity_cmp(x, y);
    return order ? order : str_cmp(x->key, y->key);
}

static int quota_order(const void *a, const void *b)
{
    int order = quota_cmp(a, b);
    return order ? order : number_cmp(a, b);
}

enum err image_quotas(const struct image *image, struct arena *arena,
                      const struct client_quota_record ***quotas, size_t *count)
{
    struct kept *items;
    size_t n;
    TRY(collect(image, arena, true, &items, &n));
    for (size_t i = 0; i < n; i++) {
        const struct client_quota_record *r = items[i].record.body;
        qsort(r->entity, (size_t)r->entity_len, sizeof(*r->entity), part_cmp);
    }
    qsort(items, n, sizeof(*items), quota_order);
    *quotas = arena_array(arena, n, sizeof(**quotas));
    *count = 0;
    if (!*quotas)
        return ERR_NOMEM;
    for (size_t i = 0; i < n; i++) {
        const struct client_quota_record *r = items[i].record.body;
        bool is_last = i + 1 == n || quota_cmp(&items[i], &items[i + 1]) != 0;
        if (is_last && !r->remove)
            (*quotas)[(*count)++] = r;
    }
    return ERR_OK;
}

/* --- credentials --- */

static struct str user_of(const struct kept *kept, int8_t *mechanism)
{
    if (kept->record.type == META_REMOVE_USER_SCRAM_CREDENTIAL) {
        const struct remove_user_scram_credential_record *r = kept->record.body;
        *mechanism = r->mechanism;
        return r->name;
    }
    const struct user_scram_credential_record *r = kept->record.body;
    *mechanism = r->mechanism;
    return r->name;
}

static int credential_cmp(const struct kept *a, const struct kept *b)
{
    int8_t x, y;
    struct str user = user_of(a, &x), other = user_of(b, &y);
    int order = str_cmp(user, other);
    return order ? order : (x > y) - (x < y);
}

static int credential_order(const void *a, const void *b)
{
    int order = credential_cmp(a, b);
    return order ? order : number_cmp(a, b);
}

enum err image_credentials(const struct image *image, struct arena *arena,
                           const struct user_scram_credential_record ***credentials, size_t *count)
{
    struct kept *items;
    size_t n;
    TRY(collect(image, arena, false, &items, &n));
    qsort(items, n, sizeof(*items), credential_order);
    *credentials = arena_array(arena, n, sizeof(**credentials));
    *count = 0;
    if (!*credentials)
        return ERR_NOMEM;
    for (size_t i = 0; i < n; i++) {
        bool is_last = i + 1 == n || credential_cmp(&items[i], &items[i + 1]) != 0;
        if (is_last && items[i].record.type == META_USER_SCRAM_CREDENTIAL)
            (*credentials)[(*count)++] = items[i].record.body;
    }
    return ERR_OK;
}
