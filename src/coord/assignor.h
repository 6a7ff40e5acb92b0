/* The assignors that a broker has for consumer groups: who shall have which partitions.
 *
 * uniform: every member has as many partitions as any other, as far as the subscriptions allow, and
 * keeps what it has as far as that allows. range: each topic is cut into one range for each of its
 * subscribers, in the order of instance id and then member id, so that topics of equal size are cut
 * alike. Both are what Apache Kafka's assignors of these names promise; where those leave a choice
 * to the order of a hash table, these choose by member id, so that the same group always gets the
 * same.
 *
 * Pure; the caller's thread. */
#ifndef COORD_ASSIGNOR_H
#define COORD_ASSIGNOR_H

#include "coord/assignment.h"

struct assignor_topic {
    struct uuid id;
    int32_t partition_count;
};

struct assignor_member {
    struct str member_id;
    struct str instance_id; /* null: a dynamic member */
    const uint32_t *topics; /* ascending indexes into the group's topics */
    uint32_t topic_count;
    const struct assignment *current; /* the target it has now; never NULL */
    struct assignment target;         /* out; in the arena */
};

struct assignor_group {
    const struct assignor_topic *topics; /* in the order of their ids */
    uint32_t topic_count;
    struct assignor_member *members; /* in the order of their ids */
    uint32_t member_count;
    struct arena *arena;
};

enum assignor { ASSIGNOR_UNIFORM, ASSIGNOR_RANGE, ASSIGNOR_COUNT };

/* "uniform", "range". */
struct str assignor_name(enum assignor assignor);
/* False if there is none of that name. */
bool assignor_of_name(struct str name, enum assignor *assignor);

/* Fills the target of every member. ERR_NOMEM: the arena cannot. */
enum err assignor_assign(enum assignor assignor, const struct assignor_group *group) MUST_USE;

#endif
