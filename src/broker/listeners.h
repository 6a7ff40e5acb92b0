/* Listeners and the quorum in server.properties: what spans several keys. Shared by config.c and
 * listeners.c only. */
#ifndef BROKER_LISTENERS_H
#define BROKER_LISTENERS_H

#include "broker/config.h"

struct config_setting {
    struct str key;
    struct str value;
    size_t line; /* 0: an override, or implied */
};

struct config_loader {
    struct broker_config *config;
    struct config_setting *settings; /* in the order of their keys */
    size_t count;
    size_t cap;
    struct str hostname;
    struct config_problem *problem;
};

/* NULL if it is not set. */
const struct config_setting *config_setting_find(const struct config_loader *loader,
                                                 const char *key);
/* What is set, else the default; null if neither is. */
struct str config_text(const struct config_loader *loader, const char *key);
/* Fills the problem, with the line where the key (NULL: none) was set; ERR_INVALID_CONFIG. */
enum err config_refuse(struct config_loader *loader, const char *key, const char *allowed,
                       const char *fmt, ...) __attribute__((format(printf, 4, 5)));
/* Everything about listeners, what is advertised, the controller's address and its voters. */
enum err config_read_listeners(struct config_loader *loader) MUST_USE;
enum err config_read_metrics_listeners(struct config_loader *loader) MUST_USE;

#endif
