/* ApiVersions (KIP-35, KIP-511, KIP-584): what is served, and the cluster's features. */
#include "broker/handlers/handlers.h"

#include "meta/controller.h"

static bool is_word_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

/* Letters and digits, with '-' and '.' inside. */
static bool is_software_name(struct str s)
{
    if (s.len == 0 || !is_word_char(s.data[0]) || !is_word_char(s.data[s.len - 1]))
        return false;
    for (size_t i = 0; i < s.len; i++) {
        if (!is_word_char(s.data[i]) && s.data[i] != '-' && s.data[i] != '.')
            return false;
    }
    return true;
}

/* Clients that have a connection for their group alone and do not wait for a heartbeat's answer
 * before they do anything else; shown by tests with each of them. */
static bool bears_held_heartbeats(struct str name)
{
    static const struct str prefixes[] = {
        {"apache-kafka-java", 17}, {"librdkafka", 10}, {"confluent-kafka", 15}};
    for (size_t i = 0; i < ARRAY_LEN(prefixes); i++) {
        if (name.len >= prefixes[i].len &&
            memcmp(name.data, prefixes[i].data, prefixes[i].len) == 0)
            return true;
    }
    return false;
}

/* Kafka's own from 4 on: its next heartbeat is due by when the last was sent, whenever that was
 * answered, and what ends a membership is sent though one is not answered yet. */
static bool counts_from_request(struct str name, struct str version)
{
    return str_eq(name, STR("apache-kafka-java")) && version.len > 1 && version.data[0] >= '4' &&
           version.data[0] <= '9';
}

static bool fill_apis(struct request *req, struct api_versions_response *response)
{
    response->api_keys = MSG_ARRAY(api_versions_response_api_key, &req->arena, handler_table_len);
    if (!response->api_keys)
        return false;
    response->api_keys_len = (int32_t)handler_table_len;
    for (size_t i = 0; i < handler_table_len; i++) {
        response->api_keys[i].api_key = handler_table[i].key;
        response->api_keys[i].min_version = handler_table[i].version_min;
        response->api_keys[i].max_version = handler_table[i].version_max;
    }
    return true;
}

static void add_finalized(struct api_versions_response *response, struct str name, int16_t level)
{
    if (level > 0)
        response->finalized_features[response->finalized_features_len++] =
            (struct api_versions_response_finalized_feature){
                .name = name, .max_version_level = level, .min_version_level = level};
}

static bool fill_features(struct request *req, struct api_versions_response *response)
{
    const struct image *image = req->shard->image;
    size_t count;
    const struct feature_support *supported = features_supported(&count);
    response->supported_features =
        MSG_ARRAY(api_versions_response_supported_feature, &req->arena, count);
    response->finalized_features =
        MSG_ARRAY(api_versions_response_finalized_feature, &req->arena, image->features.count + 1);
    const struct quorum *quorum = &req->shard->node->metadata.quorum;
    if (!response->supported_features || !response->finalized_features)
        return false;
    /* Older clients take a lowest version of 0 for malformed (KAFKA-17492). */
    for (size_t i = 0; i < count; i++) {
        if (req->header.api_version < 4 && supported[i].min == 0)
            continue;
        response->supported_features[response->supported_features_len++] =
            (struct api_versions_response_supported_feature){.name = str_of(supported[i].name),
                                                             .min_version = supported[i].min,
                                                             .max_version = supported[i].max};
    }
    struct table_iter iter;
    table_begin(&iter, &image->features);
    for (const struct feature_image *feature; (feature = table_next(&iter)) != NULL;)
        add_finalized(response, feature->name, feature->level);
    add_finalized(response, STR("kraft.version"), quorum->kraft_version);
    response->finalized_features_epoch = image->end_offset - 1;
    return true;
}

void api_versions_begin(struct request *req)
{
    const struct api_versions_request *body = req->body;
    struct api_versions_response *response = req->response;
    int16_t version = req->header.api_version;
    if (version < 0 || version > req->handler->version_max) {
        response->api_keys = MSG_ARRAY(api_versions_response_api_key, &req->arena, 1);
        if (!response->api_keys) {
            request_over_limit(req);
            return;
        }
        response->error_code = wire_code_of_err(ERR_UNSUPPORTED_VERSION);
        response->api_keys_len = 1;
        response->api_keys[0].api_key = req->handler->key;
        response->api_keys[0].min_version = req->handler->version_min;
        response->api_keys[0].max_version = req->handler->version_max;
        request_reply_version(req, 0);
        return;
    }
    if (version >= 3 && (!is_software_name(body->client_software_name) ||
                         !is_software_name(body->client_software_version))) {
        response->error_code = wire_code_of_err(ERR_INVALID_REQUEST);
        request_reply(req);
        return;
    }
    req->conn->may_hold_heartbeats =
        version >= 3 && bears_held_heartbeats(body->client_software_name);
    req->conn->counts_from_request =
        version >= 3 &&
        counts_from_request(body->client_software_name, body->client_software_version);
    if (!fill_apis(req, response) || !fill_features(req, response)) {
        request_over_limit(req);
        return;
    }
    request_reply(req);
}
