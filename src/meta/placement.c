/* Where replicas go: in stripes over racks and brokers, as Kafka's striped placer means it.
 *
 * The brokers that may take replicas are put in an order that alternates racks; a partition takes
 * `replication factor` neighbours of that circle, the next partition begins one place further. The
 * start is random, so topics do not all begin on the same broker. Unfenced brokers come first as
 * leaders: a fenced one may hold a replica but never the first place.
 *
 * Pure; shard 0. */
#include <inttypes.h>
#include <stdlib.h>

#include "base/assert.h"
#include "meta/controller_internal.h"

/* A broker's only folder is where its replicas go; one of several is chosen by the broker. */
static struct uuid default_directory(const struct broker_image *broker)
{
    return broker && broker->log_dir_count == 1 ? broker->log_dirs[0] : DIR_UNASSIGNED;
}

struct candidate {
    const struct broker_image *broker;
    uint32_t round; /* how many of its rack come before it */
};

static int candidate_compare(const void *a, const void *b)
{
    const struct candidate *x = a;
    const struct candidate *y = b;
    if (x->round != y->round)
        return x->round < y->round ? -1 : 1;
    struct str rx = x->broker->rack.data ? x->broker->rack : STR("");
    struct str ry = y->broker->rack.data ? y->broker->rack : STR("");
    int order = str_cmp(rx, ry);
    return order ? order : (x->broker->id > y->broker->id) - (x->broker->id < y->broker->id);
}

static bool all_dirs_cordoned(const struct broker_image *broker)
{
    return broker->log_dir_count > 0 && broker->cordoned_count >= broker->log_dir_count;
}

/* The circle of brokers; *active counts those that may lead. */
static enum err candidates_list(const struct image *image, struct arena *arena,
                                struct candidate **out, uint32_t *count, uint32_t *active)
{
    struct candidate *list = arena_array(arena, image->brokers.count, sizeof(*list));
    if (!list)
        return ERR_NOMEM;
    *count = *active = 0;
    struct table_iter iter;
    table_begin(&iter, &image->brokers);
    const struct broker_image *broker;
    while ((broker = table_next(&iter)) != NULL) {
        if (all_dirs_cordoned(broker))
            continue;
        uint32_t round = 0;
        for (uint32_t i = 0; i < *count; i++)
            round += str_eq(list[i].broker->rack, broker->rack);
        list[(*count)++] = (struct candidate){broker, round};
        *active += !broker->fenced;
    }
    qsort(list, *count, sizeof(*list), candidate_compare);
    *out = list;
    return ERR_OK;
}

enum err placement_choose(const struct controller *controller, const struct controller_call *call,
                          uint32_t partitions, int32_t replication_factor,
                          struct placement *placements, struct meta_error *error)
{
    struct candidate *circle;
    uint32_t count, active;
    TRY(candidates_list(controller->head, call->arena, &circle, &count, &active));
    const char *prefix = "Unable to replicate the partition";
    if (active == 0)
        return meta_error_set(error, call->arena, ERR_INVALID_REPLICATION_FACTOR,
                              "%s %" PRId32 " time(s): All brokers are currently fenced or have "
                              "all their log directories cordoned.",
                              prefix, replication_factor);
    if ((uint32_t)replication_factor > count)
        return meta_error_set(error, call->arena, ERR_INVALID_REPLICATION_FACTOR,
                              "%s %" PRId32 " time(s): The target replication factor of %" PRId32
                              " cannot be reached because only %" PRIu32
                              " broker(s) are registered or some brokers have all their log "
                              "directories cordoned.",
                              prefix, replication_factor, replication_factor, count);
    uint32_t start = (uint32_t)rng_below(call->rng, count);
    for (uint32_t p = 0; p < partitions; p++) {
        struct placement *placement = &placements[p];
        placement->replica_count = (uint32_t)replication_factor;
        placement->replicas = arena_array(call->arena, placement->replica_count, sizeof(int32_t));
        placement->directories =
            arena_array(call->arena, placement->replica_count, sizeof(struct uuid));
        if (!placement->replicas || !placement->directories)
            return ERR_NOMEM;
        /* The leader: the next unfenced broker of the circle. */
        while (circle[start % count].broker->fenced)
            start++;
        for (uint32_t r = 0; r < placement->replica_count; r++) {
            const struct broker_image *broker = circle[(start + r) % count].broker;
            placement->replicas[r] = broker->id;
            placement->directories[r] = default_directory(broker);
        }
        start++;
    }
    return ERR_OK;
}

