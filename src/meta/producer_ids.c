/* Blocks of producer ids: the log remembers where the next block begins, so no id is given twice.
 * Pure; shard 0. */
#include <inttypes.h>

#include "meta/controller_internal.h"

enum err controller_allocate_producer_ids(const struct controller *controller,
                                          const struct controller_call *call, int32_t broker_id,
                                          int64_t broker_epoch, int64_t *first, int32_t *count,
                                          struct meta_error *error)
{
    const struct image *image = controller->head;
    const struct broker_image *broker = image_broker(image, broker_id);
    if (!broker)
        return meta_error_set(error, call->arena, ERR_STALE_BROKER_EPOCH,
                              "No broker registration found for broker id %" PRId32, broker_id);
    if (broker->epoch != broker_epoch)
        return meta_error_set(error, call->arena, ERR_STALE_BROKER_EPOCH,
                              "Expected broker epoch %" PRId64 ", but got broker epoch %" PRId64,
                              broker->epoch, broker_epoch);
    if (image->next_producer_id > INT64_MAX - PRODUCER_ID_BLOCK)
        return meta_error_set(error, call->arena, ERR_UNKNOWN_SERVER_ERROR,
                              "Exhausted all producerIds as the next block's end producerId has "
                              "exceeded the int64 type limit");
    struct producer_ids_record *r = CALL_BODY(call, producer_ids_record);
    if (!r)
        return ERR_NOMEM;
    r->broker_id = broker_id;
    r->broker_epoch = broker_epoch;
    r->next_producer_id = image->next_producer_id + PRODUCER_ID_BLOCK;
    *first = image->next_producer_id;
    *count = PRODUCER_ID_BLOCK;
    return controller_add(controller, call, META_PRODUCER_IDS, r);
}
