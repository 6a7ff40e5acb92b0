/* Fetch: sessions, reads on the owners, and waiting for enough (KIP-74, KIP-227, KIP-516).
 *
 * fetch_begin takes what is wanted from the request or from the session, then a read pass goes to
 * the owners. Enough bytes, an error, or no time left: fetch_finish answers. Else a waiting pass
 * leaves a waiter at each partition, and the request is parked until one of them tells of an
 * advance, or max.wait.ms is over; the waiters are taken back and there is another read pass.
 *
 * Runs on: the request's shard; reads, waiters and `gained` on the owners. A pass never begins
 * before the last one has ended, so each side writes its fields alone. */
#include "broker/handlers/handlers.h"

#include <stdlib.h>

#include "base/assert.h"
#include "broker/fetch_session.h"
#include "broker/scatter.h"
#include "repl/partition.h"

#define MS                 UINT64_C(1000000)
#define RESPONSE_BYTES_MAX ((int64_t)8 << 20) /* more is fetched by asking again */
#define VERSION_BY_ID      13

struct fetch_part {
    struct scatter_op op; /* first: scatter.h */
    struct fetch *fetch;
    struct fetch_session_partition *remembered; /* NULL: no session */
    struct uuid wire_id;
    struct str wire_name;
    struct fetch_want want;
    enum err early; /* known before any owner was asked */
    /* The owner's. */
    struct log_read read;
    struct partition_waiter waiter;
    struct shard_msg poke;
    struct txn_list aborted;
    int64_t high_watermark;
    int64_t last_stable_offset;
    int64_t log_start_offset;
    struct fetch_response_diverging_epoch diverging;
    bool is_diverging;
    bool is_counted;
    size_t bytes_counted;
    bool is_poke_posted;
    bool is_poke_received; /* this shard's */
};

enum fetch_phase { FETCH_READING, FETCH_REGISTERING, FETCH_PARKED, FETCH_LEAVING, FETCH_ENDED };

struct fetch {
    struct request *req;
    struct scatter scatter;
    struct fetch_part *parts;
    size_t count;
    struct fetch_session *session; /* of an incremental request, or just made */
    int32_t session_id;            /* to find it again: it may go while the request is parked */
    bool is_incremental;
    bool is_follower;
    bool is_committed; /* records of open and aborted transactions are not wanted */
    enum fetch_phase phase;
    bool is_last_pass; /* no time left, or nobody to answer */
    size_t pokes_due;  /* posted, and not yet here */
    struct io_timer deadline;
    int64_t bytes_max;
    int64_t bytes_min;
    int64_t bytes_missing; /* of bytes_min, at the last read pass */
    /* By owner, each its own: bytes that a read pass may still take, and that came since. */
    int64_t *budgets;
    int64_t *gained;
};

static void start_pass(struct fetch *fetch, enum fetch_phase phase);

/* --- on the owner: a read pass --- */

/* A batch that does not fit is left out: nobody can use the beginning of one (KIP-74). */
static void drop_cut_batch(struct log_read *read)
{
    struct slice batches = read->batches;
    if (batches.len == 0 || read->at_least_one)
        return;
    if (batches.len >= BATCH_LOG_OVERHEAD && batch_size_peek(batches.data) <= (int64_t)batches.len)
        return;
    rbuf_unref(read->buf);
    read->buf = NULL;
    read->batches = SLICE_NULL;
}

/* A request that waited reads more than once: it is counted once, and bytes that it reads again
 * are not. */
static void read_end(struct fetch_part *part, enum err err)
{
    struct metrics *metrics = &part->op.owner->metrics;
    struct partition *partition = part->op.partition;
    size_t len = err == ERR_OK ? part->read.batches.len : 0;
    if (!part->is_counted)
        metrics_partition(metrics, partition, PARTITION_FETCHES, 1);
    if (err != ERR_OK)
        metrics_partition(metrics, partition, PARTITION_FETCHES_FAILED, 1);
    if (!part->fetch->is_follower && len > part->bytes_counted) {
        metrics_partition(metrics, partition, PARTITION_BYTES_OUT, len - part->bytes_counted);
        part->bytes_counted = len;
    }
    part->is_counted = true;
    scatter_op_end(&part->op, err);
}