static int i32_order(const void *a, const void *b)
{
    int32_t x = *(const int32_t *)a;
    int32_t y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

enum err placement_check(const struct controller *controller, const struct controller_call *call,
                         const struct create_assignment *assignment, int32_t replication_factor,
                         struct placement *placement, struct meta_error *error)
{
    struct arena *arena = call->arena;
    size_t count = assignment->broker_count;
    if (count == 0)
        return meta_error_set(error, arena, ERR_INVALID_REPLICA_ASSIGNMENT,
                              "The manual partition assignment includes an empty replica list.");
    if (count > META_REPLICAS_MAX)
        return meta_error_set(error, arena, ERR_INVALID_REPLICA_ASSIGNMENT,
                              "The manual partition assignment includes more than %d replicas.",
                              META_REPLICAS_MAX);
    int32_t *sorted = arena_array(arena, count, sizeof(*sorted));
    *placement = (struct placement){
        .replicas = arena_array(arena, count, sizeof(int32_t)),
        .directories = arena_array(arena, count, sizeof(struct uuid)),
        .replica_count = (uint32_t)count,
    };
    if (!sorted || !placement->replicas || !placement->directories)
        return ERR_NOMEM;
    memcpy(sorted, assignment->brokers, count * sizeof(*sorted));
    qsort(sorted, count, sizeof(*sorted), i32_order);
    for (size_t i = 0; i < count; i++) {
        if (!image_broker(controller->head, sorted[i]))
            return meta_error_set(error, arena, ERR_INVALID_REPLICA_ASSIGNMENT,
                                  "The manual partition assignment includes broker %" PRId32
                                  ", but no such broker is registered.",
                                  sorted[i]);
        if (i > 0 && sorted[i] == sorted[i - 1])
            return meta_error_set(error, arena, ERR_INVALID_REPLICA_ASSIGNMENT,
                                  "The manual partition assignment includes the broker %" PRId32
                                  " more than once.",
                                  sorted[i]);
    }
    if (replication_factor >= 0 && (size_t)replication_factor != count)
        return meta_error_set(error, arena, ERR_INVALID_REPLICA_ASSIGNMENT,
                              "The manual partition assignment includes a partition with %zu "
                              "replica(s), but this is not consistent with previous partitions, "
                              "which have %" PRId32 " replica(s).",
                              count, replication_factor);
    for (size_t i = 0; i < count; i++) {
        placement->replicas[i] = assignment->brokers[i];
        placement->directories[i] =
            default_directory(image_broker(controller->head, assignment->brokers[i]));
    }
    return ERR_OK;
}

enum err placement_add_partition(const struct controller *controller,
                                 const struct controller_call *call, struct uuid topic_id,
                                 int32_t partition, const struct placement *placement,
                                 struct meta_error *error)
{
    struct partition_record *r = CALL_BODY(call, partition_record);
    int32_t *isr = arena_array(call->arena, placement->replica_count, sizeof(*isr));
    if (!r || !isr)
        return ERR_NOMEM;
    int32_t isr_count = 0;
    for (uint32_t i = 0; i < placement->replica_count; i++) {
        const struct broker_image *broker = image_broker(controller->head, placement->replicas[i]);
        ASSERT(broker);
        if (!broker->fenced && !broker->in_controlled_shutdown)
            isr[isr_count++] = broker->id;
    }
    if (isr_count == 0)
        return meta_error_set(error, call->arena, ERR_INVALID_REPLICA_ASSIGNMENT,
                              "All brokers specified in the manual partition assignment for "
                              "partition %" PRId32 " are fenced or in controlled shutdown.",
                              partition);
    r->partition_id = partition;
    r->topic_id = topic_id;
    r->replicas = placement->replicas;
    r->replicas_len = (int32_t)placement->replica_count;
    r->isr = isr;
    r->isr_len = isr_count;
    r->leader = isr[0];
    r->leader_epoch = 0;
    r->partition_epoch = 0;
    if (image_metadata_version(controller->head) >= MV_DIRECTORIES) {
        r->directories = placement->directories;
        r->directories_len = (int32_t)placement->replica_count;
    }
    return controller_add(controller, call, META_PARTITION, r);
}
