/* UpdateFeatures (KIP-584): the cluster's finalized levels, up and down; all of a request or none.
 */
#include "broker/handlers/handlers.h"

#include "meta/controller.h"

/* Asked for in one request; there are not that many features. */
#define UPDATES_MAX 1000

struct update_features_own {
    struct metadata_call call;
    struct feature_update *updates;
    int16_t kraft_version;
    bool validate_only;
};

static enum err ask(const struct controller *controller, const struct controller_call *call,
                    struct metadata_call *own_call, struct meta_error *error)
{
    const struct update_features_own *own = own_call->own;
    const struct update_features_request *body = own_call->req->body;
    return controller_update_features(controller, call, own->updates,
                                      (size_t)body->feature_updates_len, own->kraft_version,
                                      own->validate_only, error);
}

/* Up to version 1 each feature is answered for, all with the same. */
static bool fill_results(struct request *req)
{
    const struct update_features_request *body = req->body;
    struct update_features_response *response = req->response;
    response->results =
        MSG_ARRAY(update_features_response_result, &req->arena, (size_t)body->feature_updates_len);
    if (!response->results)
        return false;
    response->results_len = body->feature_updates_len;
    for (int32_t i = 0; i < body->feature_updates_len; i++) {
        response->results[i].feature = body->feature_updates[i].feature;
        response->results[i].error_message = STR("NONE");
    }
    return true;
}

static void update_features_finish(struct metadata_call *call)
{
    struct request *req = call->req;
    struct update_features_response *response = req->response;
    bool is_ok = call->err != ERR_NOMEM;
    response->error_message = STR_NULL;
    if (is_ok && call->err == ERR_OK && req->header.api_version <= 1)
        is_ok = fill_results(req);
    if (!is_ok) {
        request_over_limit(req);
        return;
    }
    if (call->err != ERR_OK) {
        response->error_code = wire_code_of_err(call->err);
        response->error_message =
            arena_printf(&req->arena,
                         "The update failed for all features since the following feature had an "
                         "error: %.*s",
                         STR_ARG(call->error.text));
    }
    request_reply(req);
}

void update_features_begin(struct request *req)
{
    const struct update_features_request *body = req->body;
    struct update_features_own *own = request_array(req, 1, sizeof(*own));
    if (own && body->feature_updates_len <= UPDATES_MAX)
        own->updates = request_array(req, (size_t)body->feature_updates_len, sizeof(*own->updates));
    if (!own || !own->updates) {
        request_over_limit(req);
        return;
    }
    for (int32_t i = 0; i < body->feature_updates_len; i++)
        own->updates[i] = (struct feature_update){
            .name = body->feature_updates[i].feature,
            .level = body->feature_updates[i].max_version_level,
            /* Apache Kafka does not look at version 0's allow_downgrade. */
            .kind = req->header.api_version >= 1 ? body->feature_updates[i].upgrade_type
                                                 : FEATURE_UPGRADE};
    own->kraft_version = req->shard->node->metadata.quorum.kraft_version;
    own->validate_only = req->header.api_version >= 1 && body->validate_only;
    request_ask_controller(req, &own->call, ask, update_features_finish, own);
}