/* Who was aborted among the records that were read. */
static enum err find_aborted(struct fetch_part *part)
{
    const struct log_read *read = &part->read;
    bool has_aborted = false;
    int64_t end_offset = 0;
    part->aborted.count = 0;
    if (!part->fetch->is_committed || read->batches.len == 0)
        return ERR_OK;
    enum err err = log_has_aborted(read->log, &has_aborted);
    if (has_aborted) {
        (void)batches_whole(read->batches, &end_offset);
        err = log_aborted_txns(read->log, part->want.offset, end_offset, &part->aborted);
    }
    return err == ERR_OK ? ERR_OK : ERR_KAFKA_STORAGE_ERROR;
}

static void on_read(struct log_read *read)
{
    struct fetch_part *part = CONTAINER_OF(read, struct fetch_part, read);
    drop_cut_batch(read);
    read_end(part, read->err == ERR_OK ? find_aborted(part) : read->err);
}

/* Whether the fetcher's log has gone another way than ours (KIP-595); ERR_OFFSET_OUT_OF_RANGE where
 * the epoch that it knows is none of ours. */
static enum err check_divergence(struct fetch_part *part, const struct partition *partition)
{
    int32_t epoch;
    int64_t end_offset;
    part->is_diverging = false;
    if (part->want.last_fetched_epoch < 0)
        return ERR_OK;
    epochs_end_offset(log_epochs(partition->log), part->want.last_fetched_epoch,
                      log_end_offset(partition->log), &epoch, &end_offset);
    if (epoch < 0)
        return ERR_OFFSET_OUT_OF_RANGE;
    part->is_diverging = epoch != part->want.last_fetched_epoch || end_offset < part->want.offset;
    part->diverging.epoch = epoch;
    part->diverging.end_offset = end_offset;
    return ERR_OK;
}

static enum err check_part(struct fetch_part *part, const struct partition *partition)
{
    if (!partition)
        return uuid_is_zero(part->wire_id) ? ERR_UNKNOWN_TOPIC_OR_PARTITION : ERR_UNKNOWN_TOPIC_ID;
    if (!partition->log || log_is_offline(partition->log))
        return ERR_KAFKA_STORAGE_ERROR;
    return partition_check_epoch(partition, part->want.leader_epoch);
}

static int64_t end_of_reading(const struct fetch_part *part)
{
    if (part->fetch->is_follower)
        return INT64_MAX;
    return part->fetch->is_committed ? part->last_stable_offset : part->high_watermark;
}

static void read_part(struct scatter_op *op)
{
    struct fetch_part *part = (struct fetch_part *)op;
    struct fetch *fetch = part->fetch;
    struct partition *partition = op->partition;
    int64_t *budget = &fetch->budgets[op->owner->index];
    enum err err = check_part(part, partition);
    if (err != ERR_OK) {
        read_end(part, err);
        return;
    }
    part->high_watermark = partition_high_watermark(partition);
    part->last_stable_offset = partition_last_stable_offset(partition);
    part->log_start_offset = log_start_offset(partition->log);
    err = check_divergence(part, partition);
    if (err != ERR_OK || part->is_diverging) {
        read_end(part, err);
        return;
    }
    bool is_first = *budget == fetch->bytes_max;
    int64_t bytes_max = part->want.bytes_max < *budget ? part->want.bytes_max : *budget;
    part->read = (struct log_read){
        .offset = part->want.offset,
        .end_offset = end_of_reading(part),
        .bytes_max = bytes_max > 0 ? (size_t)bytes_max : 0,
        .at_least_one = is_first,
        .bufs = &op->owner->bufs,
        .done = on_read,
    };
    log_read(partition->log, &part->read);
    if (part->read.buf)
        *budget -= (int64_t)part->read.io.len;
}

