/* HTTP for operators, with libmicrohttpd.
 *
 * A request for /metrics waits for the page: the gather goes around the shards (metrics.c), then
 * the text is written part by part, one in a turn. Who asks meanwhile, or within a second, gets the
 * same page: one buffer, however many read it and however slowly. /healthz sends a message around
 * all shards and says which of them does not answer in time; /readyz looks at shard 0's state.
 *
 * Bounds: connections, bytes of a request's head, seconds of silence, bytes of the page. Bodies are
 * not read. Runs on: shard 0; the health message on each shard. */
#include "broker/http.h"

#include <dirent.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/diag.h"
#include "broker/exposition.h"
#include "broker/metrics_page.h"
#include "broker/mhd.h"
#include "broker/node.h"

#define MS                  UINT64_C(1000000)
#define BACKLOG             64
#define CONNECTIONS_MAX     64u
#define HEAD_BYTES_MAX      ((size_t)16 << 10)
#define SILENCE_SECONDS_MAX 10u
#define PAGE_BYTES_MAX      ((size_t)256 << 20)
#define PAGE_FRESH_MS       1000
#define HEALTH_TIMEOUT_MS   2000

static const char index_page[] = "Taffrail " TAFFRAIL_VERSION "\n\n"
                                 "/metrics  all metrics, in Prometheus' text format\n"
                                 "/healthz  200 while every shard answers\n"
                                 "/readyz   200 while the broker serves; else why it does not\n";

enum http_path { PATH_INDEX, PATH_METRICS, PATH_HEALTH, PATH_READY, PATH_NONE };

/* One listening address. */
struct door {
    struct http *http;
    struct MHD_Daemon *daemon;
    struct io_sock sock; /* the daemon's epoll set */
    struct io_timer timer;
};

/* A request on its way. */
struct visit {
    struct list link; /* of those that wait for the same thing */
    struct MHD_Connection *connection;
    enum http_path path;
    bool is_suspended;
};

struct http {
    struct node *node;
    struct shard *shard;
    struct door *doors;
    size_t door_count;
    bool is_draining;
    double start_seconds;

    struct list page_visits;
    struct metrics_gather gather;
    struct metrics_text text;
    struct buf buf;
    struct shard_msg text_msg;
    bool is_gathering;
    struct MHD_Response *page; /* the last one; NULL: none */
    uint64_t page_ms;
    size_t page_len;

    struct list health_visits;
    struct shard_msg health_msg;
    _Atomic uint32_t health_at; /* the shard that the message was sent to last */
    bool is_health_out;
    struct io_timer health_timer;
};

/* --- answers --- */

static enum MHD_Result answer(struct MHD_Connection *connection, unsigned status, const char *type,
                              const void *data, size_t len)
{
    struct MHD_Response *response =
        mhd.create_response_from_buffer(len, (void *)(uintptr_t)data, MHD_RESPMEM_MUST_COPY);
    if (!response)
        return MHD_NO;
    enum MHD_Result result = mhd.add_response_header(response, "Content-Type", type);
    if (result == MHD_YES && status == MHD_HTTP_METHOD_NOT_ALLOWED)
        result = mhd.add_response_header(response, "Allow", "GET, HEAD");
    if (result == MHD_YES)
        result = mhd.queue_response(connection, status, response);
    mhd.destroy_response(response);
    return result;
}

static enum MHD_Result answer_text(struct MHD_Connection *connection, unsigned status,
                                   const char *text)
{
    return answer(connection, status, "text/plain; charset=utf-8", text, strlen(text));
}

static int put_json(const char *data, size_t len, void *arg)
{
    buf_put(arg, data, len);
    return 0;
}

/* {"status": "...", "reasons": [...]}; takes the reasons. */
static enum MHD_Result answer_state(struct MHD_Connection *connection, const char *good,
                                    const char *bad, json_t *reasons)
{
    bool is_good = json_array_size(reasons) == 0;
    json_t *json = json_pack("{s:s, s:o}", "status", is_good ? good : bad, "reasons", reasons);
    struct buf text;
    buf_init(&text, BUF_NO_LIMIT);
    enum MHD_Result result = MHD_NO;
    if (json && json_dump_callback(json, put_json, &text, JSON_COMPACT) == 0) {
        buf_put_u8(&text, '\n');
        result = answer(connection, is_good ? MHD_HTTP_OK : MHD_HTTP_SERVICE_UNAVAILABLE,
                        "application/json", text.data, text.len);
    }
    buf_deinit(&text);
    json_decref(json);
    return result;
}

