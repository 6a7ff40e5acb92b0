/* Feature levels: what this program can run at, what a new folder begins with, and what a new
 * leader of the metadata log writes before anything else.
 *
 * Pure; shard 0. */
#include <inttypes.h>

#include "meta/controller_internal.h"

/* In the order of their names. kraft.version is finalized by the quorum's control records, not by
 * a feature record. */
static const struct feature_support supported[] = {
    {"eligible.leader.replicas.version", 0, 1, 1},
    {"group.version", 0, 1, 1},
    {"kraft.version", 0, 1, 1},
    {"metadata.version", MV_MINIMUM, MV_MAXIMUM, MV_MAXIMUM},
    {"share.version", 0, 1, 1},
    {"streams.version", 0, 1, 1},
    {"transaction.version", 0, 2, 2},
};

const struct feature_support *features_supported(size_t *count)
{
    *count = ARRAY_LEN(supported);
    return supported;
}

static const struct feature_support *find_support(struct str name)
{
    for (size_t i = 0; i < ARRAY_LEN(supported); i++)
        if (str_eq_cstr(name, supported[i].name))
            return &supported[i];
    return NULL;
}

static enum err add_level(struct meta_records *records, const struct feature_support *feature)
{
    struct feature_level_record *r = MSG_ARRAY(feature_level_record, records->arena, 1);
    if (!r)
        return ERR_NOMEM;
    r->name = str_of(feature->name);
    r->feature_level = feature->initial;
    return meta_records_add(records, META_FEATURE_LEVEL, 0, r);
}

enum err features_bootstrap(struct meta_records *records)
{
    TRY(add_level(records, find_support(STR("metadata.version"))));
    for (size_t i = 0; i < ARRAY_LEN(supported); i++)
        if (!str_eq(str_of(supported[i].name), STR("metadata.version")) &&
            !str_eq(str_of(supported[i].name), STR("kraft.version")))
            TRY(add_level(records, &supported[i]));
    return ERR_OK;
}

enum err features_check(const struct image *image, struct arena *arena, struct meta_error *error)
{
    struct table_iter iter;
    table_begin(&iter, &image->features);
    const struct feature_image *feature;
    while ((feature = table_next(&iter)) != NULL) {
        const struct feature_support *known = find_support(feature->name);
        if (known && feature->level >= known->min && feature->level <= known->max)
            continue;
        if (!known)
            return meta_error_set(error, arena, ERR_UNSUPPORTED,
                                  "the metadata uses the feature %.*s at level %d, which this "
                                  "version does not know",
                                  STR_ARG(feature->name), feature->level);
        return meta_error_set(error, arena, ERR_UNSUPPORTED,
                              "the metadata uses the feature %s at level %d; this version runs at "
                              "%d to %d",
                              known->name, feature->level, known->min, known->max);
    }
    return ERR_OK;
}

/* --- the first records of a leader --- */

static int16_t level_in(const struct meta_record *records, size_t count, struct str name)
{
    int16_t level = 0;
    for (size_t i = 0; i < count; i++) {
        const struct feature_level_record *r = records[i].body;
        if (records[i].type == META_FEATURE_LEVEL && str_eq(r->name, name))
            level = r->feature_level;
    }
    return level;
}

static enum err add_min_isr(const struct controller *controller, const struct controller_call *call)
{
    struct config_record *r = CALL_BODY(call, config_record);
    if (!r)
        return ERR_NOMEM;
    struct str set = config_static_get(&controller->configs, STR("min.insync.replicas"));
    r->resource_type = CONFIG_BROKER;
    r->resource_name = STR("");
    r->name = STR("min.insync.replicas");
    r->value = str_is_null(set) ? STR("1") : set;
    return controller_add(controller, call, META_CONFIG, r);
}

