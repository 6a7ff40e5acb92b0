/* Requests: decoding, the row of the handler table, and the encoded reply.
 *
 * Runs on: the shard that accepted the connection. A reply is the frame's length, the header and
 * the body in `out`; record batches stay where they were read and are sent in between. */
#include "broker/request.h"

#include <stdio.h>

#include "base/assert.h"
#include "base/diag.h"
#include "broker/conn.h"
#include "broker/handlers/handlers.h"
#include "wire/errors.h"

#define FRAME_PREFIX sizeof(uint32_t)

/* A frame of no more than this is copied, so that a request that waits (for news, for records) does
 * not keep the connection's buffer. */
#define FRAME_COPIED_MAX 512

const struct handler *request_peek_handler(struct slice bytes)
{
    int16_t key, version;
    int32_t correlation_id;
    if (request_header_peek(bytes, &key, &version, &correlation_id) != ERR_OK)
        return NULL;
    return handler_find(key);
}

static void request_free(struct request *req)
{
    struct conn *conn = req->conn;
    ASSERT(!list_is_linked(&req->link));
    for (size_t i = 0; i < req->holder_count; i++)
        shard_return_rbuf(req->shard, req->holders[i].owner, req->holders[i].buf);
    buf_deinit(&req->out);
    arena_deinit(&req->arena);
    rbuf_unref(req->frame);
    pool_give(&req->shard->request_pool, req);
    conn_release(conn);
}

void request_hold(struct request *req)
{
    req->holds++;
}

void request_release(struct request *req)
{
    ASSERT(req->holds > 0);
    if (--req->holds == 0)
        request_free(req);
}

/* The reference of the connection's list goes; the connection sends what there is to send. */
static void request_end(struct request *req, enum request_state state)
{
    ASSERT(req->state == REQUEST_RUNNING && state != REQUEST_RUNNING);
    struct conn *conn = req->conn;
    metrics_on_request(req);
    req->state = state;
    if (conn->is_closed) {
        list_remove(&req->link);
        request_release(req);
        return;
    }
    conn_on_request_end(conn);
}

void request_end_silent(struct request *req)
{
    request_end(req, REQUEST_SILENT);
}

void request_close(struct request *req, const char *why)
{
    if (!req->conn->is_closed)
        shard_warn(req->shard, RATE_BAD_REQUEST, "conn", "%s:%u: closed: %s: %s",
                   req->conn->peer.host, req->conn->peer.port, req->api->name, why);
    request_end(req, REQUEST_CLOSE);
}

static enum err encode_reply(struct request *req, int16_t version, struct codec_error *error)
{
    struct codec_parts parts = {.arena = &req->arena};
    uint8_t *prefix = buf_extend(&req->out, FRAME_PREFIX);
    if (!prefix)
        return req->out.err;
    response_header_encode(req->api, version, req->header.correlation_id, &req->out);
    TRY(codec_encode_scatter(req->api->response, version, req->response, &req->out, &parts, error));
    req->parts = parts.items;
    req->part_count = parts.len;
    size_t size = req->out.len - FRAME_PREFIX + parts.bytes;
    if (size > INT32_MAX)
        return ERR_LIMIT;
    be32_store(req->out.data, (uint32_t)size);
    return ERR_OK;
}

void request_reply_version(struct request *req, int16_t version)
{
    if (req->conn->is_closed) {
        request_end(req, REQUEST_SILENT);
        return;
    }
    struct codec_error error = {""};
    enum err err = encode_reply(req, version, &error);
    if (err != ERR_OK) {
        diag_error("request", "%s v%d: the answer cannot be encoded: %s %s", req->api->name,
                   version, err_text(err), error.text);
        request_close(req, "no answer could be made");
        return;
    }
    request_end(req, REQUEST_REPLY);
}

void request_reply(struct request *req)
{
    request_reply_version(req, req->header.api_version);
}

