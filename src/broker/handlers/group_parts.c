/* See group_parts.h. Runs on: the request's shard. */
#include "broker/handlers/group_parts.h"

#include "broker/handlers/handlers.h"

struct group_parts *group_parts_create(struct request *req, size_t count, size_t stride)
{
    struct group_parts *parts = request_array(req, 1, sizeof(*parts));
    if (!parts)
        return NULL;
    *parts = (struct group_parts){.req = req, .count = count, .stride = stride};
    parts->items = request_array(req, count, stride);
    if (!parts->items)
        return NULL;
    for (size_t i = 0; i < count; i++) {
        struct group_part *part = group_part(parts, i);
        part->parts = parts;
    }
    return parts;
}

void group_part_aim(struct group_parts *parts, size_t at, struct coord_op *op, struct str group_id)
{
    struct group_part *part = group_part(parts, at);
    request_coordinator_call(parts->req, &part->call, op, group_id);
    op->arena = &part->arena;
    part->call.own = part;
}

static void part_ended(struct group_parts *parts)
{
    struct request *req = parts->req;
    if (--parts->pending > 0)
        return;
    /* The reply is encoded at once; the request's memory is ours for a moment longer. */
    request_hold(req);
    if (parts->fill(parts))
        request_reply(req);
    else
        request_over_limit(req);
    for (size_t i = 0; i < parts->count; i++)
        arena_deinit(&((struct group_part *)group_part(parts, i))->arena);
    request_release(req);
}

static void on_part(struct coordinator_call *call)
{
    part_ended(((struct group_part *)call->own)->parts);
}

void group_parts_start(struct group_parts *parts, coordinator_run *run, group_parts_fill *fill)
{
    parts->fill = fill;
    parts->pending = parts->count + 1;
    for (size_t i = 0; i < parts->count; i++)
        arena_init(&((struct group_part *)group_part(parts, i))->arena, REQUEST_ARENA_BYTES_MAX);
    for (size_t i = 0; i < parts->count; i++) {
        struct group_part *part = group_part(parts, i);
        part->call.run = run;
        part->call.done = on_part;
        coordinator_submit(&part->call);
    }
    part_ended(parts);
}
