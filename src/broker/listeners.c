/* Listeners, advertised addresses and the quorum, out of several keys.
 *
 * Kafka's rules: names are upper case and each has a security protocol; each listener has its own
 * name and port; clients are told `advertised.listeners`, or else the listeners that are not the
 * controller's, where an empty host is this machine's name. Without any file clients are told
 * localhost. Where the configuration names no controller listener, none is bound, and the voter
 * entry of a new folder says localhost:9093, which Kafka replaces by its own address if it ever
 * starts there.
 *
 * Used at start only, on the main thread. */
#include "broker/listeners.h"

#include <ctype.h>
#include <inttypes.h>

#include "base/assert.h"
#include "base/parse.h"

#define LISTENER_FORM   "a list of NAME://host:port"
#define METRICS_FORM    "a list of http://host:port, or empty"
#define LISTENERS_MAX   64
#define CONTROLLER_PORT 9093

static const char *const protocols[] = {"PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"};

static struct str upper(struct arena *arena, struct str s)
{
    char *to = arena_alloc(arena, s.len + 1);
    if (!to)
        return STR_NULL;
    for (size_t i = 0; i < s.len; i++)
        to[i] = (char)toupper((unsigned char)s.data[i]);
    to[s.len] = '\0';
    return (struct str){to, s.len};
}

/* "host:port", "[::1]:port", ":port". The host is copied, without brackets. */
static bool parse_address(struct arena *arena, struct str text, struct str *host, uint16_t *port)
{
    size_t colon = text.len;
    while (colon > 0 && text.data[colon - 1] != ':')
        colon--;
    if (colon == 0)
        return false;
    struct str before = {text.data, colon - 1};
    int64_t number;
    if (parse_i64_in((struct str){text.data + colon, text.len - colon}, 0, UINT16_MAX, &number))
        return false;
    if (before.len >= 2 && before.data[0] == '[' && before.data[before.len - 1] == ']')
        before = (struct str){before.data + 1, before.len - 2};
    else if (before.len > 0 && memchr(before.data, ':', before.len))
        return false;
    for (size_t i = 0; i < before.len; i++)
        if ((unsigned char)before.data[i] <= ' ' || before.data[i] == '/')
            return false;
    *host = arena_str(arena, before);
    *port = (uint16_t)number;
    return host->data != NULL;
}

static bool parse_listener(struct arena *arena, struct str text, struct listener_config *listener)
{
    size_t i = 0;
    while (i + 2 < text.len && memcmp(text.data + i, "://", 3) != 0)
        i++;
    if (i == 0 || i + 2 >= text.len)
        return false;
    for (size_t j = 0; j < i; j++) {
        char c = text.data[j];
        if (!isalnum((unsigned char)c) && c != '_' && c != '-' && c != '.')
            return false;
    }
    *listener = (struct listener_config){.name = upper(arena, (struct str){text.data, i})};
    return listener->name.data &&
           parse_address(arena, (struct str){text.data + i + 3, text.len - i - 3}, &listener->host,
                         &listener->port);
}

static enum err parse_listeners(struct config_loader *loader, const char *key, const char *form,
                                struct listener_config **out, size_t *count)
{
    struct arena *arena = &loader->config->arena;
    struct listener_config *list = arena_array(arena, LISTENERS_MAX, sizeof(*list));
    if (!list)
        return ERR_NOMEM;
    struct str rest = config_text(loader, key);
    struct str element;
    size_t n = 0;
    while (config_list_next(&rest, &element)) {
        if (n == LISTENERS_MAX)
            return config_refuse(loader, key, "at most 64 listeners", "too many listeners");
        if (!parse_listener(arena, element, &list[n]))
            return config_refuse(loader, key, form, "Unable to parse %.*s to a broker endpoint",
                                 STR_ARG(element));
        n++;
    }
    *out = list;
    *count = n;
    return ERR_OK;
}

/* --- security protocols --- */

static bool names_controller(const struct config_loader *loader, struct str name)
{
    struct str rest = config_text(loader, "controller.listener.names");
    struct str element;
    while (config_list_next(&rest, &element))
        if (element.len == name.len && strncasecmp(element.data, name.data, name.len) == 0)
            return true;
    return false;
}

