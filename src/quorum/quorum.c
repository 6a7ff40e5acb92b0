/* The quorum of one voter.
 *
 *   UNATTACHED --START--> CANDIDATE --PERSISTED--> LEADER
 *        any --STOP--> STOPPED
 *
 * At each start the node votes for itself in an epoch above every one it has seen (in quorum-state
 * and in the log) and makes that durable before it writes a record of the epoch. A crash in between
 * costs one epoch number. The high watermark is what is durable here, from the moment that a record
 * of the leader's own epoch is: what earlier epochs left behind is committed with it.
 *
 * Pure; shard 0. */
#include "quorum/quorum.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/assert.h"

static bool endpoint_equal(const struct quorum_endpoint *a, const struct quorum_endpoint *b)
{
    return str_eq(a->name, b->name) && str_eq(a->host, b->host) && a->port == b->port;
}

static enum err refuse(enum err err, char *why, size_t why_size, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

static enum err refuse(enum err err, char *why, size_t why_size, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(why, why_size, fmt, args);
    va_end(args);
    return err;
}

/* Static voters have no directory id: any folder of the node is the voter's. */
static enum err check_directory(const struct quorum_config *config,
                                const struct quorum_voter *voter, char *why, size_t why_size)
{
    if (config->kraft_version == 0 || uuid_is_zero(voter->directory_id) ||
        uuid_eq(voter->directory_id, config->directory_id))
        return ERR_OK;
    char theirs[UUID_TEXT_LEN + 1];
    char ours[UUID_TEXT_LEN + 1];
    uuid_format(voter->directory_id, theirs);
    uuid_format(config->directory_id, ours);
    return refuse(ERR_INVALID_VOTER_KEY, why, why_size,
                  "the voter set names node %" PRId32 " with the log folder %s, but this folder is "
                  "%s: it was replaced or belongs to another node",
                  config->node_id, theirs, ours);
}

enum err quorum_init(struct quorum *quorum, const struct quorum_config *config, char *why,
                     size_t why_size)
{
    if (config->kraft_version < 0 || config->kraft_version > 1)
        return refuse(ERR_UNSUPPORTED, why, why_size,
                      "the metadata log is at kraft.version %d; this version runs at 0 to 1",
                      config->kraft_version);
    const struct quorum_voter *self = NULL;
    for (size_t i = 0; i < config->voter_count; i++) {
        if (config->voters[i].id == config->node_id)
            self = &config->voters[i];
        else
            return refuse(ERR_UNSUPPORTED, why, why_size,
                          "another voter is configured (node %" PRId32
                          "): clusters are not built yet",
                          config->voters[i].id);
    }
    if (!self)
        return refuse(ERR_VOTER_NOT_FOUND, why, why_size,
                      "no voter is known for the metadata log: set "
                      "controller.quorum.voters=%" PRId32 "@localhost:9093",
                      config->node_id);
    TRY(check_directory(config, self, why, why_size));
    *quorum = (struct quorum){
        .role = QUORUM_UNATTACHED,
        .node_id = config->node_id,
        .directory_id = config->directory_id,
        .endpoint = config->endpoint,
        .kraft_version = config->kraft_version,
        .state = QUORUM_STATE_NONE,
        .epoch_start_offset = -1,
        .high_watermark = -1,
        .voters_need_record =
            config->kraft_version > 0 && !endpoint_equal(&self->endpoint, &config->endpoint),
    };
    return ERR_OK;
}

/* --- steps --- */

static enum err on_start(struct quorum *quorum, const struct quorum_event *event,
                         struct quorum_effects *effects)
{
    ASSERT(quorum->role == QUORUM_UNATTACHED);
    ASSERT(event->log_end_offset >= 0);
    int32_t epoch = event->state.epoch > event->log_epoch ? event->state.epoch : event->log_epoch;
    if (epoch < 0)
        epoch = 0;
    if (epoch == INT32_MAX)
        return ERR_RANGE;
    /* An empty log has its voters in the first checkpoint only; the log repeats them. */
    if (event->log_end_offset == 0 && quorum->kraft_version > 0)
        quorum->voters_need_record = true;
    quorum->role = QUORUM_CANDIDATE;
    quorum->state = (struct quorum_state_file){
        .leader_id = quorum->node_id, .epoch = epoch + 1, .voted_id = -1};
    quorum->log_end_offset = event->log_end_offset;
    quorum->durable_end_offset = event->log_end_offset;
    effects->persist = true;
    effects->state = quorum->state;
    return ERR_OK;
}

static void on_persisted(struct quorum *quorum, struct quorum_effects *effects)
{
    if (quorum->role != QUORUM_CANDIDATE)
        return;
    quorum->role = QUORUM_LEADER;
    quorum->epoch_start_offset = quorum->log_end_offset;
    effects->append_leader_change = true;
    effects->became_leader = true;
    effects->epoch = quorum->state.epoch;
}

static void on_durable(struct quorum *quorum, const struct quorum_event *event,
                       struct quorum_effects *effects)
{
    ASSERT(event->durable_end_offset <= quorum->log_end_offset);
    if (event->durable_end_offset <= quorum->durable_end_offset)
        return;
    quorum->durable_end_offset = event->durable_end_offset;
    if (quorum->role != QUORUM_LEADER || quorum->durable_end_offset <= quorum->epoch_start_offset)
        return;
    ASSERT(quorum->durable_end_offset > quorum->high_watermark);
    quorum->high_watermark = quorum->durable_end_offset;
    effects->high_watermark_moved = true;
    effects->high_watermark = quorum->high_watermark;
}

enum err quorum_step(struct quorum *quorum, const struct quorum_event *event,
                     struct quorum_effects *effects)
{
    *effects = (struct quorum_effects){.epoch = quorum->state.epoch,
                                       .high_watermark = quorum->high_watermark};
    if (quorum->role == QUORUM_STOPPED)
        return ERR_OK;
    switch (event->kind) {
    case QUORUM_EVENT_START:
        return on_start(quorum, event, effects);
    case QUORUM_EVENT_PERSISTED:
        on_persisted(quorum, effects);
        return ERR_OK;
    case QUORUM_EVENT_APPENDED:
        ASSERT(event->log_end_offset >= quorum->log_end_offset);
        quorum->log_end_offset = event->log_end_offset;
        return ERR_OK;
    case QUORUM_EVENT_DURABLE:
        on_durable(quorum, event, effects);
        return ERR_OK;
    case QUORUM_EVENT_STOP:
        quorum->role = QUORUM_STOPPED;
        return ERR_OK;
    }
    UNREACHABLE();
}

void quorum_describe(const struct quorum *quorum, int64_t now_ms, struct quorum_description *out)
{
    bool leads = quorum->role == QUORUM_LEADER;
    *out = (struct quorum_description){
        .leader_id = leads ? quorum->node_id : -1,
        .leader_epoch = quorum->state.epoch,
        .high_watermark = quorum->high_watermark,
        .voter =
            {
                .id = quorum->node_id,
                .directory_id = quorum->kraft_version > 0 ? quorum->directory_id : UUID_ZERO,
                .log_end_offset = quorum->log_end_offset,
                .last_fetch_ms = leads ? now_ms : -1,
                .last_caught_up_ms = leads ? now_ms : -1,
            },
        .endpoint = quorum->endpoint,
    };
}