enum err request_keep_rbuf(struct request *req, struct shard *owner, struct rbuf *rbuf)
{
    if (req->holder_count == req->holder_cap) {
        size_t cap = req->holder_cap ? req->holder_cap * 2 : 8;
        struct reply_holder *holders = request_array(req, cap, sizeof(*holders));
        if (!holders)
            return ERR_LIMIT;
        if (req->holder_count > 0)
            memcpy(holders, req->holders, req->holder_count * sizeof(*holders));
        req->holders = holders;
        req->holder_cap = cap;
    }
    req->holders[req->holder_count++] = (struct reply_holder){rbuf, owner};
    return ERR_OK;
}

void *request_array(struct request *req, size_t count, size_t size)
{
    return arena_array(&req->arena, count, size);
}

/* An ApiVersions request of a version that is not ours is answered, in version 0, with what is. */
static bool is_version_question(const struct request *req)
{
    return req->header.api_key == API_KEY_API_VERSIONS;
}

static enum err decode(struct request *req, struct slice bytes, char *why, size_t why_size)
{
    size_t used = 0;
    enum err err = request_header_decode(bytes, &req->header, &used);
    if (err == ERR_UNSUPPORTED) {
        snprintf(why, why_size, "API key %d is unknown", (int16_t)be16_load(bytes.data));
        return ERR_MALFORMED;
    }
    if (err != ERR_OK) {
        snprintf(why, why_size, "the request header is malformed");
        return ERR_MALFORMED;
    }
    int16_t version = req->header.api_version;
    req->api = api_find(req->header.api_key);
    req->handler = handler_find(req->header.api_key);
    if (!req->handler) {
        snprintf(why, why_size, "%s is not served here", req->api->name);
        return ERR_MALFORMED;
    }
    bool has_version =
        codec_has_version(req->api->request, version) && version <= req->handler->version_max;
    if (!has_version && !is_version_question(req)) {
        snprintf(why, why_size, "%s version %d is not supported", req->api->name, version);
        return ERR_MALFORMED;
    }
    req->body = arena_zalloc(&req->arena, req->api->request->root->size);
    req->response = arena_zalloc(&req->arena, req->api->response->root->size);
    if (!req->body || !req->response)
        return ERR_NOMEM;
    codec_init(req->api->response, req->response);
    codec_init(req->api->request, req->body);
    if (!has_version)
        return ERR_OK;
    struct codec_error error = {""};
    struct slice body = {bytes.data + used, bytes.len - used};
    err = codec_decode(req->api->request, version, body, &used, &req->arena, req->body, &error);
    if (err == ERR_OK || err == ERR_NOMEM)
        return err;
    snprintf(why, why_size, "%s", error.text);
    return ERR_MALFORMED;
}

/* What is decoded borrows from the bytes. */
static enum err keep_frame(struct request *req, struct rbuf *frame, struct slice *bytes)
{
    if (bytes->len > FRAME_COPIED_MAX) {
        rbuf_ref(frame);
        req->frame = frame;
        return ERR_OK;
    }
    *bytes = arena_slice(&req->arena, *bytes);
    return bytes->data ? ERR_OK : ERR_NOMEM;
}

enum err request_begin(struct conn *conn, struct rbuf *frame, struct slice bytes, char *why,
                       size_t why_size)
{
    struct shard *shard = conn->shard;
    struct request *req = pool_take(&shard->request_pool);
    if (!req)
        return ERR_NOMEM;
    memset(req, 0, sizeof(*req));
    list_init(&req->link);
    req->conn = conn;
    req->shard = shard;
    req->holds = 1;
    req->begin_ns = io_now_ns(shard->io);
    arena_init(&req->arena, REQUEST_ARENA_BYTES_MAX);
    buf_init(&req->out, BUF_NO_LIMIT);
    conn->request_count++;
    enum err err = keep_frame(req, frame, &bytes);
    if (err == ERR_OK)
        err = decode(req, bytes, why, why_size);
    if (err != ERR_OK) {
        request_release(req);
        return err;
    }
    list_push_back(&conn->requests, &req->link);
    req->handler->begin(req);
    return ERR_OK;
}
