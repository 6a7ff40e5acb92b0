/* Disk work on io_uring: reads that miss the page cache, large writes, flushes.
 *
 * Submissions of one turn of the loop go to the kernel together (uring_flush). Completions signal
 * the loop's event descriptor and are reaped by the loop's thread only, which is what the ring's
 * flags promise the kernel. The ring starts disabled and is enabled by the thread that first
 * submits: it may be created by another. At most URING_DEPTH operations are in the kernel; the
 * rest wait their turn in `waiting`, so the completion queue never overflows.
 *
 * A read or write that moves less than was asked is submitted again for the rest. */
#include <errno.h>
#include <liburing.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/diag.h"
#include "io/real.h"

#define URING_DEPTH 128

struct uring {
    struct io_uring ring;
    struct real *real;
    struct list waiting;
    unsigned in_kernel; /* prepared or submitted, not reaped */
    unsigned unflushed; /* prepared, not yet told to the kernel */
    bool enabled;
};

const unsigned uring_flags_wanted = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
                                    IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_COOP_TASKRUN |
                                    IORING_SETUP_CLAMP;

/* Newest first: each is dropped, with what it needs, where the kernel does not know it. */
static const unsigned flag_steps[] = {
    ~0U,
    ~(unsigned)IORING_SETUP_DEFER_TASKRUN,
    ~(unsigned)(IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_SINGLE_ISSUER),
    0,
};

static int ring_init_best(struct io_uring *ring, unsigned flags)
{
    int failed = -EINVAL;
    for (size_t i = 0; i < ARRAY_LEN(flag_steps) && failed == -EINVAL; i++) {
        unsigned now = flags & flag_steps[i];
        /* The two ways to run completions exclude each other. */
        if (now & IORING_SETUP_DEFER_TASKRUN)
            now &= ~(unsigned)IORING_SETUP_COOP_TASKRUN;
        failed = io_uring_queue_init(URING_DEPTH, ring, now | IORING_SETUP_R_DISABLED);
    }
    return failed;
}

enum err uring_create(struct real *real, unsigned flags, struct uring **out)
{
    struct uring *uring = calloc(1, sizeof(*uring));
    if (!uring)
        return ERR_NOMEM;
    uring->real = real;
    list_init(&uring->waiting);
    int failed = ring_init_best(&uring->ring, flags);
    if (failed) {
        free(uring);
        return failed == -ENOMEM ? ERR_NOMEM : ERR_UNSUPPORTED;
    }
    failed = io_uring_register_eventfd(&uring->ring, real->event_fd);
    if (failed) {
        io_uring_queue_exit(&uring->ring);
        free(uring);
        return ERR_UNSUPPORTED;
    }
    *out = uring;
    return ERR_OK;
}

void uring_destroy(struct uring *uring)
{
    ASSERT(uring->in_kernel == 0);
    ASSERT(list_is_empty(&uring->waiting));
    io_uring_queue_exit(&uring->ring);
    free(uring);
}

static void prepare(struct uring *uring, struct io_op *op)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&uring->ring);
    ASSERT(sqe); /* the queue is as deep as what may be in the kernel */
    void *data = (char *)op->data + op->moved;
    size_t left = op->len - op->moved;
    unsigned len = left > (1U << 30) ? 1U << 30 : (unsigned)left;
    switch (op->kind) {
    case IO_READ:
    case IO_READ_CACHED: /* where the system cannot tell what is cached */
    case IO_READ_DISK:
        io_uring_prep_read(sqe, op->file.fd, data, len, op->offset + op->moved);
        break;
    case IO_WRITE:
        io_uring_prep_write(sqe, op->file.fd, data, len, op->offset + op->moved);
        break;
    case IO_WRITE_DURABLE:
        io_uring_prep_write(sqe, op->file.fd, data, len, op->offset + op->moved);
        sqe->rw_flags = RWF_DSYNC;
        break;
    case IO_SYNC:
        io_uring_prep_fsync(sqe, op->file.fd, IORING_FSYNC_DATASYNC);
        break;
    case IO_UNLINK:
    case IO_JOB:
        UNREACHABLE();
    }
    io_uring_sqe_set_data(sqe, op);
    uring->in_kernel++;
    uring->unflushed++;
}

void uring_submit(struct uring *uring, struct io_op *op)
{
    if (uring->in_kernel < URING_DEPTH)
        prepare(uring, op);
    else
        list_push_back(&uring->waiting, &op->link);
}

bool uring_flush(struct uring *uring)
{
    if (uring->unflushed == 0)
        return true;
    if (!uring->enabled) {
        /* liburing 2.3 declares the call for it and does not export it. */
        long failed = syscall(__NR_io_uring_register, uring->ring.ring_fd,
                              IORING_REGISTER_ENABLE_RINGS, NULL, 0);
        ASSERT(failed == 0);
        uring->enabled = true;
    }
    int taken = io_uring_submit(&uring->ring);
    if (taken > 0) {
        ASSERT((unsigned)taken <= uring->unflushed);
        uring->unflushed -= (unsigned)taken;
        return uring->unflushed == 0;
    }
    ASSERT(taken == -EAGAIN || taken == -EBUSY || taken == -EINTR || taken == -ENOMEM);
    return false;
}

/* True if the operation has its result; false if it goes on. */
static bool op_finish(struct io_op *op, int res)
{
    if (res == -EINTR || res == -EAGAIN)
        return false;
    if (res < 0) {
        op->err = res == -EFBIG ? ERR_NOSPACE : err_of_errno(-res);
        return true;
    }
    op->moved += (size_t)res;
    switch (op->kind) {
    case IO_READ:
    case IO_READ_CACHED:
    case IO_READ_DISK:
        return res == 0 || op->moved == op->len;
    case IO_WRITE:
    case IO_WRITE_DURABLE:
        if (res == 0 && op->moved < op->len)
            op->err = ERR_IO;
        return res == 0 || op->moved == op->len;
    case IO_SYNC:
    case IO_UNLINK:
    case IO_JOB:
        break;
    }
    return true;
}

static void reap(struct uring *uring)
{
    struct io_uring_cqe *cqe;
    unsigned head, count = 0;
    io_uring_for_each_cqe(&uring->ring, head, cqe)
    {
        struct io_op *op = io_uring_cqe_get_data(cqe);
        count++;
        if (op_finish(op, cqe->res))
            real_complete(uring->real, op);
        else
            list_push_front(&uring->waiting, &op->link);
    }
    ASSERT(count <= uring->in_kernel);
    uring->in_kernel -= count;
    io_uring_cq_advance(&uring->ring, count);
}

void uring_collect(struct uring *uring)
{
    if (uring->in_kernel == uring->unflushed)
        return;
    unsigned flags = __atomic_load_n(uring->ring.sq.kflags, __ATOMIC_RELAXED);
    if (flags & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW))
        io_uring_get_events(&uring->ring);
    reap(uring);
    while (uring->in_kernel < URING_DEPTH && !list_is_empty(&uring->waiting))
        prepare(uring, LIST_ENTRY(list_pop_front(&uring->waiting), struct io_op, link));
}
