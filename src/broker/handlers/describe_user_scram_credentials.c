/* DescribeUserScramCredentials (KIP-554): whose credentials the metadata holds, and of what kind.
 * They come with a folder of Apache Kafka's; nobody can sign in with them here. */
#include "broker/handlers/handlers.h"

#include "meta/kept.h"

/* The credentials of one user, which are neighbours. */
static bool fill_infos(struct request *req, const struct user_scram_credential_record **credentials,
                       size_t count, struct describe_user_scram_credentials_response_result *out)
{
    out->credential_infos =
        MSG_ARRAY(describe_user_scram_credentials_response_credential_info, &req->arena, count);
    if (!out->credential_infos)
        return false;
    out->credential_infos_len = (int32_t)count;
    for (size_t i = 0; i < count; i++) {
        out->credential_infos[i].mechanism = credentials[i]->mechanism;
        out->credential_infos[i].iterations = credentials[i]->iterations;
    }
    return true;
}

static size_t same_user(const struct user_scram_credential_record **credentials, size_t count,
                        size_t at)
{
    size_t end = at;
    while (end < count && str_eq(credentials[end]->name, credentials[at]->name))
        end++;
    return end - at;
}

static bool fill_all(struct request *req, const struct user_scram_credential_record **credentials,
                     size_t count)
{
    struct describe_user_scram_credentials_response *response = req->response;
    response->results =
        MSG_ARRAY(describe_user_scram_credentials_response_result, &req->arena, count);
    bool is_ok = response->results != NULL;
    for (size_t i = 0, same; is_ok && i < count; i += same) {
        same = same_user(credentials, count, i);
        struct describe_user_scram_credentials_response_result *out =
            &response->results[response->results_len++];
        out->user = credentials[i]->name;
        is_ok = fill_infos(req, credentials + i, same, out);
    }
    return is_ok;
}

static bool is_named(const struct describe_user_scram_credentials_request *body, int32_t from,
                     int32_t to, struct str user)
{
    for (int32_t i = from; i < to; i++)
        if (str_eq(body->users[i].name, user))
            return true;
    return false;
}

static bool fill_user(struct request *req, const struct user_scram_credential_record **credentials,
                      size_t count, bool is_doubled,
                      struct describe_user_scram_credentials_response_result *out)
{
    size_t at = 0;
    while (at < count && !str_eq(credentials[at]->name, out->user))
        at++;
    if (!is_doubled && at < count)
        return fill_infos(req, credentials + at, same_user(credentials, count, at), out);
    out->error_code =
        wire_code_of_err(is_doubled ? ERR_DUPLICATE_RESOURCE : ERR_RESOURCE_NOT_FOUND);
    out->error_message = arena_printf(
        &req->arena,
        is_doubled ? "Cannot describe SCRAM credentials for the same user twice in a single "
                     "request: %.*s"
                   : "Attempt to describe a user credential that does not exist: %.*s",
        STR_ARG(out->user));
    return out->error_message.data != NULL;
}

static bool fill_some(struct request *req, const struct user_scram_credential_record **credentials,
                      size_t count)
{
    const struct describe_user_scram_credentials_request *body = req->body;
    struct describe_user_scram_credentials_response *response = req->response;
    response->results = MSG_ARRAY(describe_user_scram_credentials_response_result, &req->arena,
                                  (size_t)body->users_len);
    bool is_ok = response->results != NULL;
    for (int32_t i = 0; is_ok && i < body->users_len; i++) {
        struct str user = body->users[i].name;
        if (is_named(body, 0, i, user))
            continue;
        struct describe_user_scram_credentials_response_result *out =
            &response->results[response->results_len++];
        out->user = user;
        is_ok =
            fill_user(req, credentials, count, is_named(body, i + 1, body->users_len, user), out);
    }
    return is_ok;
}

void describe_user_scram_credentials_begin(struct request *req)
{
    const struct describe_user_scram_credentials_request *body = req->body;
    const struct user_scram_credential_record **credentials;
    size_t count;
    bool is_ok = image_credentials(req->shard->image, &req->arena, &credentials, &count) == ERR_OK;
    /* No users named: all. */
    if (is_ok)
        is_ok = body->users_len <= 0 ? fill_all(req, credentials, count)
                                     : fill_some(req, credentials, count);
    if (is_ok)
        request_reply(req);
    else
        request_over_limit(req);
}
