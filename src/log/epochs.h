/* Leader epochs of a log and where each began (KIP-101), as in leader-epoch-checkpoint. */
#ifndef LOG_EPOCHS_H
#define LOG_EPOCHS_H

#include "base/buf.h"
#include "base/bytes.h"
#include "base/err.h"

struct epoch_entry {
    int32_t epoch;
    int64_t start_offset;
};

struct epochs {
    struct epoch_entry *entries; /* both fields ascend */
    size_t count, cap;
};

void epochs_init(struct epochs *epochs);
void epochs_deinit(struct epochs *epochs);
int32_t epochs_latest(const struct epochs *epochs); /* -1: none */
/* Notes that `epoch` writes from the offset on; true in *changed if that is news. Entries that it
 * contradicts (same or later epoch or offset) go. */
enum err epochs_assign(struct epochs *epochs, int32_t epoch, int64_t start_offset,
                       bool *changed) MUST_USE;
/* The epoch of an offset; -1 where it is not known. */
int32_t epochs_of_offset(const struct epochs *epochs, int64_t offset);
/* The answer to OffsetForLeaderEpoch: the largest epoch <= the requested one, and the offset where
 * it ended (log_end_offset for the latest). Both -1 if the log knows nothing of it. */
void epochs_end_offset(const struct epochs *epochs, int32_t requested, int64_t log_end_offset,
                       int32_t *epoch, int64_t *end_offset);
/* Forget what lies below the start, or at and above the end; true if there was something. */
bool epochs_truncate_start(struct epochs *epochs, int64_t start_offset);
bool epochs_truncate_end(struct epochs *epochs, int64_t end_offset);

/* Puts an entry behind the others; ERR_MALFORMED where the order is wrong. */
enum err epochs_add(struct epochs *epochs, int32_t epoch, int64_t start_offset) MUST_USE;

/* Text of the checkpoint file: "0\nCOUNT\nEPOCH OFFSET\n...". */
void epochs_print(const struct epochs *epochs, struct buf *out);
enum err epochs_parse(struct epochs *epochs, struct str text) MUST_USE;

#endif
