/* The broker as a process: arguments, configuration, threads, signals.
 *
 * Shard 0 runs on the main thread, each other shard on a thread of its own. SIGTERM and SIGINT ask
 * for a clean stop; a second one ends the process at once, as a crash would. */
#include "cli/serve.h"

#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/diag.h"
#include "broker/config.h"
#include "broker/node.h"

struct process {
    struct node node;
    struct broker_config config;
    struct io *ios[SHARD_COUNT_MAX];
    pthread_t threads[SHARD_COUNT_MAX];
    uint32_t shard_count;
    uint32_t thread_count;
    _Atomic bool must_end; /* the loops return */
    enum err stop_err;
    uint64_t start_ns;
};

static struct process *running;
static volatile sig_atomic_t signals_seen;

static void on_signal(int number)
{
    if (++signals_seen > 1) {
        signal(number, SIG_DFL);
        raise(number);
        return;
    }
    io_wake(running->ios[0]);
}

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000ull + (uint64_t)now.tv_nsec;
}

/* --- arguments --- */

struct serve_options {
    const char *file;
    const char **overrides; /* owned; KEY=VALUE */
    size_t override_count;
    char shards[32]; /* --shards as an override */
};

/* args_parse checked the forms. */
static bool read_options(const struct args *args, struct serve_options *options)
{
    while (args_nth(args, "override", options->override_count) != NULL)
        options->override_count++;
    options->overrides = calloc(options->override_count + 1, sizeof(*options->overrides));
    if (options->overrides == NULL)
        return false;
    for (size_t i = 0; i < options->override_count; i++)
        options->overrides[i] = args_nth(args, "override", i);
    if (args_has(args, "shards")) {
        snprintf(options->shards, sizeof(options->shards), "shards=%lld",
                 (long long)args_number(args, "shards"));
        options->overrides[options->override_count++] = options->shards;
    }
    options->file = args->operand_count > 0 ? args->operands[0] : NULL;
    return true;
}

/* --- running --- */

static void *run_shard(void *arg)
{
    struct shard *shard = arg;
    while (!atomic_load_explicit(&running->must_end, memory_order_acquire))
        io_run_once(shard->io, UINT64_MAX);
    return NULL;
}

/* The commands are to be copied into a shell as they stand, from where this was started. */
static void say_first_message(const struct broker_config *config)
{
    const char *program = program_invocation_name;
    struct str host = config->advertised[0].host;
    uint32_t port = config->advertised[0].port;
    char where[300] = "";
    if (!str_eq_cstr(host, "localhost") || port != 9092)
        snprintf(where, sizeof(where), " -b %.*s:%u", STR_ARG(host), port);
    diag_info("serve", "first message: echo hello | %s produce greetings%s; %s consume greetings%s",
              program, where, program, where);
}

static void on_serving(struct node *node)
{
    struct process *process = node->arg;
    const struct broker_config *config = node->config;
    double ms = (double)(now_ns() - process->start_ns) / 1e6;
    for (size_t i = 0; i < config->advertised_count; i++)
        diag_info("serve", "%.*s: clients connect to %.*s:%u", STR_ARG(config->advertised[i].name),
                  STR_ARG(config->advertised[i].host), config->advertised[i].port);
    diag_info("serve", "serving after %.1f ms: node %d, cluster %.*s, %u shard%s, %s", ms,
              config->node_id, STR_ARG(node->storage.cluster_id), node->shard_count,
              node->shard_count == 1 ? "" : "s", io_describe(process->ios[0]));
    if (config->advertised_count > 0)
        say_first_message(config);
}

static void on_stopped(struct node *node, enum err err)
{
    struct process *process = node->arg;
    process->stop_err = err;
    atomic_store_explicit(&process->must_end, true, memory_order_release);
    for (uint32_t i = 0; i < process->shard_count; i++)
        io_wake(process->ios[i]);
}

/* Large blocks are mappings of their own, always, and go back to the system when they are freed.
 * Left alone glibc takes the first one that is freed as a sign to put all of its size on the heaps,
 * whose holes stay resident: after a crowd of large requests, several times what is kept. */
static void bound_heaps(void)
{
#ifdef M_MMAP_THRESHOLD
    mallopt(M_MMAP_THRESHOLD, 1 << 20);
#endif
}

static void raise_file_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
            diag_warn("serve", "the limit on open files stays at %llu",
                      (unsigned long long)limit.rlim_cur);
    }
}