/* --- on the owner: waiters --- */

static void on_poke(struct shard *shard, struct shard_msg *msg)
{
    (void)shard;
    struct fetch_part *part = CONTAINER_OF(msg, struct fetch_part, poke);
    struct fetch *fetch = part->fetch;
    part->is_poke_received = true;
    if (fetch->phase == FETCH_PARKED)
        start_pass(fetch, FETCH_LEAVING);
    else if (fetch->pokes_due > 0 && --fetch->pokes_due == 0)
        start_pass(fetch, FETCH_READING);
}

static void on_advance(struct partition_waiter *waiter, size_t bytes)
{
    struct fetch_part *part = CONTAINER_OF(waiter, struct fetch_part, waiter);
    struct fetch *fetch = part->fetch;
    struct shard *owner = part->op.owner;
    int64_t *gained = &fetch->gained[owner->index];
    if (bytes != PARTITION_LOOK_AGAIN)
        *gained += (int64_t)bytes;
    if (bytes != PARTITION_LOOK_AGAIN && *gained < fetch->bytes_missing)
        return;
    partition_unwait(waiter);
    part->is_poke_posted = true;
    part->poke.fn = on_poke;
    shard_post(owner, fetch->req->shard, &part->poke);
}

/* Ends with ERR_AGAIN where there is something to look at already. */
static void register_part(struct scatter_op *op)
{
    struct fetch_part *part = (struct fetch_part *)op;
    struct partition *partition = op->partition;
    bool is_changed = !partition || !partition->log || log_is_offline(partition->log) ||
                      partition_high_watermark(partition) != part->high_watermark;
    partition_waiter_init(&part->waiter, on_advance);
    if (!is_changed)
        partition_wait(partition, &part->waiter);
    scatter_op_end(op, is_changed ? ERR_AGAIN : ERR_OK);
}

static void leave_part(struct scatter_op *op)
{
    partition_unwait(&((struct fetch_part *)op)->waiter);
    scatter_op_end(op, ERR_OK);
}

/* --- the answer --- */

static bool is_news(const struct fetch *fetch, const struct fetch_part *part)
{
    if (!fetch->is_incremental || part->op.err != ERR_OK || part->read.batches.len > 0 ||
        part->is_diverging)
        return true;
    return part->remembered->high_watermark != part->high_watermark ||
           part->remembered->log_start_offset != part->log_start_offset;
}

static bool fill_aborted(const struct fetch_part *part, struct fetch_response_partition *out)
{
    size_t count = part->aborted.count;
    if (count == 0)
        return true;
    out->aborted_transactions =
        MSG_ARRAY(fetch_response_aborted_transaction, &part->fetch->req->arena, count);
    if (!out->aborted_transactions)
        return false;
    out->aborted_transactions_len = (int32_t)count;
    for (size_t i = 0; i < count; i++) {
        out->aborted_transactions[i].producer_id = part->aborted.items[i].producer_id;
        out->aborted_transactions[i].first_offset = part->aborted.items[i].first_offset;
    }
    return true;
}

static bool fill_part(const struct fetch_part *part, struct fetch_response_partition *out)
{
    bool is_early = part->early != ERR_OK;
    out->partition_index = part->op.index;
    out->error_code = wire_code_of_err(part->op.err);
    out->high_watermark = -1;
    out->last_stable_offset = -1;
    out->log_start_offset = -1;
    out->records = (struct slice){(const uint8_t *)"", 0};
    out->aborted_transactions_len = is_early || part->fetch->is_committed ? 0 : -1;
    if (part->op.err == ERR_OFFSET_OUT_OF_RANGE || part->op.err == ERR_OK) {
        bool is_ok = part->op.err == ERR_OK;
        out->high_watermark = is_ok ? part->high_watermark : -1;
        out->last_stable_offset = is_ok ? part->last_stable_offset : -1;
        out->log_start_offset = is_ok ? part->log_start_offset : -1;
    }
    if (part->op.err != ERR_OK)
        return true;
    if (part->is_diverging)
        out->diverging_epoch = part->diverging;
    if (part->is_diverging || part->read.batches.len == 0)
        return true;
    out->records = part->read.batches;
    return fill_aborted(part, out);
}

