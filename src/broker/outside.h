/* A call to the world outside: a program with its arguments, or an HTTP POST. Beside the loop, so
 * that neither a program that hangs nor a name server that is slow holds up a shard. */
#ifndef BROKER_OUTSIDE_H
#define BROKER_OUTSIDE_H

#include "base/buf.h"
#include "broker/alert_rule.h"
#include "io/io.h"

struct outside;
typedef void outside_done(struct outside *outside);

/* Embedded by the caller and lent, with all that it points to, until done. */
struct outside {
    /* In: one of the two. */
    char *const *argv;
    char *const *envp; /* what the program gets besides PATH */
    const struct alert_url *url;
    struct slice body; /* JSON */
    outside_done *done;
    /* Out. */
    bool is_ok;
    char what[256]; /* how it failed, for people */
    /* Its own. */
    struct io_job job;
    int state;
    int pid;
    int fd;
    uint64_t deadline_ns;
    size_t sent, received;
    char head[64]; /* of the answer */
    struct buf request;
};

/* `done` comes from the loop. */
void outside_start(struct io *io, struct outside *outside);
/* Ends soon: a program is killed, a connection is closed. */
void outside_cancel(struct io *io, struct outside *outside);

#endif
