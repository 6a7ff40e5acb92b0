/* A request at a time over one connection. Main thread.
 *
 * The first exchange is ApiVersions in our newest version; a broker that does not know that answers
 * in version 0 with UNSUPPORTED_VERSION and its own range, and is asked again. After that each call
 * uses the newest version in both ranges. Frames are copied into the client's arena, because
 * decoded messages are views of them and a command keeps several answers. */
#include "cli/client.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "cli/out.h"
#include "wire/errors.h"
#include "wire/header.h"

#define CLIENT_ID STR("taffrail")
/* The first version of DescribeCluster that can tell fenced brokers. */
#define DESCRIBE_CLUSTER_WITH_FENCED 2

_Noreturn void client_out_of_memory(void)
{
    exit(out_fail(EXIT_REFUSED, "out of memory"));
}

void *client_array(struct client *client, size_t count, size_t size)
{
    void *array = arena_array(&client->arena, count, size);
    if (!array)
        client_out_of_memory();
    return array;
}

/* ---- one exchange ---- */

static int encode(struct client *client, const struct api_info *api, int16_t version,
                  const void *request, struct buf *out)
{
    struct codec_error error = {""};
    struct request_header header = {.api_key = api->key,
                                    .api_version = version,
                                    .correlation_id = ++client->correlation_id,
                                    .client_id = CLIENT_ID};
    request_header_encode(api, &header, out);
    enum err err = codec_encode(api->request, version, request, out, &error);
    if (err == ERR_OK)
        return EXIT_FINE;
    if (err == ERR_UNSUPPORTED_VERSION)
        return out_fail(EXIT_REFUSED, "the broker at %s is too old for this: %s", client->net.peer,
                        error.text);
    return out_fail(EXIT_USAGE, "this cannot be asked: %s", error.text);
}

static int decode(struct client *client, const struct api_info *api, int16_t version,
                  void *response)
{
    struct codec_error error = {"the header is cut"};
    int32_t correlation_id = 0;
    size_t used = 0, body_used;
    struct slice frame = arena_slice(&client->arena, buf_slice(&client->net.in));
    if (frame.data == NULL)
        client_out_of_memory();
    enum err err = response_header_decode(api, version, frame, &correlation_id, &used);
    if (err == ERR_OK && correlation_id != client->correlation_id)
        err = ERR_MALFORMED;
    if (err == ERR_OK) {
        struct slice body = {frame.data + used, frame.len - used};
        err = codec_decode(api->response, version, body, &body_used, &client->arena, response,
                           &error);
    }
    if (err == ERR_OK)
        return EXIT_FINE;
    return out_fail(EXIT_REFUSED, "%s gave an answer to %s that cannot be read: %s",
                    client->net.peer, api->name, error.text);
}

static int call_version(struct client *client, const struct api_info *api, int16_t version,
                        const void *request, void *response)
{
    struct buf out;
    buf_init(&out, BUF_NO_LIMIT);
    int code = encode(client, api, version, request, &out);
    if (!code)
        code = net_exchange(&client->net, buf_slice(&out));
    buf_deinit(&out);
    return code ? code : decode(client, api, version, response);
}

/* ---- versions ---- */

static const struct api_versions_response_api_key *find_offer(const struct client *client,
                                                              int16_t key)
{
    for (int32_t i = 0; i < client->versions.api_keys_len; i++) {
        if (client->versions.api_keys[i].api_key == key)
            return &client->versions.api_keys[i];
    }
    return NULL;
}

/* One ApiVersions exchange. *is_refused: the broker does not know this version and answered in
 * version 0, with its ranges. */
static int ask_versions_at(struct client *client, int16_t version, bool *is_refused)
{
    const struct api_info *api = api_find(CLIENT_API_VERSIONS);
    struct api_versions_request request;
    struct buf out;
    MSG_INIT(api_versions_request, &request);
    if (version >= 3) {
        request.client_software_name = CLIENT_ID;
        request.client_software_version = STR(TAFFRAIL_VERSION);
    }
    buf_init(&out, BUF_NO_LIMIT);
    int code = encode(client, api, version, &request, &out);
    if (!code)
        code = net_exchange(&client->net, buf_slice(&out));
    buf_deinit(&out);
    if (code)
        return code;
    /* The error code stands right behind the correlation id in every version. */
    const struct buf *in = &client->net.in;
    *is_refused = in->len >= 6 &&
                  wire_err_of_code((int16_t)be16_load(in->data + 4)) == ERR_UNSUPPORTED_VERSION;
    return decode(client, api, *is_refused ? 0 : version, &client->versions);
}

static int ask_versions(struct client *client)
{
    bool is_refused;
    int16_t version = api_find(CLIENT_API_VERSIONS)->version_max;
    int code = ask_versions_at(client, version, &is_refused);
    if (!code && is_refused) {
        const struct api_versions_response_api_key *offer = find_offer(client, CLIENT_API_VERSIONS);
        version = offer && offer->max_version < version ? offer->max_version : 0;
        code = ask_versions_at(client, version, &is_refused);
    }
    if (!code && client->versions.error_code)
        return client_fail(client->versions.error_code, STR_NULL, "%s does not say what it offers",
                           client->net.peer);
    return code;
}

