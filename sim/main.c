/* taffrail-sim: runs seeds of the simulated world.
 *
 *   taffrail-sim [--seeds N] [--start S] [--file PATH] [--jobs J] [--keep-going]
 *   taffrail-sim --seed X [--verbose]
 *
 * Every seed runs twice, each time in a process of its own, so that a crashed broker's abandoned
 * memory and a failed assertion stay there; the two traces must be equal. Exit codes: 127 a crash
 * of our code, 128 no progress after the faults ended, 129 something untrue was observed (or the
 * two runs of a seed differ), 2 wrong usage. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/diag.h"
#include "sim/model.h"
#include "sim/run.h"

#define JOBS_MAX      16
#define RUN_SECONDS   300
#define SEEDS_DEFAULT 500

/* A crashed broker's memory is abandoned by design. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "detect_leaks=0";
}

struct options {
    uint64_t *seeds;
    size_t count;
    unsigned jobs;
    bool verbose, once, keep_going;
};

/* One seed under way: its first run, or its second. */
struct job {
    pid_t pid;
    int pipe;
    uint64_t seed;
    unsigned turn;
    struct run_result first;
};

struct totals {
    uint64_t seeds, events, crashes, virtual_s, acked_batches, read_records, acked_commits, failed;
    int exit_code;
};

static _Noreturn void usage(void)
{
    fprintf(stderr, "usage: taffrail-sim [--seeds N] [--start S] [--file PATH] [--jobs J] "
                    "[--keep-going]\n"
                    "       taffrail-sim --seed X [--verbose]\n");
    exit(2);
}

/* --- options --- */

static uint64_t parse_number(const char *text)
{
    char *end;
    errno = 0;
    unsigned long long v = text ? strtoull(text, &end, 10) : 0;
    if (!text || *text < '0' || *text > '9' || *end || errno)
        usage();
    return v;
}

static void add_seed(struct options *options, uint64_t seed)
{
    options->seeds = realloc(options->seeds, (options->count + 1) * sizeof(uint64_t));
    ASSERT(options->seeds);
    options->seeds[options->count++] = seed;
}

/* A seed a line; what follows it, and lines that begin with #, is for people. */
static void add_file(struct options *options, const char *path)
{
    FILE *file = path ? fopen(path, "r") : NULL;
    if (!file) {
        fprintf(stderr, "taffrail-sim: cannot read %s\n", path ? path : "a file without a name");
        exit(2);
    }
    char line[512];
    while (fgets(line, sizeof(line), file)) {
        if (line[0] >= '0' && line[0] <= '9')
            add_seed(options, strtoull(line, NULL, 10));
    }
    fclose(file);
}

static struct options parse_options(int argc, char **argv)
{
    struct options options = {.jobs = 1};
    uint64_t count = 0, start = 1;
    bool has_file = false;
    for (int i = 1; i < argc; i++) {
        const char *name = argv[i], *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (strcmp(name, "--verbose") == 0) {
            options.verbose = true;
            continue;
        }
        if (strcmp(name, "--keep-going") == 0) {
            options.keep_going = true;
            continue;
        }
        i++;
        if (strcmp(name, "--seeds") == 0) {
            count = parse_number(value);
        } else if (strcmp(name, "--start") == 0) {
            start = parse_number(value);
        } else if (strcmp(name, "--jobs") == 0) {
            options.jobs = (unsigned)parse_number(value);
        } else if (strcmp(name, "--file") == 0) {
            add_file(&options, value);
            has_file = true;
        } else if (strcmp(name, "--seed") == 0) {
            add_seed(&options, parse_number(value));
            options.once = true;
        } else {
            usage();
        }
    }
    if (options.jobs < 1 || options.jobs > JOBS_MAX || (options.verbose && !options.once))
        usage();
    if (!has_file && !options.once && count == 0)
        count = SEEDS_DEFAULT;
    for (uint64_t i = 0; i < count; i++)
        add_seed(&options, start + i);
    return options;
}

/* --- one run in a process of its own --- */

static _Noreturn void child(uint64_t seed, unsigned turn, bool verbose, int out)
{
    alarm(RUN_SECONDS);
    diag_set_level(verbose ? DIAG_DEBUG : DIAG_ERROR + 1);
    /* Addresses differ in the second run: nothing may depend on them. */
    void *volatile shift = malloc(turn * 1000 + 1);
    (void)shift;
    struct run_result result;
    run_seed(seed, verbose, &result);
    ssize_t put = write(out, &result, sizeof(result));
    _exit(put == (ssize_t)sizeof(result) ? 0 : MODEL_EXIT_CRASH);
}

static void job_start(struct job *job, bool verbose)
{
    int ends[2];
    fflush(NULL);
    if (pipe(ends) != 0 || (job->pid = fork()) < 0) {
        perror("taffrail-sim");
        exit(2);
    }
    if (job->pid == 0)
        child(job->seed, job->turn, verbose, ends[1]);
    close(ends[1]);
    job->pipe = ends[0];
}