/* The answer's topics: neighbouring parts of one topic share an entry. */
static bool fill_response(struct fetch *fetch)
{
    struct request *req = fetch->req;
    struct fetch_response *response = req->response;
    response->responses = MSG_ARRAY(fetch_response_topic, &req->arena, fetch->count);
    struct fetch_response_partition *all =
        MSG_ARRAY(fetch_response_partition, &req->arena, fetch->count);
    if (!response->responses || !all)
        return false;
    struct fetch_response_topic *topic = NULL;
    for (size_t i = 0; i < fetch->count; i++) {
        struct fetch_part *part = &fetch->parts[i];
        if (!is_news(fetch, part))
            continue;
        if (!topic || !uuid_eq(topic->topic_id, part->wire_id) ||
            !str_eq(topic->topic, part->wire_name)) {
            topic = &response->responses[response->responses_len++];
            topic->topic_id = part->wire_id;
            topic->topic = part->wire_name;
            topic->partitions = all;
        }
        topic->partitions_len++;
        if (!fill_part(part, all++))
            return false;
    }
    return true;
}

/* What the session is told now counts as known; partitions that got data are served last. */
static void update_session(struct fetch *fetch)
{
    struct fetch_session *session = fetch->session;
    for (size_t i = 0; i < fetch->count; i++) {
        struct fetch_part *part = &fetch->parts[i];
        struct fetch_session_partition *remembered = part->remembered;
        bool is_ok = part->op.err == ERR_OK;
        remembered->high_watermark = is_ok ? part->high_watermark : -1;
        remembered->log_start_offset = is_ok ? part->log_start_offset : -1;
        if (part->read.batches.len > 0 || !is_ok) {
            list_remove(&remembered->link);
            list_push_back(&session->partitions, &remembered->link);
        }
    }
}

static void drop_read(struct fetch *fetch, struct fetch_part *part)
{
    if (part->read.buf)
        shard_return_rbuf(fetch->req->shard, part->op.owner, part->read.buf);
    part->read.buf = NULL;
    part->read.batches = SLICE_NULL;
}

/* Each owner kept to the whole budget alone: what is too much together goes. */
static void trim(struct fetch *fetch)
{
    int64_t total = 0;
    for (size_t i = 0; i < fetch->count; i++) {
        struct fetch_part *part = &fetch->parts[i];
        int64_t len = (int64_t)part->read.batches.len;
        if (total > 0 && total + len > fetch->bytes_max)
            drop_read(fetch, part);
        else
            total += len;
    }
}

static bool keep_buffers(struct fetch *fetch)
{
    for (size_t i = 0; i < fetch->count; i++) {
        struct fetch_part *part = &fetch->parts[i];
        if (!part->read.buf)
            continue;
        if (request_keep_rbuf(fetch->req, part->op.owner, part->read.buf) != ERR_OK)
            return false;
        part->read.buf = NULL;
    }
    return true;
}

static void fetch_finish(struct fetch *fetch)
{
    struct request *req = fetch->req;
    struct shard *shard = req->shard;
    struct fetch_response *response = req->response;
    bool is_ok = true;
    fetch->phase = FETCH_ENDED;
    io_timer_stop(shard->io, &fetch->deadline);
    trim(fetch);
    /* A session may have been pushed out while the request was parked. */
    if (fetch->session && fetch_session_find(shard, fetch->session_id) != fetch->session) {
        response->error_code = wire_code_of_err(ERR_FETCH_SESSION_ID_NOT_FOUND);
    } else {
        response->session_id = fetch->session ? fetch->session_id : 0;
        is_ok = fill_response(fetch);
        if (is_ok && fetch->session)
            update_session(fetch);
    }
    is_ok = is_ok && keep_buffers(fetch);
    for (size_t i = 0; i < fetch->count; i++) {
        txn_list_deinit(&fetch->parts[i].aborted);
        if (!is_ok)
            drop_read(fetch, &fetch->parts[i]);
    }
    if (is_ok)
        request_reply(req);
    else
        request_over_limit(req);
}

