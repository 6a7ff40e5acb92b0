/* Client quotas and SCRAM credentials of a log that Apache Kafka wrote. Nothing here acts on them
 * yet: their records are kept as they came (image.h), and this tells what they amount to, for who
 * describes them. Pure; any thread. */
#ifndef META_KEPT_H
#define META_KEPT_H

#include "meta/image.h"
#include "wire/messages.h"

/* The quotas in force, one entry for each entity and key: those of an entity are neighbours, and so
 * are its parts in the order of their types. In the arena; strings are the image's. */
enum err image_quotas(const struct image *image, struct arena *arena,
                      const struct client_quota_record ***quotas, size_t *count) MUST_USE;
/* -1, 0 or 1. */
int quota_entity_cmp(const struct client_quota_record *a, const struct client_quota_record *b);

/* The credentials in force, in the order of users and mechanisms. */
enum err image_credentials(const struct image *image, struct arena *arena,
                           const struct user_scram_credential_record ***credentials,
                           size_t *count) MUST_USE;

#endif