static enum err bootstrap(const struct controller *controller, const struct controller_call *call,
                          const struct meta_record *records, size_t count, struct meta_error *error)
{
    int16_t metadata_version = level_in(records, count, STR("metadata.version"));
    if (metadata_version < MV_MINIMUM || metadata_version > MV_MAXIMUM)
        return meta_error_set(error, call->arena, ERR_UNSUPPORTED,
                              "bootstrap.checkpoint asks for metadata.version %d; this version "
                              "runs at %d to %d",
                              metadata_version, MV_MINIMUM, MV_MAXIMUM);
    bool atomic = metadata_version >= MV_TRANSACTIONS;
    if (atomic) {
        struct begin_transaction_record *begin = CALL_BODY(call, begin_transaction_record);
        if (!begin)
            return ERR_NOMEM;
        begin->name = STR("Bootstrap records");
        TRY(controller_add(controller, call, META_BEGIN_TRANSACTION, begin));
    }
    for (size_t i = 0; i < count; i++)
        TRY(meta_records_add(call->records, records[i].type, records[i].version, records[i].body));
    if (level_in(records, count, STR("eligible.leader.replicas.version")) > 0)
        TRY(add_min_isr(controller, call));
    if (!atomic)
        return ERR_OK;
    struct end_transaction_record *end = CALL_BODY(call, end_transaction_record);
    return end ? controller_add(controller, call, META_END_TRANSACTION, end) : ERR_NOMEM;
}

enum err controller_activate(const struct controller *controller,
                             const struct controller_call *call,
                             const struct meta_record *bootstrap_records, size_t bootstrap_count,
                             struct meta_error *error)
{
    const struct image *image = controller->head;
    if (image->in_transaction) {
        struct abort_transaction_record *r = CALL_BODY(call, abort_transaction_record);
        if (!r)
            return ERR_NOMEM;
        r->reason = STR("a new leader took over");
        TRY(controller_add(controller, call, META_ABORT_TRANSACTION, r));
    }
    if (image_metadata_version(image) == 0)
        return bootstrap(controller, call, bootstrap_records, bootstrap_count, error);
    TRY(features_check(image, call->arena, error));
    const struct config_image *cluster = image_config(image, CONFIG_BROKER, STR(""));
    if (controller_elr_enabled(controller) &&
        str_is_null(config_image_get(cluster, STR("min.insync.replicas"))))
        return add_min_isr(controller, call);
    return ERR_OK;
}

/* --- changes by request --- */

struct feature_change {
    const struct controller *controller;
    const struct controller_call *call;
    const struct feature_update *update;
    int16_t present;
    struct meta_error *error;
};

static enum err refuse(const struct feature_change *change, const char *why)
{
    const struct feature_update *update = change->update;
    return meta_error_set(change->error, change->call->arena, ERR_INVALID_UPDATE_VERSION,
                          "Invalid update version %d for feature %.*s. %s", update->level,
                          STR_ARG(update->name), why);
}

static enum err refuse_unsupported(const struct feature_change *change,
                                   const struct feature_support *known)
{
    struct arena *arena = change->call->arena;
    int32_t node_id = change->controller->node_id;
    struct str why =
        known ? arena_printf(arena, "Local controller %" PRId32 " only supports versions %d-%d",
                             node_id, known->min, known->max)
              : arena_printf(arena, "Local controller %" PRId32 " does not support this feature.",
                             node_id);
    return refuse(change, why.data ? why.data : "");
}

/* What a lower level cannot hold would have to go, and nobody can say what that is. */
static enum err refuse_metadata_downgrade(const struct feature_change *change)
{
    return meta_error_set(
        change->error, change->call->arena, ERR_INVALID_UPDATE_VERSION,
        "Unsupported metadata.version downgrade from %d to %d. %s", change->present,
        change->update->level,
        change->update->kind == FEATURE_UNSAFE_DOWNGRADE
            ? "Unsafe metadata downgrade is not supported in this version."
            : "Refusing to perform the requested downgrade because it might delete metadata "
              "information.");
}