/* -1 for a name without one. */
static int16_t protocol_of(const struct config_loader *loader, struct str name)
{
    struct str rest = config_text(loader, "listener.security.protocol.map");
    struct str element;
    while (config_list_next(&rest, &element)) {
        const char *colon = element.len ? memchr(element.data, ':', element.len) : NULL;
        size_t len = colon ? (size_t)(colon - element.data) : 0;
        if (!colon || len != name.len || strncasecmp(element.data, name.data, len) != 0)
            continue;
        struct str protocol = {colon + 1, element.len - len - 1};
        for (size_t i = 0; i < ARRAY_LEN(protocols); i++)
            if (protocol.len == strlen(protocols[i]) &&
                strncasecmp(protocol.data, protocols[i], protocol.len) == 0)
                return (int16_t)i;
        return -1;
    }
    bool map_is_default = !config_setting_find(loader, "listener.security.protocol.map");
    return map_is_default && names_controller(loader, name) ? 0 : -1;
}

static enum err set_protocols(struct config_loader *loader, const char *key,
                              struct listener_config *list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        list[i].is_controller = names_controller(loader, list[i].name);
        list[i].security_protocol = protocol_of(loader, list[i].name);
        if (list[i].security_protocol < 0)
            return config_refuse(loader, key, "names that listener.security.protocol.map maps",
                                 "No security protocol defined for listener %.*s",
                                 STR_ARG(list[i].name));
        if (list[i].security_protocol != 0)
            return config_refuse(loader, key, "PLAINTEXT",
                                 "the listener %.*s uses %s, which this version does not support",
                                 STR_ARG(list[i].name), protocols[list[i].security_protocol]);
    }
    return ERR_OK;
}

/* --- listeners --- */

static const struct listener_config *find_listener(const struct listener_config *list, size_t count,
                                                   struct str name)
{
    for (size_t i = 0; i < count; i++)
        if (str_eq(list[i].name, name))
            return &list[i];
    return NULL;
}

static bool is_any_address(struct str host)
{
    return host.len == 0 || str_eq(host, STR("0.0.0.0")) || str_eq(host, STR("::"));
}

static bool is_loopback(struct str host)
{
    return str_eq(host, STR("localhost")) || str_eq(host, STR("::1")) ||
           (host.len > 4 && memcmp(host.data, "127.", 4) == 0);
}

static enum err read_bound(struct config_loader *loader)
{
    struct broker_config *config = loader->config;
    TRY(parse_listeners(loader, "listeners", LISTENER_FORM, &config->listeners,
                        &config->listener_count));
    TRY(set_protocols(loader, "listeners", config->listeners, config->listener_count));
    bool serves_clients = false;
    for (size_t i = 0; i < config->listener_count; i++) {
        const struct listener_config *a = &config->listeners[i];
        serves_clients = serves_clients || !a->is_controller;
        for (size_t j = 0; j < i; j++) {
            const struct listener_config *b = &config->listeners[j];
            if (str_eq(a->name, b->name))
                return config_refuse(loader, "listeners", LISTENER_FORM ", each name once",
                                     "Each listener must have a different name, listeners: %.*s",
                                     STR_ARG(config_text(loader, "listeners")));
            bool overlap =
                str_eq(a->host, b->host) || is_any_address(a->host) || is_any_address(b->host);
            if (a->port == b->port && a->port != 0 && overlap)
                return config_refuse(loader, "listeners", LISTENER_FORM ", each port once",
                                     "Each listener must have a different port, listeners: %.*s",
                                     STR_ARG(config_text(loader, "listeners")));
        }
    }
    if (!serves_clients)
        return config_refuse(loader, "listeners", LISTENER_FORM ", one of them for clients",
                             "no listener is left for clients: all are the controller's");
    return ERR_OK;
}

/* The host that others are told for a listener on `host`. */
static struct str told_host(const struct config_loader *loader, struct str host)
{
    if (!is_any_address(host))
        return host;
    return str_is_null(loader->config->file) || loader->hostname.len == 0 ? STR("localhost")
                                                                          : loader->hostname;
}

