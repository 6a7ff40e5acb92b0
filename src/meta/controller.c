/* The controller's head and what its parts share. See controller.h for the contract.
 * Pure; shard 0. */
#include "base/assert.h"
#include "meta/controller_internal.h"

void controller_init(struct controller *controller, struct image *image, int32_t node_id,
                     struct config_static configs)
{
    *controller = (struct controller){.head = image, .node_id = node_id, .configs = configs};
}

void controller_deinit(struct controller *controller)
{
    image_unref(controller->head);
    controller->head = NULL;
}

enum err controller_replay(struct controller *controller, const struct meta_record *records,
                           size_t count, int64_t end_offset, int32_t epoch, int64_t timestamp_ms,
                           struct arena *arena, struct meta_error *error)
{
    struct image *next;
    TRY(image_apply(controller->head, records, count, end_offset, epoch, timestamp_ms, arena, &next,
                    error));
    image_unref(controller->head);
    controller->head = next;
    return ERR_OK;
}

enum err controller_add(const struct controller *controller, const struct controller_call *call,
                        enum meta_type type, const void *body)
{
    int16_t version = meta_record_version(type, image_metadata_version(controller->head));
    return meta_records_add(call->records, (int16_t)type, version, body);
}

struct config_view controller_view(const struct controller *controller)
{
    return (struct config_view){controller->head, &controller->configs, controller->node_id};
}

int64_t controller_config_i64(const struct controller *controller, const char *broker_key)
{
    const struct config_def *def = config_def_find(CONFIG_SCOPE_BROKER, str_of(broker_key));
    ASSERT(def && def->fallback);
    struct config_view view = controller_view(controller);
    enum config_source source;
    return config_value_i64(config_broker_value(&view, def, &source));
}

bool controller_elr_enabled(const struct controller *controller)
{
    return image_feature(controller->head, STR("eligible.leader.replicas.version")) > 0;
}

/* A random (version 4) uuid that neither means something to Kafka (zero, one) nor starts with a
 * dash in text, where tools would take it for an option. */
struct uuid controller_random_uuid(const struct controller_call *call)
{
    struct uuid id;
    char text[UUID_TEXT_LEN + 1];
    do {
        rng_bytes(call->rng, id.bytes, sizeof(id.bytes));
        id.bytes[6] = (uint8_t)((id.bytes[6] & 0x0f) | 0x40);
        id.bytes[8] = (uint8_t)((id.bytes[8] & 0x3f) | 0x80);
        uuid_format(id, text);
    } while (text[0] == '-');
    return id;
}
