/* Counting requests. Runs on: each shard for its own numbers. */
#include "broker/metrics.h"

#include <stdlib.h>
#include <string.h>

#include "broker/handlers/handlers.h"

#define PERIOD_MS          60000
#define API_KEY_OF_PRODUCE 0
#define API_KEY_OF_FETCH   1

size_t metrics_row_count(void)
{
    return handler_table_len + METRICS_EXTRA_ROWS;
}

enum err metrics_init(struct metrics *metrics)
{
    *metrics = (struct metrics){.period = 0};
    metrics->requests = calloc(metrics_row_count(), sizeof(*metrics->requests));
    return metrics->requests ? ERR_OK : ERR_NOMEM;
}

void metrics_deinit(struct metrics *metrics)
{
    free(metrics->requests);
    metrics->requests = NULL;
}

void metrics_turn_period(struct metrics *metrics, uint64_t now_ms)
{
    uint64_t period = now_ms / PERIOD_MS;
    if (period == metrics->period)
        return;
    bool is_next = period == metrics->period + 1;
    metrics->period = period;
    for (size_t i = 0; i < metrics_row_count(); i++) {
        struct metrics_request *row = &metrics->requests[i];
        if (is_next)
            row->recent[1] = row->recent[0];
        else
            memset(&row->recent[1], 0, sizeof(row->recent[1]));
        memset(&row->recent[0], 0, sizeof(row->recent[0]));
    }
}

static void count_request(struct metrics_request *row, int16_t version, uint64_t ns)
{
    size_t at = version < 0 ? 0 : (size_t)version;
    row->by_version[at < METRICS_VERSIONS ? at : METRICS_VERSIONS - 1]++;
    histogram_add(&row->all, ns);
    histogram_add(&row->recent[0], ns);
}

static bool is_follower_fetch(const struct request *req)
{
    const struct fetch_request *body = req->body;
    return body->replica_id >= 0 || body->replica_state.replica_id >= 0;
}

void metrics_on_request(const struct request *req)
{
    struct metrics *metrics = &req->shard->metrics;
    struct metrics_request *extra = metrics->requests + handler_table_len;
    int16_t version = req->header.api_version;
    uint64_t ns = io_clock_ns(req->shard->io) - req->begin_ns;
    metrics_turn_period(metrics, req->begin_ns / 1000000);
    count_request(&metrics->requests[req->handler - handler_table], version, ns);
    if (req->header.api_key == API_KEY_OF_FETCH)
        count_request(
            &extra[is_follower_fetch(req) ? METRICS_FETCH_FOLLOWER : METRICS_FETCH_CONSUMER],
            version, ns);
    if (req->header.api_key == API_KEY_OF_PRODUCE &&
        ((const struct produce_request *)req->body)->acks == -1)
        count_request(&extra[METRICS_PRODUCE_DURABLE], version, ns);
}
