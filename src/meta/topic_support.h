/* Which topic settings this version cannot honour yet: those are refused with a sentence, never
 * accepted without effect. The one list of them; it shrinks as features land. */
#ifndef META_TOPIC_SUPPORT_H
#define META_TOPIC_SUPPORT_H

#include "meta/image.h"
#include "meta/record.h"

/* ERR_OK, or ERR_INVALID_CONFIG with why. The value has passed config_def_check. */
enum err topic_support_check(struct str key, struct str value, struct arena *arena,
                             struct meta_error *error) MUST_USE;

/* ERR_OK, or ERR_UNSUPPORTED with a sentence for the operator: a topic of the cluster has what this
 * version cannot honour, or another broker takes part. */
enum err topic_support_check_all(const struct image *image, int32_t node_id, struct arena *arena,
                                 struct meta_error *error) MUST_USE;

#endif