static void handle_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal};
    sigemptyset(&action.sa_mask);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
}

static enum err start_threads(struct process *process)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are the main thread's */
    for (uint32_t i = 1; i < process->shard_count; i++) {
        if (pthread_create(&process->threads[i], NULL, run_shard, &process->node.shards[i]) != 0)
            break;
        process->thread_count++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return process->thread_count + 1 == process->shard_count ? ERR_OK : ERR_LIMIT;
}

static int run(struct process *process)
{
    enum err err = start_threads(process);
    if (err != ERR_OK) {
        diag_error("serve", "the system gives no thread for each shard: try --shards 1");
        _exit(1);
    }
    node_start(&process->node);
    while (!atomic_load_explicit(&process->must_end, memory_order_acquire)) {
        if (signals_seen)
            node_stop(&process->node);
        io_run_once(process->ios[0], UINT64_MAX);
    }
    for (uint32_t i = 1; i <= process->thread_count; i++)
        pthread_join(process->threads[i], NULL);
    node_destroy(&process->node);
    if (process->stop_err != ERR_OK)
        diag_error("serve", "stopped: %s", err_text(process->stop_err));
    else
        diag_info("serve", "stopped");
    return process->stop_err == ERR_OK ? 0 : 1;
}

static bool load_config(struct process *process, const struct serve_options *options, struct io *io)
{
    struct config_problem problem = {0};
    char hostname[256] = "localhost";
    gethostname(hostname, sizeof(hostname) - 1);
    enum err err = broker_config_load(&process->config, io, options->file, options->overrides,
                                      options->override_count, str_of(hostname), &problem);
    if (err != ERR_OK) {
        struct buf text;
        buf_init(&text, BUF_NO_LIMIT);
        config_problem_print(&problem, &text);
        fprintf(stderr, "taffrail serve: %.*s\n", (int)text.len, (const char *)text.data);
        buf_deinit(&text);
        return false;
    }
    if (!str_is_null(process->config.warning_keys))
        diag_warn("config", "%.*s", STR_ARG(process->config.warning_keys));
    if (!str_is_null(process->config.warning_advertised))
        diag_warn("config", "%.*s", STR_ARG(process->config.warning_advertised));
    return true;
}

static bool create_ios(struct process *process)
{
    uint32_t shards = process->config.shards;
    if (shards == 0)
        shards = (uint32_t)get_nprocs();
    process->shard_count = shards > SHARD_COUNT_MAX ? SHARD_COUNT_MAX : shards;
    for (uint32_t i = 0; i < process->shard_count; i++) {
        enum err err = io_real_create(process->config.disk, &process->ios[i]);
        if (err != ERR_OK) {
            fprintf(stderr, "taffrail serve: no event loop for shard %u: %s\n", i, err_text(err));
            return false;
        }
    }
    return true;
}

int serve_run(const struct args *args)
{
    static struct process process;
    struct serve_options options = {0};
    if (!read_options(args, &options)) {
        fprintf(stderr, "taffrail serve: out of memory\n");
        return 1;
    }
    running = &process;
    process.start_ns = now_ns();
    bound_heaps();
    raise_file_limit();
    struct io *io;
    enum err err = io_real_create(IO_DISK_THREADS, &io);
    if (err != ERR_OK) {
        fprintf(stderr, "taffrail serve: no event loop: %s\n", err_text(err));
        return 1;
    }
    bool is_loaded = load_config(&process, &options, io);
    io_destroy(io);
    free(options.overrides);
    if (!is_loaded)
        return 1;
    if (!create_ios(&process))
        return 1;
    struct arena arena;
    struct meta_error why = {ERR_OK, STR_NULL};
    arena_init(&arena, ARENA_NO_LIMIT);
    process.node.arg = &process;
    process.node.on_serving = on_serving;
    process.node.on_stopped = on_stopped;
    handle_signals();
    err =
        node_create(&process.node, &process.config, process.ios, process.shard_count, &arena, &why);
    if (err != ERR_OK) {
        fprintf(stderr, "taffrail serve: %.*s\n",
                STR_ARG(str_is_null(why.text) ? str_of(err_text(err)) : why.text));
        return 1;
    }
    arena_deinit(&arena);
    int status = run(&process);
    for (uint32_t i = 0; i < process.shard_count; i++)
        io_destroy(process.ios[i]);
    broker_config_deinit(&process.config);
    return status;
}