bool client_offers(const struct client *client, enum client_api api)
{
    return find_offer(client, (int16_t)api) != NULL;
}

bool client_offers_version(const struct client *client, enum client_api api, int16_t version)
{
    const struct api_versions_response_api_key *offer = find_offer(client, (int16_t)api);
    return offer && offer->max_version >= version;
}

int client_call(struct client *client, enum client_api key, const void *request, void *response)
{
    return client_call_at_most(client, key, INT16_MAX, request, response);
}

int client_call_at_most(struct client *client, enum client_api key, int16_t version_max,
                        const void *request, void *response)
{
    const struct api_info *api = api_find((int16_t)key);
    ASSERT(api != NULL && version_max >= api->version_min);
    if (version_max > api->version_max)
        version_max = api->version_max;
    const struct api_versions_response_api_key *offer = find_offer(client, (int16_t)key);
    if (!offer || offer->min_version > version_max || offer->max_version < api->version_min)
        return out_fail(EXIT_REFUSED, "the broker at %s does not offer %s", client->net.peer,
                        api->name);
    int16_t version = offer->max_version < version_max ? offer->max_version : version_max;
    return call_version(client, api, version, request, response);
}

/* ---- open and close ---- */

static int open_servers(struct client *client, const char *servers, int64_t timeout_ms)
{
    *client = (struct client){0};
    arena_init(&client->arena, ARENA_NO_LIMIT);
    MSG_INIT(api_versions_response, &client->versions);
    int code = net_open(&client->net, servers, timeout_ms);
    return code ? code : ask_versions(client);
}

int client_open(struct client *client, const struct args *args)
{
    return open_servers(client, args_text(args, "bootstrap-server"), args_timeout_ms(args));
}

static int open_at(struct client *client, struct str host, int32_t port, int64_t timeout_ms)
{
    char server[NET_PEER_MAX];
    bool is_v6 = memchr(host.data, ':', host.len) != NULL;
    snprintf(server, sizeof(server), is_v6 ? "[%.*s]:%d" : "%.*s:%d", STR_ARG(host), port);
    return open_servers(client, server, timeout_ms);
}

void client_close(struct client *client)
{
    net_close(&client->net);
    arena_deinit(&client->arena);
}

/* ---- brokers ---- */

int client_describe_cluster(struct client *client, bool with_fenced,
                            struct describe_cluster_response *cluster)
{
    struct describe_cluster_request request;
    const struct api_versions_response_api_key *offer = find_offer(client, CLIENT_DESCRIBE_CLUSTER);
    MSG_INIT(describe_cluster_request, &request);
    request.include_fenced_brokers =
        with_fenced && offer && offer->max_version >= DESCRIBE_CLUSTER_WITH_FENCED;
    int code = client_call(client, CLIENT_DESCRIBE_CLUSTER, &request, cluster);
    if (!code && cluster->error_code)
        return client_fail(cluster->error_code, cluster->error_message,
                           "cannot ask for the brokers");
    return code;
}

int client_open_broker(struct client *broker, const struct describe_cluster_response *cluster,
                       int32_t broker_id, int64_t timeout_ms)
{
    *broker = (struct client){.net = {.fd = -1}};
    for (int32_t i = 0; i < cluster->brokers_len; i++) {
        const struct describe_cluster_response_broker *at = &cluster->brokers[i];
        if (at->broker_id == broker_id)
            return open_at(broker, at->host, at->port, timeout_ms);
    }
    return out_fail(EXIT_NOT_FOUND,
                    "there is no broker %d; see which there are with 'taffrail cluster info'",
                    broker_id);
}

/* ---- errors ---- */

static enum exit_code exit_code_of(enum err err)
{
    switch (err) {
    case ERR_UNKNOWN_TOPIC_OR_PARTITION:
    case ERR_UNKNOWN_TOPIC_ID:
    case ERR_RESOURCE_NOT_FOUND:
    case ERR_GROUP_ID_NOT_FOUND:
    case ERR_BROKER_ID_NOT_REGISTERED:
        return EXIT_NOT_FOUND;
    default:
        return EXIT_REFUSED;
    }
}

int client_fail(int16_t error_code, struct str message, const char *what, ...)
{
    char text[512];
    va_list list;
    va_start(list, what);
    vsnprintf(text, sizeof(text), what, list);
    va_end(list);
    enum err err = wire_err_of_code(error_code);
    if (message.len)
        return out_fail(exit_code_of(err), "%s: %.*s", text, STR_ARG(message));
    return out_fail(exit_code_of(err), "%s: %s (%s)", text, err_text(err),
                    wire_code_name(error_code));
}