/* --- passes --- */

static int64_t bytes_read(const struct fetch *fetch)
{
    int64_t total = 0;
    for (size_t i = 0; i < fetch->count; i++)
        total += (int64_t)fetch->parts[i].read.batches.len;
    return total;
}

static bool is_enough(const struct fetch *fetch)
{
    if (fetch->is_last_pass || fetch->count == 0)
        return true;
    for (size_t i = 0; i < fetch->count; i++) {
        if (fetch->parts[i].op.err != ERR_OK || fetch->parts[i].is_diverging)
            return true;
    }
    return bytes_read(fetch) >= fetch->bytes_min;
}

static void on_read_pass(struct fetch *fetch)
{
    if (is_enough(fetch)) {
        fetch_finish(fetch);
        return;
    }
    fetch->bytes_missing = fetch->bytes_min - bytes_read(fetch);
    for (size_t i = 0; i < fetch->count; i++)
        drop_read(fetch, &fetch->parts[i]);
    start_pass(fetch, FETCH_REGISTERING);
}

static void on_registered(struct fetch *fetch)
{
    bool is_changed = fetch->is_last_pass;
    fetch->phase = FETCH_PARKED;
    for (size_t i = 0; i < fetch->count; i++)
        is_changed |= fetch->parts[i].op.err != ERR_OK || fetch->parts[i].is_poke_received;
    if (is_changed)
        start_pass(fetch, FETCH_LEAVING);
}

static void on_left(struct fetch *fetch)
{
    for (size_t i = 0; i < fetch->count; i++)
        fetch->pokes_due += fetch->parts[i].is_poke_posted && !fetch->parts[i].is_poke_received;
    if (fetch->pokes_due == 0)
        start_pass(fetch, FETCH_READING);
}

static void on_pass_done(struct scatter *scatter)
{
    struct fetch *fetch = scatter->own;
    if (fetch->phase == FETCH_READING)
        on_read_pass(fetch);
    else if (fetch->phase == FETCH_REGISTERING)
        on_registered(fetch);
    else
        on_left(fetch);
}

static void start_pass(struct fetch *fetch, enum fetch_phase phase)
{
    static scatter_fn *const fns[] = {[FETCH_READING] = read_part,
                                      [FETCH_REGISTERING] = register_part,
                                      [FETCH_LEAVING] = leave_part};
    struct node *node = fetch->req->shard->node;
    fetch->phase = phase;
    for (uint32_t i = 0; i < node->shard_count; i++) {
        fetch->budgets[i] = fetch->bytes_max;
        if (phase == FETCH_REGISTERING)
            fetch->gained[i] = 0;
    }
    for (size_t i = 0; i < fetch->count; i++) {
        struct fetch_part *part = &fetch->parts[i];
        part->op.err = part->early;
        if (phase == FETCH_REGISTERING)
            part->is_poke_posted = part->is_poke_received = false;
    }
    enum err err = scatter_start(&fetch->scatter, fetch->req, fetch->parts, fetch->count,
                                 sizeof(*fetch->parts), fns[phase], on_pass_done);
    ASSERT(err == ERR_OK); /* its groups were allocated with the fetch */
}

static void on_deadline(struct io_timer *timer)
{
    struct fetch *fetch = CONTAINER_OF(timer, struct fetch, deadline);
    fetch->is_last_pass = true;
    if (fetch->phase == FETCH_PARKED)
        start_pass(fetch, FETCH_LEAVING);
}

void fetch_cancel(struct request *req)
{
    struct fetch *fetch = req->own;
    if (!fetch)
        return;
    fetch->is_last_pass = true;
    if (fetch->phase == FETCH_PARKED)
        start_pass(fetch, FETCH_LEAVING);
}

