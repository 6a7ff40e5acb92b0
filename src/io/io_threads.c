/* Disk work on a few threads, where io_uring is forbidden; the removal of large files and jobs
 * always.
 *
 * The loop's thread puts jobs in and collects finished ones; the pool's threads take one job at a
 * time, perform it and notify the loop. Both lists are under the lock; everything in an operation
 * belongs to the pool's thread from taking it until it is put on `done`. Threads start when a job
 * finds none idle and stay until threads_deinit, which finishes every job first. */
#include <signal.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/diag.h"
#include "io/real.h"

static bool is_cancelled(struct io_job *job)
{
    return atomic_load_explicit(&job->is_cancelled, memory_order_seq_cst);
}

static void job_pause(struct threads *pool, struct io_job *job, uint64_t pause_ns)
{
    uint64_t until_ns = real_now_ns();
    until_ns = pause_ns < UINT64_MAX - until_ns ? until_ns + pause_ns : UINT64_MAX;
    struct timespec until = {(time_t)(until_ns / NS_PER_S), (long)(until_ns % NS_PER_S)};
    pthread_mutex_lock(&pool->lock);
    while (!is_cancelled(job) && real_now_ns() < until_ns)
        pthread_cond_clockwait(&pool->hurry, &pool->lock, CLOCK_MONOTONIC, &until);
    pthread_mutex_unlock(&pool->lock);
}

static void job_perform(struct threads *pool, struct io_job *job)
{
    while (!is_cancelled(job)) {
        uint64_t pause_ns = job->step(job, &pool->real->io, real_now_ns());
        if (pause_ns == IO_JOB_DONE)
            return;
        if (pause_ns > 0)
            job_pause(pool, job, pause_ns);
    }
}

/* Called, and returns, with the lock held. */
static void threads_perform(struct threads *pool, struct io_op *op)
{
    pthread_mutex_unlock(&pool->lock);
    if (op->kind == IO_JOB)
        job_perform(pool, CONTAINER_OF(op, struct io_job, op));
    else
        file_op_perform(op);
    pthread_mutex_lock(&pool->lock);
    list_push_back(&pool->done, &op->link);
    atomic_store_explicit(&pool->has_done, true, memory_order_seq_cst);
}

static void *threads_main(void *arg)
{
    struct threads *pool = arg;
    /* Linux knows a niceness for each thread. That it is refused costs no correctness. */
    if (pool->options.niceness)
        setpriority(PRIO_PROCESS, (id_t)gettid(),
                    getpriority(PRIO_PROCESS, 0) + pool->options.niceness);
    pthread_mutex_lock(&pool->lock);
    for (;;) {
        struct list *node = list_pop_front(&pool->jobs);
        if (node) {
            pool->job_count--;
            threads_perform(pool, LIST_ENTRY(node, struct io_op, link));
            real_notify(pool->real);
            continue;
        }
        if (pool->stopping)
            break;
        pool->idle_count++;
        pthread_cond_wait(&pool->more, &pool->lock);
        pool->idle_count--;
    }
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

enum err threads_init(struct threads *pool, struct real *real,
                      const struct threads_options *options)
{
    ASSERT(options->thread_max > 0 && options->thread_max <= ARRAY_LEN(pool->threads));
    *pool = (struct threads){.real = real, .options = *options};
    list_init(&pool->jobs);
    list_init(&pool->done);
    if (pthread_mutex_init(&pool->lock, NULL) != 0)
        return ERR_NOMEM;
    if (pthread_cond_init(&pool->more, NULL) != 0) {
        pthread_mutex_destroy(&pool->lock);
        return ERR_NOMEM;
    }
    if (pthread_cond_init(&pool->hurry, NULL) != 0) {
        pthread_cond_destroy(&pool->more);
        pthread_mutex_destroy(&pool->lock);
        return ERR_NOMEM;
    }
    return ERR_OK;
}

void threads_deinit(struct threads *pool)
{
    pthread_mutex_lock(&pool->lock);
    pool->stopping = true;
    pthread_cond_broadcast(&pool->more);
    pthread_mutex_unlock(&pool->lock);
    for (unsigned i = 0; i < pool->thread_count; i++)
        pthread_join(pool->threads[i], NULL);
    pthread_cond_destroy(&pool->hurry);
    pthread_cond_destroy(&pool->more);
    pthread_mutex_destroy(&pool->lock);
}

void threads_hurry(struct threads *pool)
{
    pthread_mutex_lock(&pool->lock);
    pthread_cond_broadcast(&pool->hurry);
    pthread_mutex_unlock(&pool->lock);
}

/* Signals are the main thread's: a new thread starts with all of them blocked. */
static bool threads_start_thread(struct threads *pool)
{
    pthread_attr_t attr;
    if (pthread_attr_init(&attr) != 0)
        return false;
    pthread_attr_setstacksize(&attr, pool->options.stack_bytes);
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(&pool->threads[pool->thread_count], &attr, threads_main, pool);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    if (failed)
        return false;
    pool->thread_count++;
    return true;
}

void threads_submit(struct threads *pool, struct io_op *op)
{
    pthread_mutex_lock(&pool->lock);
    bool wants_thread =
        pool->idle_count <= pool->job_count && pool->thread_count < pool->options.thread_max;
    if (wants_thread && !threads_start_thread(pool) && pool->thread_count == 0) {
        /* No thread will ever take it: better late than never. */
        diag_warn("io", "no thread for disk work can be started: doing it in the loop, which "
                        "delays every connection; raise the limit on threads (ulimit -u)");
        threads_perform(pool, op);
        pthread_mutex_unlock(&pool->lock);
        return;
    }
    list_push_back(&pool->jobs, &op->link);
    pool->job_count++;
    pthread_cond_signal(&pool->more);
    pthread_mutex_unlock(&pool->lock);
}

void threads_collect(struct threads *pool)
{
    if (!atomic_load_explicit(&pool->has_done, memory_order_seq_cst))
        return;
    struct list done;
    list_init(&done);
    pthread_mutex_lock(&pool->lock);
    list_splice(&done, &pool->done);
    atomic_store_explicit(&pool->has_done, false, memory_order_relaxed);
    pthread_mutex_unlock(&pool->lock);
    struct list *node;
    while ((node = list_pop_front(&done)))
        real_complete(pool->real, LIST_ENTRY(node, struct io_op, link));
}
