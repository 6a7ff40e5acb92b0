/* ConsumerGroupDescribe: a group, its members, and what they have and shall have. The answer leaves
 * later than it is made, so all of it is copied. Topics that are gone are left out. Pure. */
#include "coord/consumer.h"

struct copier {
    struct arena *arena;
    const struct coord_call *call;
    bool ok;
};

static struct str copy(struct copier *c, struct str s)
{
    if (str_is_null(s))
        return s;
    struct str made = arena_str(c->arena, s);
    c->ok = c->ok && made.data;
    return made;
}

/* Of two assignments, together: what a member has is also what it is still to give back. */
static size_t describe_topics(struct copier *c, const struct assignment *a,
                              const struct assignment *b, struct coord_described_topic **out)
{
    struct assignment_builder builder;
    struct assignment all;
    assignment_builder_init(&builder, c->arena, false);
    enum err err = ERR_OK;
    for (size_t i = 0; err == ERR_OK && i < a->count; i++)
        err = assignment_builder_add_topic(&builder, &a->topics[i]);
    for (size_t i = 0; err == ERR_OK && i < b->count; i++)
        err = assignment_builder_add_topic(&builder, &b->topics[i]);
    if (err == ERR_OK)
        err = assignment_builder_finish(&builder, &all);
    *out = err == ERR_OK ? arena_array(c->arena, all.count, sizeof(**out)) : NULL;
    c->ok = c->ok && *out;
    size_t count = 0;
    for (size_t i = 0; c->ok && i < all.count; i++) {
        struct coord_topic topic;
        if (!c->call->topics->by_id(c->call->topics->image, all.topics[i].topic_id, &topic))
            continue;
        (*out)[count++] = (struct coord_described_topic){
            topic.id, copy(c, topic.name), all.topics[i].partitions, (int32_t)all.topics[i].count};
    }
    return count;
}

static void describe_member(struct copier *c, const struct consumer_member *member,
                            struct coord_described_member *out)
{
    *out = (struct coord_described_member){
        .id = copy(c, member->id),
        .instance_id = copy(c, member->instance_id),
        .rack_id = copy(c, member->rack_id),
        .client_id = copy(c, member->client_id),
        .client_host = copy(c, member->client_host),
        .regex = member->regex ? copy(c, member->regex->pattern) : STR(""),
        .epoch = member->epoch,
        .is_classic = member->classic != NULL,
        .topics = arena_array(c->arena, member->topic_count, sizeof(*out->topics)),
        .topic_count = member->topic_count,
    };
    c->ok = c->ok && out->topics;
    for (size_t i = 0; c->ok && i < member->topic_count; i++)
        out->topics[i] = copy(c, member->topics[i]->name);
    out->assigned_count = describe_topics(c, member->assigned, member->pending, &out->assigned);
    out->target_count = describe_topics(c, member->target ? member->target : &assignment_empty,
                                        &assignment_empty, &out->target);
}

static enum err describe_group(const struct coord *coord, const struct coord_call *call,
                               const struct consumer *consumer, struct coord_consumer_describe *out)
{
    struct copier c = {out->op.arena, call, true};
    out->state = str_of(consumer_state_name(consumer));
    out->assignor = assignor_name(consumer_assignor(coord, consumer));
    out->epoch = consumer->epoch;
    out->target_epoch = consumer->target_epoch;
    out->members = arena_array(c.arena, consumer->member_count, sizeof(*out->members));
    if (!out->members)
        return ERR_NOMEM;
    out->member_count = consumer->member_count;
    for (size_t i = 0; c.ok && i < consumer->member_count; i++)
        describe_member(&c, consumer->members[i], &out->members[i]);
    return c.ok ? ERR_OK : ERR_NOMEM;
}

void coord_consumer_describe(struct coord *coord, const struct coord_call *call,
                             struct coord_consumer_describe *describe)
{
    const struct group *group = group_find(coord, describe->group_id);
    enum err err = ERR_GROUP_ID_NOT_FOUND;
    describe->message = STR_NULL;
    describe->member_count = 0;
    if (!group || group->type != GROUP_CONSUMER)
        describe->message = arena_printf(describe->op.arena, "Group %.*s %s.",
                                         STR_ARG(coord_quoted(describe->group_id)),
                                         group ? "is not a consumer group" : "not found");
    else
        err = describe_group(coord, call, group->consumer, describe);
    coord_op_end(&describe->op, err, call);
}
