/* DescribeClientQuotas (KIP-546): the quotas that the metadata holds. They come with a folder of
 * Apache Kafka's; none is enforced here, so none can be set. */
#include "broker/handlers/handlers.h"

#include "meta/kept.h"

enum { MATCH_EXACT = 0, MATCH_DEFAULT = 1, MATCH_SPECIFIED = 2 };

struct refusal {
    enum err err; /* ERR_OK: none */
    struct str why;
};

static struct refusal check_match(const struct describe_client_quotas_request_component *c,
                                  struct arena *arena)
{
    static const char *const names[] = {"EXACT", "DEFAULT", "SPECIFIED"};
    if (c->match_type < MATCH_EXACT || c->match_type > MATCH_SPECIFIED)
        return (struct refusal){ERR_INVALID_REQUEST,
                                arena_printf(arena, "Unknown match type %d", c->match_type)};
    if (c->match_type == MATCH_EXACT && str_is_null(c->match))
        return (struct refusal){
            ERR_INVALID_REQUEST,
            STR("Request specified MATCH_TYPE_EXACT, but set match string to null.")};
    if (c->match_type != MATCH_EXACT && !str_is_null(c->match))
        return (struct refusal){
            ERR_INVALID_REQUEST,
            arena_printf(arena,
                         "Request specified MATCH_TYPE_%s, but also specified a match string.",
                         names[c->match_type])};
    return (struct refusal){ERR_OK, STR_NULL};
}

static struct refusal check_type(const struct describe_client_quotas_request_component *c,
                                 struct arena *arena)
{
    if (c->entity_type.len == 0)
        return (struct refusal){ERR_INVALID_REQUEST, STR("Invalid empty entity type.")};
    if (str_eq(c->entity_type, STR("user")) || str_eq(c->entity_type, STR("client-id")) ||
        str_eq(c->entity_type, STR("ip")))
        return (struct refusal){ERR_OK, STR_NULL};
    return (struct refusal){
        ERR_UNSUPPORTED_VERSION,
        arena_printf(arena, "Unsupported entity type %.*s", STR_ARG(c->entity_type))};
}

static struct refusal check_components(const struct describe_client_quotas_request *body,
                                       struct arena *arena)
{
    bool has_ip = false;
    struct refusal refusal = {ERR_OK, STR_NULL};
    for (int32_t i = 0; refusal.err == ERR_OK && i < body->components_len; i++)
        refusal = check_match(&body->components[i], arena);
    for (int32_t i = 0; refusal.err == ERR_OK && i < body->components_len; i++) {
        const struct describe_client_quotas_request_component *c = &body->components[i];
        for (int32_t k = 0; k < i; k++)
            if (str_eq(body->components[k].entity_type, c->entity_type))
                return (struct refusal){ERR_INVALID_REQUEST,
                                        arena_printf(arena,
                                                     "Entity type %.*s cannot appear more than "
                                                     "once in the filter.",
                                                     STR_ARG(c->entity_type))};
        refusal = check_type(c, arena);
        has_ip = has_ip || str_eq(c->entity_type, STR("ip"));
    }
    if (refusal.err == ERR_OK && has_ip && body->components_len > 1)
        return (struct refusal){ERR_INVALID_REQUEST,
                                STR("Invalid entity filter component combination. IP filter "
                                    "component should not be used with user or clientId filter "
                                    "component.")};
    return refusal;
}

static bool has_component(const struct client_quota_record *quota,
                          const struct describe_client_quotas_request_component *c)
{
    for (int32_t i = 0; i < quota->entity_len; i++) {
        const struct client_quota_record_entity *part = &quota->entity[i];
        if (!str_eq(part->entity_type, c->entity_type))
            continue;
        return c->match_type == MATCH_SPECIFIED ||
               (c->match_type == MATCH_DEFAULT ? str_is_null(part->entity_name)
                                               : str_eq(part->entity_name, c->match));
    }
    return false;
}

static bool is_asked_for(const struct client_quota_record *quota,
                         const struct describe_client_quotas_request *body)
{
    for (int32_t i = 0; i < body->components_len; i++)
        if (!has_component(quota, &body->components[i]))
            return false;
    return !body->strict || quota->entity_len == body->components_len;
}

/* One entry of the answer: the `count` keys of one entity. */
static bool fill_entry(struct request *req, const struct client_quota_record **quotas, size_t count,
                       struct describe_client_quotas_response_entry *out)
{
    const struct client_quota_record *first = quotas[0];
    out->entity =
        MSG_ARRAY(describe_client_quotas_response_entity, &req->arena, (size_t)first->entity_len);
    out->values = MSG_ARRAY(describe_client_quotas_response_value, &req->arena, count);
    if (!out->entity || !out->values)
        return false;
    out->entity_len = first->entity_len;
    for (int32_t i = 0; i < first->entity_len; i++) {
        out->entity[i].entity_type = first->entity[i].entity_type;
        out->entity[i].entity_name = first->entity[i].entity_name;
    }
    out->values_len = (int32_t)count;
    for (size_t i = 0; i < count; i++) {
        out->values[i].key = quotas[i]->key;
        out->values[i].value = quotas[i]->value;
    }
    return true;
}

static bool fill_entries(struct request *req)
{
    struct describe_client_quotas_response *response = req->response;
    const struct client_quota_record **quotas;
    size_t count;
    if (image_quotas(req->shard->image, &req->arena, &quotas, &count) != ERR_OK)
        return false;
    response->entries = MSG_ARRAY(describe_client_quotas_response_entry, &req->arena, count);
    bool is_ok = response->entries != NULL;
    response->entries_len = 0;
    for (size_t i = 0, next; is_ok && i < count; i = next) {
        for (next = i + 1; next < count && quota_entity_cmp(quotas[i], quotas[next]) == 0;)
            next++;
        if (is_asked_for(quotas[i], req->body))
            is_ok =
                fill_entry(req, quotas + i, next - i, &response->entries[response->entries_len++]);
    }
    return is_ok;
}

void describe_client_quotas_begin(struct request *req)
{
    struct describe_client_quotas_response *response = req->response;
    struct refusal refusal = check_components(req->body, &req->arena);
    if (refusal.err != ERR_OK) {
        response->error_code = wire_code_of_err(refusal.err);
        response->error_message = refusal.why;
        response->entries_len = -1;
    } else if (!fill_entries(req)) {
        request_over_limit(req);
        return;
    }
    request_reply(req);
}