static void add_reason(json_t *reasons, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void add_reason(json_t *reasons, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    json_t *text = json_vsprintf(fmt, args);
    va_end(args);
    /* A path that is no UTF-8 gives no text. */
    if (json_array_append_new(reasons, text ? text : json_string("a reason that is no text")))
        diag_warn("http", "out of memory");
}

static enum MHD_Result answer_ready(const struct http *http, struct MHD_Connection *connection)
{
    struct node *node = http->node;
    json_t *reasons = json_array();
    if (node->state == NODE_STARTING)
        add_reason(reasons, "the broker is starting: it does not listen for clients yet");
    else if (node->state != NODE_SERVING)
        add_reason(reasons, "the broker is stopping");
    if (node->metadata.is_failed)
        add_reason(reasons, "the metadata log failed");
    for (size_t i = 0; i < node->hosting.dir_count; i++) {
        struct hosting_dir *dir = &node->hosting.dirs[i];
        if (atomic_load(&dir->is_offline))
            add_reason(reasons, "the log folder %.*s is offline", STR_ARG(dir->logdir.path));
    }
    return answer_state(connection, "ready", "not ready", reasons);
}

/* --- waiting --- */

static enum MHD_Result suspend(struct visit *visit, struct list *waiting)
{
    list_push_back(waiting, &visit->link);
    visit->is_suspended = true;
    mhd.suspend_connection(visit->connection);
    return MHD_YES;
}

static void door_run(struct door *door);

/* Their handler is called again, and finds what they waited for. */
static void resume_all(struct http *http, struct list *waiting)
{
    struct list *node;
    bool is_any = false;
    while ((node = list_pop_front(waiting)) != NULL) {
        struct visit *visit = LIST_ENTRY(node, struct visit, link);
        is_any = true;
        mhd.resume_connection(visit->connection);
    }
    for (size_t i = 0; is_any && i < http->door_count; i++)
        door_run(&http->doors[i]);
}

/* --- health --- */

static void on_health(struct shard *shard, struct shard_msg *msg)
{
    struct http *http = CONTAINER_OF(msg, struct http, health_msg);
    struct node *node = http->node;
    uint32_t next = shard->index + 1;
    if (atomic_load(&http->health_at) == node->shard_count) { /* it is back */
        http->is_health_out = false;
        io_timer_stop(shard->io, &http->health_timer);
        resume_all(http, &http->health_visits);
        return;
    }
    atomic_store(&http->health_at, next);
    shard_post(shard, &node->shards[next % node->shard_count], msg);
}

static void on_health_timeout(struct io_timer *timer)
{
    struct http *http = CONTAINER_OF(timer, struct http, health_timer);
    resume_all(http, &http->health_visits);
}

static enum MHD_Result begin_health(struct http *http, struct visit *visit)
{
    struct shard *shard = http->shard;
    if (!http->is_health_out && !http->is_draining) {
        http->is_health_out = true;
        atomic_store(&http->health_at, 0);
        http->health_msg.fn = on_health;
        shard_post(shard, shard, &http->health_msg);
    }
    if (http->is_draining)
        return answer_state(visit->connection, "healthy", "unhealthy", json_array());
    if (!http->health_timer.armed)
        io_timer_start(shard->io, &http->health_timer,
                       io_now_ns(shard->io) + HEALTH_TIMEOUT_MS * MS);
    return suspend(visit, &http->health_visits);
}

static enum MHD_Result end_health(struct http *http, struct MHD_Connection *connection)
{
    json_t *reasons = json_array();
    if (http->is_health_out)
        add_reason(reasons, "shard %u has not answered for %d ms", atomic_load(&http->health_at),
                   HEALTH_TIMEOUT_MS);
    return answer_state(connection, "healthy", "unhealthy", reasons);
}

/* --- the process --- */

static uint64_t count_fds(void)
{
    struct stat stat_buf;
    if (stat("/proc/self/fd", &stat_buf) == 0 && stat_buf.st_size > 0)
        return (uint64_t)stat_buf.st_size; /* Linux 6.2 and later */
    DIR *dir = opendir("/proc/self/fd");
    uint64_t count = 0;
    while (dir && readdir(dir))
        count++;
    if (dir)
        closedir(dir);
    return count > 3 ? count - 3 : 0; /* ".", "..", and the folder's own */
}

static void read_process(struct metrics_process *process, double start_seconds)
{
    struct rusage usage;
    struct rlimit limit;
    *process = (struct metrics_process){.start_seconds = start_seconds, .open_fds = count_fds()};
    if (getrusage(RUSAGE_SELF, &usage) == 0)
        process->cpu_seconds = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                               (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
        process->max_fds = limit.rlim_cur;
    FILE *file = fopen("/proc/self/statm", "re");
    unsigned long long total, resident;
    if (file && fscanf(file, "%llu %llu", &total, &resident) == 2) {
        uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
        process->virtual_bytes = total * page;
        process->resident_bytes = resident * page;
    }
    if (file)
        fclose(file);
}

/* --- the page --- */

static void drop_page(struct http *http)
{
    if (http->page)
        mhd.destroy_response(http->page); /* who reads it still has it */
    http->page = NULL;
}

/* The buffer becomes the answer. */
static void finish_page(struct http *http)
{
    struct buf *buf = &http->buf;
    enum err err = http->gather.err != ERR_OK ? http->gather.err : buf->err;
    drop_page(http);
    if (err == ERR_OK) {
        http->page_len = buf->len;
        http->page = mhd.create_response_from_buffer(buf->len, buf->data, MHD_RESPMEM_MUST_FREE);
        if (http->page)
            *buf = (struct buf){.limit = buf->limit};
    }
    if (http->page &&
        mhd.add_response_header(http->page, "Content-Type", EXPOSITION_CONTENT_TYPE) != MHD_YES)
        drop_page(http);
    if (!http->page)
        shard_warn(http->shard, RATE_REFUSED, "http", "no metrics page: %s",
                   err_text(err == ERR_OK ? ERR_NOMEM : err));
    http->page_ms = io_now_ms(http->shard->io);
    buf_trim(buf, 0);
    metrics_gather_deinit(&http->gather);
    http->is_gathering = false;
    resume_all(http, &http->page_visits);
}

static void write_part(struct shard *shard, struct shard_msg *msg)
{
    struct http *http = CONTAINER_OF(msg, struct http, text_msg);
    if (metrics_text_step(&http->text))
        shard_post(shard, shard, msg);
    else
        finish_page(http);
}

static void on_gathered(struct metrics_gather *gather)
{
    struct http *http = gather->arg;
    if (gather->err != ERR_OK) {
        finish_page(http);
        return;
    }
    /* About as long as the last one: growing it on the way would copy it many times. */
    if (!buf_reserve(&http->buf, http->page_len + http->page_len / 8))
        buf_reset(&http->buf);
    http->text = (struct metrics_text){.gather = gather, .buf = &http->buf};
    read_process(&http->text.process, http->start_seconds);
    http->text_msg.fn = write_part;
    shard_post(http->shard, http->shard, &http->text_msg);
}

static enum MHD_Result answer_page(const struct http *http, struct MHD_Connection *connection)
{
    if (!http->page)
        return answer_text(connection, MHD_HTTP_SERVICE_UNAVAILABLE,
                           "There are no metrics now: the broker is starting, stopping or out of "
                           "memory; its log says which.\n");
    return mhd.queue_response(connection, MHD_HTTP_OK, http->page);
}

static enum MHD_Result begin_page(struct http *http, struct visit *visit)
{
    bool is_fresh = http->page && io_now_ms(http->shard->io) < http->page_ms + PAGE_FRESH_MS;
    if (is_fresh || (http->is_draining && !http->is_gathering))
        return answer_page(http, visit->connection);
    if (!http->is_gathering) {
        http->is_gathering = true;
        http->gather.arg = http;
        metrics_gather_start(&http->gather, http->node,
                             (size_t)http->node->config->metrics_partitions_max, on_gathered);
    }
    return suspend(visit, &http->page_visits);
}

/* --- requests --- */

static enum http_path path_of(const char *url)
{
    static const char *const paths[] = {"/", "/metrics", "/healthz", "/readyz"};
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        if (strcmp(url, paths[i]) == 0)
            return (enum http_path)i;
    }
    return PATH_NONE;
}

static enum MHD_Result begin_visit(struct http *http, struct visit *visit)
{
    switch (visit->path) {
    case PATH_INDEX:
        return answer_text(visit->connection, MHD_HTTP_OK, index_page);
    case PATH_METRICS:
        return begin_page(http, visit);
    case PATH_HEALTH:
        return begin_health(http, visit);
    case PATH_READY:
        return answer_ready(http, visit->connection);
    case PATH_NONE:
        break;
    }
    return answer_text(visit->connection, MHD_HTTP_NOT_FOUND, index_page);
}

/* Called with a request's head; then once more where that call queued no answer; then again when
 * its connection is resumed. */
static enum MHD_Result on_request(void *arg, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *body,
                                  size_t *body_len, void **own)
{
    struct http *http = arg;
    struct visit *visit = *own;
    (void)version, (void)body, (void)body_len;
    if (!visit) {
        if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0)
            return answer_text(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "Only GET and HEAD.\n");
        visit = calloc(1, sizeof(*visit));
        if (!visit)
            return MHD_NO;
        list_init(&visit->link);
        visit->connection = connection;
        visit->path = path_of(url);
        *own = visit;
        return MHD_YES;
    }
    if (*body_len > 0) {
        *body_len = 0; /* a GET with a body: nobody reads it */
        return MHD_YES;
    }
    if (!visit->is_suspended)
        return begin_visit(http, visit);
    visit->is_suspended = false;
    return visit->path == PATH_METRICS ? answer_page(http, connection)
                                       : end_health(http, connection);
}