static enum err check_direction(const struct feature_change *change)
{
    const struct feature_update *update = change->update;
    bool is_upgrade = update->kind == FEATURE_UPGRADE;
    if (update->level < change->present && is_upgrade)
        return refuse(change, "Can't downgrade the version of this feature without setting the "
                              "upgrade type to either safe or unsafe downgrade.");
    if (update->level > change->present && !is_upgrade)
        return refuse(change, "Can't downgrade to a newer version.");
    if (str_eq(update->name, STR("metadata.version")) && update->level < change->present)
        return refuse_metadata_downgrade(change);
    if (!str_eq(update->name, STR("kraft.version")))
        return ERR_OK;
    if (update->level < change->present)
        return refuse(change, "Can't downgrade the version of this feature.");
    return update->level == change->present
               ? ERR_OK
               : refuse(change, "The voters of this log are fixed, and stay so.");
}

static enum err check_feature(const struct feature_change *change, int16_t metadata_version)
{
    const struct feature_update *update = change->update;
    if (update->kind < FEATURE_UPGRADE || update->kind > FEATURE_UNSAFE_DOWNGRADE)
        return refuse(change, "The controller does not support the given upgrade type.");
    if (update->level < 0)
        return refuse(change, "A feature version cannot be less than 0.");
    const struct feature_support *known = find_support(update->name);
    if (!known || update->level < known->min || update->level > known->max)
        return refuse_unsupported(change, known);
    TRY(check_direction(change));
    if (str_eq(update->name, STR("eligible.leader.replicas.version")) && update->level > 0 &&
        metadata_version < MV_ELR)
        return meta_error_set(change->error, change->call->arena, ERR_INVALID_UPDATE_VERSION,
                              "%.*s could not be set to %d because it depends on metadata.version "
                              "level %d",
                              STR_ARG(update->name), update->level, MV_ELR);
    return ERR_OK;
}

static enum err add_change(const struct feature_change *change)
{
    const struct feature_update *update = change->update;
    if (update->level == change->present)
        return ERR_OK;
    struct feature_level_record *r = CALL_BODY(change->call, feature_level_record);
    if (!r)
        return ERR_NOMEM;
    r->name = update->name;
    r->feature_level = update->level;
    TRY(controller_add(change->controller, change->call, META_FEATURE_LEVEL, r));
    const struct config_image *cluster =
        image_config(change->controller->head, CONFIG_BROKER, STR(""));
    bool is_elr = str_eq(update->name, STR("eligible.leader.replicas.version"));
    if (!is_elr || update->level == 0 ||
        !str_is_null(config_image_get(cluster, STR("min.insync.replicas"))))
        return ERR_OK;
    return add_min_isr(change->controller, change->call);
}

/* A feature that is named more than once: the last one counts. */
static bool is_superseded(const struct feature_update *updates, size_t count, size_t at)
{
    for (size_t i = at + 1; i < count; i++)
        if (str_eq(updates[i].name, updates[at].name))
            return true;
    return false;
}

enum err controller_update_features(const struct controller *controller,
                                    const struct controller_call *call,
                                    const struct feature_update *updates, size_t count,
                                    int16_t kraft_version, bool validate_only,
                                    struct meta_error *error)
{
    int16_t metadata_version = (int16_t)image_metadata_version(controller->head);
    for (size_t i = 0; i < count; i++)
        if (str_eq(updates[i].name, STR("metadata.version")) && updates[i].level > metadata_version)
            metadata_version = updates[i].level;
    size_t first_record = call->records->count;
    for (size_t i = 0; i < count; i++) {
        if (is_superseded(updates, count, i))
            continue;
        bool is_quorums = str_eq(updates[i].name, STR("kraft.version"));
        struct feature_change change = {
            .controller = controller,
            .call = call,
            .update = &updates[i],
            .present =
                is_quorums ? kraft_version : image_feature(controller->head, updates[i].name),
            .error = error,
        };
        enum err err = check_feature(&change, metadata_version);
        if (err == ERR_OK)
            err = add_change(&change);
        if (err != ERR_OK) {
            call->records->count = first_record;
            return err;
        }
    }
    if (validate_only)
        call->records->count = first_record;
    return ERR_OK;
}