static enum err check_advertised(struct config_loader *loader)
{
    struct broker_config *config = loader->config;
    size_t clients = 0;
    for (size_t i = 0; i < config->advertised_count; i++) {
        const struct listener_config *a = &config->advertised[i];
        if (!find_listener(config->listeners, config->listener_count, a->name))
            return config_refuse(loader, "advertised.listeners", "names that `listeners` has",
                                 "%.*s is advertised, but there is no such listener",
                                 STR_ARG(a->name));
        if (is_any_address(a->host))
            return config_refuse(loader, "advertised.listeners",
                                 "a name or address of this machine",
                                 "advertised.listeners cannot use the nonroutable meta-address "
                                 "0.0.0.0. Use a routable IP address.");
        for (size_t j = 0; j < i; j++)
            if (str_eq(a->name, config->advertised[j].name))
                return config_refuse(loader, "advertised.listeners", "each name once",
                                     "%.*s is advertised twice", STR_ARG(a->name));
        clients += !a->is_controller;
    }
    if (clients == 0)
        return config_refuse(loader, "advertised.listeners", "a listener for clients",
                             "no listener is advertised to clients");
    return ERR_OK;
}

static enum err read_advertised(struct config_loader *loader)
{
    struct broker_config *config = loader->config;
    if (!str_is_null(config_text(loader, "advertised.listeners"))) {
        TRY(parse_listeners(loader, "advertised.listeners", LISTENER_FORM, &config->advertised,
                            &config->advertised_count));
        TRY(set_protocols(loader, "advertised.listeners", config->advertised,
                          config->advertised_count));
        return check_advertised(loader);
    }
    config->advertised =
        arena_array(&config->arena, config->listener_count, sizeof(*config->advertised));
    if (!config->advertised)
        return ERR_NOMEM;
    for (size_t i = 0; i < config->listener_count; i++) {
        struct listener_config told = config->listeners[i];
        told.host = told_host(loader, told.host);
        if (!told.is_controller)
            config->advertised[config->advertised_count++] = told;
    }
    return ERR_OK;
}

/* Clients elsewhere connect to what is bound, and are then told to go to themselves. */
static enum err warn_about_advertised(struct config_loader *loader)
{
    struct broker_config *config = loader->config;
    for (size_t i = 0; i < config->advertised_count; i++) {
        const struct listener_config *told = &config->advertised[i];
        const struct listener_config *bound =
            find_listener(config->listeners, config->listener_count, told->name);
        ASSERT(bound);
        if (told->is_controller || !is_loopback(told->host) || is_loopback(bound->host))
            continue;
        config->warning_advertised = arena_printf(
            &config->arena,
            "listener %.*s is open to other machines but tells clients to connect to %.*s, which "
            "only programs on this machine can; set "
            "advertised.listeners=%.*s://THIS-MACHINE'S-NAME:%u to serve others",
            STR_ARG(told->name), STR_ARG(told->host), STR_ARG(told->name), told->port);
        return config->warning_advertised.data ? ERR_OK : ERR_NOMEM;
    }
    return ERR_OK;
}

static enum err read_inter_broker(struct config_loader *loader)
{
    struct broker_config *config = loader->config;
    struct str name = config_text(loader, "inter.broker.listener.name");
    if (!str_is_null(name)) {
        name = upper(&config->arena, name);
        if (!find_listener(config->advertised, config->advertised_count, name))
            return config_refuse(loader, "inter.broker.listener.name",
                                 "a listener that is advertised",
                                 "there is no listener %.*s for brokers", STR_ARG(name));
    } else {
        name = upper(&config->arena, config_text(loader, "security.inter.broker.protocol"));
    }
    const struct listener_config *listener =
        find_listener(config->advertised, config->advertised_count, name);
    config->inter_broker_listener = listener ? name : config->advertised[0].name;
    return ERR_OK;
}

/* --- the quorum --- */