static void on_request_end(void *arg, struct MHD_Connection *connection, void **own,
                           enum MHD_RequestTerminationCode code)
{
    struct visit *visit = *own;
    (void)arg, (void)connection, (void)code;
    if (visit)
        list_remove(&visit->link);
    free(visit);
    *own = NULL;
}

static void on_log_line(void *arg, const char *fmt, va_list args)
{
    struct http *http = arg;
    char line[256];
    int len = vsnprintf(line, sizeof(line), fmt, args);
    while (len > 0 && (size_t)len < sizeof(line) && line[len - 1] == '\n')
        line[--len] = '\0';
    shard_warn(http->shard, RATE_BAD_REQUEST, "http", "%s", line);
}

/* --- the loop --- */

static void door_run(struct door *door)
{
    struct io *io = door->http->shard->io;
    MHD_UNSIGNED_LONG_LONG wait_ms;
    if (mhd.run(door->daemon) != MHD_YES)
        shard_warn(door->http->shard, RATE_REFUSED, "http", "the HTTP library failed");
    if (mhd.get_timeout(door->daemon, &wait_ms) == MHD_YES)
        io_timer_start(io, &door->timer, io_now_ns(io) + wait_ms * MS);
    else
        io_timer_stop(io, &door->timer);
}

static void on_door_ready(struct io_sock *sock, unsigned ready)
{
    (void)ready;
    door_run(CONTAINER_OF(sock, struct door, sock));
}