static const char *code_text(int code)
{
    switch (code) {
    case MODEL_EXIT_CRASH:
        return "crash";
    case MODEL_EXIT_LIVENESS:
        return "no progress";
    default:
        return "wrong";
    }
}

/* 0 where the run ended well. */
static int job_end(struct job *job, int status, struct run_result *result)
{
    ssize_t got = read(job->pipe, result, sizeof(*result));
    close(job->pipe);
    if (WIFSIGNALED(status))
        return WTERMSIG(status) == SIGALRM ? MODEL_EXIT_LIVENESS : MODEL_EXIT_CRASH;
    int code = WEXITSTATUS(status);
    if (code == MODEL_EXIT_LIVENESS || code == MODEL_EXIT_CORRECTNESS)
        return code;
    return code == 0 && got == (ssize_t)sizeof(*result) ? 0 : MODEL_EXIT_CRASH;
}

static void count_result(struct totals *totals, const struct run_result *result)
{
    totals->seeds++;
    totals->events += result->events;
    totals->crashes += result->crashes;
    totals->virtual_s += result->virtual_ns / 1000000000;
    totals->acked_batches += result->acked_batches;
    totals->acked_commits += result->acked_commits;
    totals->read_records += result->read_records;
}

static void count_failure(struct totals *totals, uint64_t seed, int code)
{
    totals->failed++;
    if (totals->exit_code == 0)
        totals->exit_code = code;
    fprintf(stderr, "seed %llu: %s; again with: taffrail-sim --seed %llu --verbose\n",
            (unsigned long long)seed, code_text(code), (unsigned long long)seed);
}

/* True if the job goes on with its second run. */
static bool job_next(struct job *job, int status, struct totals *totals)
{
    struct run_result result = {0};
    int code = job_end(job, status, &result);
    if (code == 0 && job->turn == 0) {
        job->first = result;
        job->turn = 1;
        return true;
    }
    if (code == 0 && memcmp(&job->first, &result, sizeof(result)) != 0) {
        fprintf(stderr,
                "seed %llu: its two runs differ: trace %016llx after %llu events, and "
                "%016llx after %llu\n",
                (unsigned long long)job->seed, (unsigned long long)job->first.trace,
                (unsigned long long)job->first.events, (unsigned long long)result.trace,
                (unsigned long long)result.events);
        code = MODEL_EXIT_CORRECTNESS;
    }
    if (code != 0)
        count_failure(totals, job->seed, code);
    else
        count_result(totals, &result);
    return false;
}

static void progress(const struct totals *totals, size_t count)
{
    if (isatty(STDOUT_FILENO)) {
        printf("\r%llu/%zu seeds, %llu failed", (unsigned long long)totals->seeds, count,
               (unsigned long long)totals->failed);
        fflush(stdout);
    }
}

static struct totals run_all(const struct options *options)
{
    struct totals totals = {0};
    struct job jobs[JOBS_MAX] = {0};
    size_t next = 0;
    unsigned busy = 0;
    for (;;) {
        bool may_start = options->keep_going || totals.failed == 0;
        for (unsigned j = 0; j < options->jobs && may_start && next < options->count; j++) {
            if (jobs[j].pid != 0)
                continue;
            jobs[j] = (struct job){.seed = options->seeds[next++]};
            job_start(&jobs[j], options->verbose);
            busy++;
        }
        if (busy == 0)
            return totals;
        int status;
        pid_t pid = waitpid(-1, &status, 0);
        for (unsigned j = 0; j < options->jobs; j++) {
            if (jobs[j].pid != pid)
                continue;
            if (job_next(&jobs[j], status, &totals)) {
                job_start(&jobs[j], false);
            } else {
                jobs[j].pid = 0;
                busy--;
            }
        }
        progress(&totals, options->count);
    }
}

int main(int argc, char **argv)
{
    struct options options = parse_options(argc, argv);
    struct timespec begin, end;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    struct totals totals = run_all(&options);
    clock_gettime(CLOCK_MONOTONIC, &end);
    double seconds =
        (double)(end.tv_sec - begin.tv_sec) + (double)(end.tv_nsec - begin.tv_nsec) / 1e9;
    if (isatty(STDOUT_FILENO))
        printf("\n");
    printf("%llu passed, %llu failed\n"
           "%llu crashes, %llu batches and %llu commits acknowledged, %llu records read, %llu "
           "events, %llu virtual seconds, in %.1f s\n",
           (unsigned long long)totals.seeds, (unsigned long long)totals.failed,
           (unsigned long long)totals.crashes, (unsigned long long)totals.acked_batches,
           (unsigned long long)totals.acked_commits, (unsigned long long)totals.read_records,
           (unsigned long long)totals.events, (unsigned long long)totals.virtual_s, seconds);
    free(options.seeds);
    return totals.exit_code;
}