/* --- the beginning --- */

static void answer_error(struct request *req, enum err err)
{
    struct fetch_response *response = req->response;
    response->error_code = wire_code_of_err(err);
    request_reply(req);
}

static struct fetch_want want_of(const struct fetch_request_partition *in)
{
    return (struct fetch_want){in->fetch_offset, in->log_start_offset, in->partition_max_bytes,
                               in->current_leader_epoch, in->last_fetched_epoch};
}

static void add_part(struct fetch *fetch, struct uuid id, struct str name, int32_t index,
                     const struct fetch_want *want, struct fetch_session_partition *remembered)
{
    struct fetch_part *part = &fetch->parts[fetch->count++];
    enum err err;
    const struct topic_image *topic = request_topic(fetch->req, name, id, &err);
    part->fetch = fetch;
    part->remembered = remembered;
    part->wire_id = id;
    part->wire_name = name;
    part->want = *want;
    if (fetch->req->header.api_version >= VERSION_BY_ID && uuid_is_zero(id))
        err = ERR_UNKNOWN_TOPIC_ID;
    scatter_op_aim(&part->op, topic, err, index);
    part->early = part->op.err;
}

static bool remember(struct fetch *fetch, struct fetch_session *session)
{
    const struct fetch_request *body = fetch->req->body;
    for (int32_t t = 0; t < body->forgotten_topics_data_len; t++) {
        const struct fetch_request_forgotten_topic *topic = &body->forgotten_topics_data[t];
        struct str name = session->by_id ? STR_NULL : topic->topic;
        for (int32_t p = 0; p < topic->partitions_len; p++)
            fetch_session_forget(session, topic->topic_id, name, topic->partitions[p]);
    }
    for (int32_t t = 0; t < body->topics_len; t++) {
        const struct fetch_request_topic *topic = &body->topics[t];
        struct str name = session->by_id ? STR_NULL : topic->topic;
        for (int32_t p = 0; p < topic->partitions_len; p++) {
            struct fetch_want want = want_of(&topic->partitions[p]);
            if (fetch_session_put(session, topic->topic_id, name, topic->partitions[p].partition,
                                  &want) != ERR_OK)
                return false;
        }
    }
    return true;
}

static bool parts_from_session(struct fetch *fetch)
{
    fetch->parts = request_array(fetch->req, fetch->session->count, sizeof(*fetch->parts));
    if (!fetch->parts)
        return false;
    LIST_FOREACH (node, &fetch->session->partitions) {
        struct fetch_session_partition *remembered =
            LIST_ENTRY(node, struct fetch_session_partition, link);
        /* The session may lose a partition while this request is parked: its name is copied. */
        struct str name = arena_str(&fetch->req->arena, remembered->topic);
        add_part(fetch, remembered->topic_id, name, remembered->index, &remembered->want,
                 remembered);
    }
    return true;
}

static bool parts_from_request(struct fetch *fetch)
{
    const struct fetch_request *body = fetch->req->body;
    size_t count = 0;
    for (int32_t t = 0; t < body->topics_len; t++)
        count += (size_t)body->topics[t].partitions_len;
    fetch->parts = request_array(fetch->req, count, sizeof(*fetch->parts));
    if (!fetch->parts)
        return false;
    bool by_id = fetch->req->header.api_version >= VERSION_BY_ID;
    for (int32_t t = 0; t < body->topics_len; t++) {
        const struct fetch_request_topic *topic = &body->topics[t];
        for (int32_t p = 0; p < topic->partitions_len; p++) {
            struct fetch_want want = want_of(&topic->partitions[p]);
            add_part(fetch, topic->topic_id, by_id ? STR_NULL : topic->topic,
                     topic->partitions[p].partition, &want, NULL);
        }
    }
    return true;
}

