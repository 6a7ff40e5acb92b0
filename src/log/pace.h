/* How many bytes in a second several jobs may move, together. */
#ifndef LOG_PACE_H
#define LOG_PACE_H

#include <stdatomic.h>
#include <stdint.h>

/* Shared by the jobs, on whatever threads they run, and by who changes the rate. */
struct pace {
    _Atomic uint64_t bytes_per_second; /* 0: no limit */
    _Atomic uint64_t free_ns;          /* when the next bytes may move */
};

/* From now on, for jobs under way too. What a slower pace still owes is forgiven. */
void pace_set(struct pace *pace, uint64_t bytes_per_second);
/* How long a job pauses before the next bytes may move, or before it looks again whether the pace
 * changed. NULL: not at all. */
uint64_t pace_pause_ns(struct pace *pace, uint64_t now_ns);
/* So many bytes were moved. NULL: nobody counts. */
void pace_charge(struct pace *pace, uint64_t bytes, uint64_t now_ns);

#endif
