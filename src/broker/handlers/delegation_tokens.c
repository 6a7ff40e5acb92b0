/* CreateDelegationToken, RenewDelegationToken, ExpireDelegationToken, DescribeDelegationToken
 * (KIP-48): tokens are for those who have proved who they are, which nobody can on a connection
 * without authentication, and there are no others (listeners.c). */
#include "broker/handlers/handlers.h"

#define NOT_ALLOWED (wire_code_of_err(ERR_DELEGATION_TOKEN_REQUEST_NOT_ALLOWED))
#define NOT_KNOWN   (-1)

void create_delegation_token_begin(struct request *req)
{
    const struct create_delegation_token_request *body = req->body;
    struct create_delegation_token_response *response = req->response;
    bool is_for_another =
        !str_is_null(body->owner_principal_name) && body->owner_principal_name.len > 0;
    response->error_code = NOT_ALLOWED;
    response->principal_type = is_for_another ? body->owner_principal_type : STR("User");
    response->principal_name = is_for_another ? body->owner_principal_name : STR("ANONYMOUS");
    if (req->header.api_version >= 3) {
        response->token_requester_principal_type = STR("User");
        response->token_requester_principal_name = STR("ANONYMOUS");
    }
    response->issue_timestamp_ms = NOT_KNOWN;
    response->expiry_timestamp_ms = NOT_KNOWN;
    response->max_timestamp_ms = NOT_KNOWN;
    request_reply(req);
}

void renew_delegation_token_begin(struct request *req)
{
    struct renew_delegation_token_response *response = req->response;
    response->error_code = NOT_ALLOWED;
    response->expiry_timestamp_ms = NOT_KNOWN;
    request_reply(req);
}

void expire_delegation_token_begin(struct request *req)
{
    struct expire_delegation_token_response *response = req->response;
    response->error_code = NOT_ALLOWED;
    response->expiry_timestamp_ms = NOT_KNOWN;
    request_reply(req);
}

void describe_delegation_token_begin(struct request *req)
{
    struct describe_delegation_token_response *response = req->response;
    response->error_code = NOT_ALLOWED;
    request_reply(req);
}
