/* DescribeAcls, CreateAcls, DeleteAcls (KIP-140): nobody here asks an authorizer, so there are no
 * lists to keep. A configuration that names one is refused at start (config.c). */
#include "broker/handlers/handlers.h"

static const char no_authorizer[] = "No Authorizer is configured.";

void describe_acls_begin(struct request *req)
{
    struct describe_acls_response *response = req->response;
    response->error_code = wire_code_of_err(ERR_SECURITY_DISABLED);
    response->error_message = STR("No Authorizer is configured on the broker");
    request_reply(req);
}

void create_acls_begin(struct request *req)
{
    const struct create_acls_request *body = req->body;
    struct create_acls_response *response = req->response;
    response->results =
        MSG_ARRAY(create_acls_response_result, &req->arena, (size_t)body->creations_len);
    if (!response->results) {
        request_over_limit(req);
        return;
    }
    response->results_len = body->creations_len;
    for (int32_t i = 0; i < body->creations_len; i++) {
        response->results[i].error_code = wire_code_of_err(ERR_SECURITY_DISABLED);
        response->results[i].error_message = str_of(no_authorizer);
    }
    request_reply(req);
}

void delete_acls_begin(struct request *req)
{
    const struct delete_acls_request *body = req->body;
    struct delete_acls_response *response = req->response;
    response->filter_results =
        MSG_ARRAY(delete_acls_response_filter_result, &req->arena, (size_t)body->filters_len);
    if (!response->filter_results) {
        request_over_limit(req);
        return;
    }
    response->filter_results_len = body->filters_len;
    for (int32_t i = 0; i < body->filters_len; i++) {
        response->filter_results[i].error_code = wire_code_of_err(ERR_SECURITY_DISABLED);
        response->filter_results[i].error_message = str_of(no_authorizer);
    }
    request_reply(req);
}
