/* What image.c, image_apply.c and image_snapshot.c share. Private to src/meta. */
#ifndef META_IMAGE_INTERNAL_H
#define META_IMAGE_INTERNAL_H

#include "meta/image.h"

/* Copies with one reference, made of what `spec` says; its lists may lie anywhere. NULL: no
 * memory. */
struct partition_image *partition_image_create(const struct partition_image *spec);
struct broker_image *broker_image_create(const struct broker_image *spec);
struct controller_image *controller_image_create(const struct controller_image *spec);
struct config_image *config_image_create(const struct config_image *spec);
struct feature_image *feature_image_create(struct str name, int16_t level);
struct carried_image *carried_image_create(uint64_t number, struct slice value);
/* No partitions yet. */
struct topic_image *topic_image_create(struct str name, struct uuid id, uint64_t generation);
/* A copy that shares the partitions. */
struct topic_image *topic_image_clone(const struct topic_image *topic, uint64_t generation);
/* Puts a partition (taking its reference over) at its place; the topic must be the maker's own. */
enum err topic_image_put(struct topic_image *topic, uint32_t index,
                         struct partition_image *partition) MUST_USE;
void partition_image_unref(struct partition_image *partition);
void topic_image_unref(void *topic);
void broker_image_unref(void *broker);
void controller_image_unref(void *controller);
void config_image_unref(void *config);
void feature_image_unref(void *feature);
void carried_image_unref(void *carried);

/* A copy of the image, to be changed before anyone else sees it. */
enum err image_copy(const struct image *base, struct image **out) MUST_USE;

#endif
