/* What stands in front of every request and response on a connection, behind the frame's i32 size.
 *
 * Request header v1 belongs to the versions of an API that are not flexible, v2 to those that are;
 * response header v0 and v1 likewise, except that ApiVersions is always answered with v0, so that
 * a client can read the answer whatever it asked. */
#ifndef WIRE_HEADER_H
#define WIRE_HEADER_H

#include <stdint.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "base/err.h"
#include "wire/api.h"

struct request_header {
    int16_t api_key;
    int16_t api_version;
    int32_t correlation_id;
    struct str client_id; /* a view; null is allowed */
};

#define API_KEY_API_VERSIONS 18

/* The first fields, which look alike in every version of the header. ERR_TRUNCATED. */
enum err request_header_peek(struct slice bytes, int16_t *api_key, int16_t *api_version,
                             int32_t *correlation_id) MUST_USE;
/* Decodes the header of a request from the front of a frame and says how long it is. A version
 * that the API does not have is decoded all the same, as the version next to it would be, so that
 * ApiVersions can be answered; the caller checks versions. ERR_UNSUPPORTED for an unknown API. */
enum err request_header_decode(struct slice bytes, struct request_header *header,
                               size_t *used) MUST_USE;
void request_header_encode(const struct api_info *api, const struct request_header *header,
                           struct buf *out);

enum err response_header_decode(const struct api_info *api, int16_t api_version, struct slice bytes,
                                int32_t *correlation_id, size_t *used) MUST_USE;
void response_header_encode(const struct api_info *api, int16_t api_version, int32_t correlation_id,
                            struct buf *out);

#endif