/* An epoch over 0 goes on with a session; anything else begins anew. */
static enum err find_session(struct fetch *fetch)
{
    struct request *req = fetch->req;
    const struct fetch_request *body = req->body;
    struct shard *shard = req->shard;
    bool by_id = req->header.api_version >= VERSION_BY_ID;
    struct fetch_session *session = fetch_session_find(shard, body->session_id);
    if (body->session_epoch == FETCH_EPOCH_INITIAL || body->session_epoch == FETCH_EPOCH_FINAL) {
        if (session)
            fetch_session_remove(shard, session);
        return ERR_OK;
    }
    if (!session)
        return ERR_FETCH_SESSION_ID_NOT_FOUND;
    if (session->epoch != body->session_epoch)
        return ERR_INVALID_FETCH_SESSION_EPOCH;
    if (session->by_id != by_id)
        return ERR_FETCH_SESSION_TOPIC_ID_ERROR;
    if (!remember(fetch, session))
        return ERR_UNKNOWN_SERVER_ERROR;
    if (session->count == 0) {
        fetch_session_remove(shard, session);
        return ERR_OK;
    }
    fetch_session_advance(shard, session);
    fetch->session = session;
    fetch->is_incremental = true;
    return ERR_OK;
}

/* A full request of epoch 0 makes a session, if there is room. */
static void make_session(struct fetch *fetch)
{
    struct request *req = fetch->req;
    const struct fetch_request *body = req->body;
    if (body->session_epoch != FETCH_EPOCH_INITIAL)
        return;
    struct fetch_session *session =
        fetch_session_create(req->shard, req->header.api_version >= VERSION_BY_ID);
    if (session && !remember(fetch, session)) {
        fetch_session_remove(req->shard, session);
        session = NULL;
    }
    fetch->session = session;
}

static struct fetch *fetch_create(struct request *req)
{
    const struct fetch_request *body = req->body;
    const struct node *node = req->shard->node;
    struct fetch *fetch = request_array(req, 1, sizeof(*fetch));
    if (!fetch)
        return NULL;
    fetch->req = req;
    fetch->scatter.own = fetch;
    fetch->budgets = request_array(req, node->shard_count, sizeof(*fetch->budgets));
    fetch->gained = request_array(req, node->shard_count, sizeof(*fetch->gained));
    fetch->scatter.groups = request_array(req, node->shard_count, sizeof(*fetch->scatter.groups));
    fetch->bytes_min = body->min_bytes;
    fetch->bytes_max = body->max_bytes;
    if (fetch->bytes_max > node->config->fetch_max_bytes)
        fetch->bytes_max = node->config->fetch_max_bytes;
    if (fetch->bytes_max > RESPONSE_BYTES_MAX)
        fetch->bytes_max = RESPONSE_BYTES_MAX;
    if (fetch->bytes_min > fetch->bytes_max)
        fetch->bytes_min = fetch->bytes_max;
    fetch->is_follower = body->replica_id >= 0 || body->replica_state.replica_id >= 0;
    fetch->is_committed = body->isolation_level == 1;
    io_timer_init(&fetch->deadline, on_deadline);
    return fetch->budgets && fetch->gained && fetch->scatter.groups ? fetch : NULL;
}

void fetch_begin(struct request *req)
{
    const struct fetch_request *body = req->body;
    struct fetch *fetch = fetch_create(req);
    if (!fetch) {
        request_over_limit(req);
        return;
    }
    enum err err = find_session(fetch);
    if (err != ERR_OK) {
        answer_error(req, err);
        return;
    }
    if (!fetch->is_incremental)
        make_session(fetch);
    if (fetch->session)
        fetch->session_id = fetch->session->id;
    if (!(fetch->session ? parts_from_session(fetch) : parts_from_request(fetch))) {
        request_over_limit(req);
        return;
    }
    req->own = fetch;
    fetch->is_last_pass = body->max_wait_ms <= 0;
    if (!fetch->is_last_pass)
        io_timer_start(req->shard->io, &fetch->deadline,
                       io_now_ns(req->shard->io) + (uint64_t)body->max_wait_ms * MS);
    start_pass(fetch, FETCH_READING);
}