static void on_door_timer(struct io_timer *timer)
{
    door_run(CONTAINER_OF(timer, struct door, timer));
}

/* --- life --- */

static void on_never(struct io_sock *sock, unsigned ready)
{
    (void)sock, (void)ready;
}

/* A listening socket, made by the io so that hosts and errors are as elsewhere, for the library. */
static enum err listen_at(struct http *http, const struct listener_config *config, int *fd,
                          struct io_addr *bound)
{
    struct io *io = http->shard->io;
    struct io_sock sock;
    char host[256];
    if (config->host.len >= sizeof(host))
        return ERR_LIMIT;
    snprintf(host, sizeof(host), "%.*s", STR_ARG(config->host));
    TRY(io_listen(io, &sock, host, config->port, BACKLOG, false, on_never, bound));
    *fd = io_sock_release(io, &sock);
    return ERR_OK;
}

static enum err door_open(struct door *door, const struct listener_config *config)
{
    struct http *http = door->http;
    struct io_addr bound;
    int fd;
    enum err err = listen_at(http, config, &fd, &bound);
    if (err != ERR_OK) {
        diag_error("http", "metrics.listeners: cannot listen on %.*s:%u: %s", STR_ARG(config->host),
                   config->port, err == ERR_BUSY ? "another program listens there" : err_text(err));
        return err;
    }
    door->daemon = mhd.start_daemon(
        MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG, 0, NULL, NULL, on_request,
        http, MHD_OPTION_EXTERNAL_LOGGER, on_log_line, http, MHD_OPTION_LISTEN_SOCKET, fd,
        MHD_OPTION_CONNECTION_LIMIT, CONNECTIONS_MAX, MHD_OPTION_CONNECTION_TIMEOUT,
        SILENCE_SECONDS_MAX, MHD_OPTION_CONNECTION_MEMORY_LIMIT, HEAD_BYTES_MAX,
        MHD_OPTION_NOTIFY_COMPLETED, on_request_end, http, MHD_OPTION_END);
    if (!door->daemon) {
        close(fd);
        diag_error("http", "metrics.listeners: the HTTP library does not start");
        return ERR_INTERNAL;
    }
    const union MHD_DaemonInfo *info = mhd.get_daemon_info(door->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    ASSERT(info && info->epoll_fd >= 0);
    io_timer_init(&door->timer, on_door_timer);
    io_sock_adopt(http->shard->io, &door->sock, info->epoll_fd, on_door_ready);
    io_sock_watch(http->shard->io, &door->sock, IO_READABLE);
    diag_info("http", "metrics: http://%s%s%s:%u/metrics", strchr(bound.host, ':') ? "[" : "",
              bound.host, strchr(bound.host, ':') ? "]" : "", bound.port);
    return ERR_OK;
}

enum err http_open(struct http **out, struct node *node)
{
    const struct broker_config *config = node->config;
    *out = NULL;
    if (config->metrics_listener_count == 0)
        return ERR_OK;
    if (!mhd_load())
        return ERR_UNSUPPORTED;
    struct http *http = calloc(1, sizeof(*http));
    if (!http)
        return ERR_NOMEM;
    http->node = node;
    http->shard = &node->shards[0];
    http->start_seconds = (double)io_wall_ms(http->shard->io) / 1e3;
    list_init(&http->page_visits);
    list_init(&http->health_visits);
    io_timer_init(&http->health_timer, on_health_timeout);
    buf_init(&http->buf, PAGE_BYTES_MAX);
    http->doors = calloc(config->metrics_listener_count, sizeof(*http->doors));
    enum err err = http->doors ? ERR_OK : ERR_NOMEM;
    for (size_t i = 0; err == ERR_OK && i < config->metrics_listener_count; i++) {
        http->doors[i].http = http;
        err = door_open(&http->doors[i], &config->metrics_listeners[i]);
        http->door_count += err == ERR_OK;
    }
    if (err != ERR_OK) {
        http_close(http);
        return err;
    }
    *out = http;
    return ERR_OK;
}

void http_drain(struct http *http)
{
    if (http)
        http->is_draining = true;
}

bool http_is_idle(const struct http *http)
{
    return !http || (!http->is_gathering && !http->is_health_out);
}

void http_close(struct http *http)
{
    if (!http)
        return;
    ASSERT(http_is_idle(http));
    struct io *io = http->shard->io;
    resume_all(http, &http->page_visits);
    resume_all(http, &http->health_visits);
    io_timer_stop(io, &http->health_timer);
    for (size_t i = 0; i < http->door_count; i++) {
        struct door *door = &http->doors[i];
        int fd = io_sock_release(io, &door->sock); /* the library closes it */
        (void)fd;
        io_timer_stop(io, &door->timer);
        mhd.stop_daemon(door->daemon);
    }
    drop_page(http);
    buf_deinit(&http->buf);
    free(http->doors);
    free(http);
}
