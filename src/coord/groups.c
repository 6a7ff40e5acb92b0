/* Groups from outside: described, listed, deleted. A consumer group is described by
 * consumer_describe.c; to who asks for a classic group of its name there is none. Pure. */
#include "coord/classic.h"
#include "coord/consumer.h"

/* --- describe --- */

static enum err copy(struct arena *arena, struct str from, struct str *to)
{
    *to = str_is_null(from) ? STR("") : arena_str(arena, from);
    return to->data ? ERR_OK : ERR_NOMEM;
}

static enum err copy_bytes(struct arena *arena, struct slice from, struct slice *to)
{
    *to = arena_slice(arena, from.data ? from : slice_of("", 0));
    return to->data ? ERR_OK : ERR_NOMEM;
}

/* What a member said is told of a group that has settled. */
static enum err describe_member(const struct group *group, const struct classic_member *member,
                                struct arena *arena, struct coord_classic_member *out)
{
    struct slice metadata = SLICE_NULL;
    if (classic_state(group) == CLASSIC_STABLE)
        metadata = classic_member_metadata(member, group->classic.protocol);
    TRY(copy(arena, member->id, &out->id));
    out->instance_id = STR_NULL;
    if (!str_is_null(member->instance_id))
        TRY(copy(arena, member->instance_id, &out->instance_id));
    TRY(copy(arena, member->client_id, &out->client_id));
    TRY(copy(arena, member->client_host, &out->client_host));
    TRY(copy_bytes(arena, metadata, &out->metadata));
    return copy_bytes(arena, member->assignment, &out->assignment);
}

static enum err describe(const struct group *group, struct coord_describe *describe)
{
    const struct classic *classic = &group->classic;
    struct arena *arena = describe->op.arena;
    bool is_stable = classic_state(group) == CLASSIC_STABLE;
    describe->state = str_of(sm_name(&classic->sm));
    TRY(copy(arena, classic->protocol_type, &describe->protocol_type));
    TRY(copy(arena, is_stable ? classic->protocol : STR_NULL, &describe->protocol));
    describe->members = arena_array(arena, classic->member_count, sizeof(*describe->members));
    if (!describe->members)
        return ERR_NOMEM;
    LIST_FOREACH (node, &classic->members)
        TRY(describe_member(group, LIST_ENTRY(node, struct classic_member, link), arena,
                            &describe->members[describe->member_count++]));
    return ERR_OK;
}

void coord_describe(struct coord *coord, const struct coord_call *call, struct coord_describe *own)
{
    const struct group *group = group_find(coord, own->group_id);
    own->state = STR("Dead");
    own->protocol_type = STR("");
    own->protocol = STR("");
    own->member_count = 0;
    own->is_other_kind = group && group->consumer;
    enum err err = group && !own->is_other_kind ? describe(group, own) : ERR_GROUP_ID_NOT_FOUND;
    coord_op_end(&own->op, err, call);
}

/* --- list --- */

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static bool is_among(struct str name, const struct str *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        size_t at = 0;
        while (at < name.len && at < names[i].len &&
               lower(name.data[at]) == lower(names[i].data[at]))
            at++;
        if (at == name.len && at == names[i].len)
            return true;
    }
    return count == 0;
}

static struct coord_listed listed(const struct group *group)
{
    if (group->consumer)
        return (struct coord_listed){
            .id = group->id,
            .protocol_type = STR("consumer"),
            .state = str_of(consumer_state_name(group->consumer)),
            .type = STR("consumer"),
        };
    return (struct coord_listed){
        .id = group->id,
        .protocol_type = group->classic.protocol_type,
        .state = str_of(sm_name(&group->classic.sm)),
        .type = STR("classic"),
    };
}

static enum err list_groups(const struct coord *coord, struct coord_list *list)
{
    list->group_count = 0;
    list->groups = arena_array(list->op.arena, coord->groups.count, sizeof(*list->groups));
    if (!list->groups)
        return ERR_NOMEM;
    LIST_FOREACH (node, &coord->group_list) {
        const struct group *group = LIST_ENTRY(node, struct group, link);
        struct coord_listed own = listed(group);
        if (!is_among(own.state, list->states, list->state_count) ||
            !is_among(own.type, list->types, list->type_count))
            continue;
        struct coord_listed *out = &list->groups[list->group_count++];
        *out = own;
        TRY(copy(list->op.arena, own.id, &out->id));
        TRY(copy(list->op.arena, own.protocol_type, &out->protocol_type));
    }
    return ERR_OK;
}

void coord_list(struct coord *coord, const struct coord_call *call, struct coord_list *list)
{
    coord_op_end(&list->op, list_groups(coord, list), call);
}

/* --- delete --- */

static bool is_empty(const struct group *group)
{
    return group->consumer ? group->consumer->member_count == 0
                           : classic_state(group) == CLASSIC_EMPTY;
}

static enum err delete_group(struct coord *coord, struct group *group,
                             const struct coord_call *call)
{
    if (!group)
        return ERR_GROUP_ID_NOT_FOUND;
    if (!is_empty(group))
        return ERR_NON_EMPTY_GROUP;
    bool has_offsets = !offsets_none(group), is_consumer = group->consumer != NULL;
    TRY(offsets_delete_all(group, call));
    if (is_consumer)
        TRY(consumer_delete(coord, call, group));
    /* With offsets it is a classic group then, until these are gone. */
    return has_offsets || !is_consumer ? classic_tombstone(group, call) : ERR_OK;
}

void coord_delete(struct coord *coord, const struct coord_call *call, struct coord_delete *request)
{
    size_t mark = call->records->count;
    call->records->may_split = true;
    enum err err = delete_group(coord, group_find(coord, request->group_id), call);
    if (err != ERR_OK)
        call->records->count = mark;
    coord_op_end(&request->op, err, call);
}
