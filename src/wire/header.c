/* Request and response headers. Pure; any thread.
 *
 * Request:   0 i16 api key | 2 i16 version | 4 i32 correlation id | 8 i16 length, client id |
 *            v2: tagged fields
 * Response:  0 i32 correlation id | v1: tagged fields
 *
 * The client id has its old two-byte length even in v2, so that a broker can read the header of an
 * ApiVersions request from the future. No tagged field is defined here; those sent are skipped. */
#include "wire/header.h"

#define CLIENT_ID_AT 8

/* Steps over tagged fields that nobody here knows. */
static enum err skip_tags(struct slice bytes, size_t *at)
{
    uint32_t count, tag, size;
    size_t len = uvarint32_load(bytes.data + *at, bytes.len - *at, &count);
    if (len == 0)
        return ERR_TRUNCATED;
    *at += len;
    if (count > MSG_TAGS_MAX)
        return ERR_LIMIT;
    for (uint32_t i = 0; i < count; i++) {
        len = uvarint32_load(bytes.data + *at, bytes.len - *at, &tag);
        *at += len;
        size_t size_len = uvarint32_load(bytes.data + *at, bytes.len - *at, &size);
        *at += size_len;
        if (len == 0 || size_len == 0 || size > bytes.len - *at)
            return ERR_TRUNCATED;
        *at += size;
    }
    return ERR_OK;
}

enum err request_header_peek(struct slice bytes, int16_t *api_key, int16_t *api_version,
                             int32_t *correlation_id)
{
    if (bytes.len < CLIENT_ID_AT)
        return ERR_TRUNCATED;
    *api_key = (int16_t)be16_load(bytes.data);
    *api_version = (int16_t)be16_load(bytes.data + 2);
    *correlation_id = (int32_t)be32_load(bytes.data + 4);
    return ERR_OK;
}

enum err request_header_decode(struct slice bytes, struct request_header *header, size_t *used)
{
    TRY(request_header_peek(bytes, &header->api_key, &header->api_version,
                            &header->correlation_id));
    const struct api_info *api = api_find(header->api_key);
    if (!api)
        return ERR_UNSUPPORTED;
    size_t at = CLIENT_ID_AT + 2;
    if (bytes.len < at)
        return ERR_TRUNCATED;
    int16_t client_id_len = (int16_t)be16_load(bytes.data + CLIENT_ID_AT);
    header->client_id = STR_NULL;
    if (client_id_len >= 0) {
        if ((size_t)client_id_len > bytes.len - at)
            return ERR_TRUNCATED;
        header->client_id = (struct str){(const char *)bytes.data + at, (size_t)client_id_len};
        at += (size_t)client_id_len;
    }
    if (header->api_version >= api->flexible_from)
        TRY(skip_tags(bytes, &at));
    *used = at;
    return ERR_OK;
}

void request_header_encode(const struct api_info *api, const struct request_header *header,
                           struct buf *out)
{
    buf_put_be16(out, (uint16_t)header->api_key);
    buf_put_be16(out, (uint16_t)header->api_version);
    buf_put_be32(out, (uint32_t)header->correlation_id);
    struct str id = header->client_id;
    if (id.len > MSG_STRING_MAX)
        id.len = MSG_STRING_MAX;
    buf_put_be16(out, id.data ? (uint16_t)id.len : UINT16_MAX);
    buf_put(out, id.data, id.data ? id.len : 0);
    if (header->api_version >= api->flexible_from)
        buf_put_u8(out, 0);
}

static bool response_header_is_flexible(const struct api_info *api, int16_t api_version)
{
    return api->key != API_KEY_API_VERSIONS && api_version >= api->flexible_from;
}

enum err response_header_decode(const struct api_info *api, int16_t api_version, struct slice bytes,
                                int32_t *correlation_id, size_t *used)
{
    size_t at = 4;
    if (bytes.len < at)
        return ERR_TRUNCATED;
    *correlation_id = (int32_t)be32_load(bytes.data);
    if (response_header_is_flexible(api, api_version))
        TRY(skip_tags(bytes, &at));
    *used = at;
    return ERR_OK;
}

void response_header_encode(const struct api_info *api, int16_t api_version, int32_t correlation_id,
                            struct buf *out)
{
    buf_put_be32(out, (uint32_t)correlation_id);
    if (response_header_is_flexible(api, api_version))
        buf_put_u8(out, 0);
}