static enum err read_controller_address(struct config_loader *loader)
{
    struct broker_config *config = loader->config;
    config->controller_listener = STR("CONTROLLER");
    config->controller_host = STR("localhost");
    config->controller_port = CONTROLLER_PORT;
    struct str names = config_text(loader, "controller.listener.names");
    struct str first;
    if (config_list_next(&names, &first))
        config->controller_listener = upper(&config->arena, first);
    const struct listener_config *bound =
        find_listener(config->listeners, config->listener_count, config->controller_listener);
    const struct listener_config *told =
        find_listener(config->advertised, config->advertised_count, config->controller_listener);
    if (told) {
        config->controller_host = told->host;
        config->controller_port = told->port;
    } else if (bound) {
        config->controller_host = told_host(loader, bound->host);
        config->controller_port = bound->port;
    }
    return config->controller_listener.data ? ERR_OK : ERR_NOMEM;
}

#define VOTER_FORM "id@host:port"

static enum err parse_voter(struct config_loader *loader, struct str text,
                            struct quorum_voter_config *voter)
{
    const char *at = text.len ? memchr(text.data, '@', text.len) : NULL;
    size_t id_len = at ? (size_t)(at - text.data) : 0;
    struct str address = {text.data + id_len + 1, at ? text.len - id_len - 1 : 0};
    if (!at || parse_i32((struct str){text.data, id_len}, &voter->id) ||
        !parse_address(&loader->config->arena, address, &voter->host, &voter->port))
        return config_refuse(loader, "controller.quorum.voters", VOTER_FORM, "%.*s is not a voter",
                             STR_ARG(text));
    return ERR_OK;
}

static enum err read_voters(struct config_loader *loader)
{
    struct broker_config *config = loader->config;
    config->voters = arena_array(&config->arena, 1, sizeof(*config->voters));
    if (!config->voters)
        return ERR_NOMEM;
    struct str rest = config_text(loader, "controller.quorum.voters");
    struct str element;
    while (rest.len > 0 && config_list_next(&rest, &element)) {
        struct quorum_voter_config voter;
        TRY(parse_voter(loader, element, &voter));
        if (config->voter_count > 0 || voter.id != config->node_id)
            return config_refuse(
                loader, "controller.quorum.voters", "this node alone, as " VOTER_FORM,
                "another voter is configured (%.*s): clusters are not built yet", STR_ARG(element));
        config->voters[config->voter_count++] = voter;
    }
    rest = config_text(loader, "controller.quorum.bootstrap.servers");
    size_t servers = 0;
    while (rest.len > 0 && config_list_next(&rest, &element)) {
        struct str host;
        uint16_t port;
        if (!parse_address(&config->arena, element, &host, &port) || host.len == 0)
            return config_refuse(loader, "controller.quorum.bootstrap.servers", "host:port",
                                 "%.*s is not an address", STR_ARG(element));
        if (++servers > 1)
            return config_refuse(loader, "controller.quorum.bootstrap.servers",
                                 "this node's controller alone",
                                 "several controllers are configured: clusters are not built yet");
    }
    return ERR_OK;
}

enum err config_read_listeners(struct config_loader *loader)
{
    TRY(read_bound(loader));
    TRY(read_advertised(loader));
    TRY(read_inter_broker(loader));
    TRY(read_controller_address(loader));
    TRY(read_voters(loader));
    return warn_about_advertised(loader);
}

/* --- metrics.listeners --- */

enum err config_read_metrics_listeners(struct config_loader *loader)
{
    static const char key[] = "metrics.listeners";
    struct broker_config *config = loader->config;
    struct listener_config *list;
    size_t count;
    struct str text = config_text(loader, key);
    if (text.len == 0)
        return ERR_OK;
    TRY(parse_listeners(loader, key, METRICS_FORM, &list, &count));
    for (size_t i = 0; i < count; i++) {
        if (!str_eq(list[i].name, STR("HTTP")))
            return config_refuse(loader, key, METRICS_FORM, "%.*s is not served, only http",
                                 STR_ARG(list[i].name));
    }
    config->metrics_listeners = list;
    config->metrics_listener_count = count;
    return ERR_OK;
}
