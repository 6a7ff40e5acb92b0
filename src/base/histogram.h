/* How long things take: counts of durations in buckets that grow with the duration.
 *
 * Four buckets for each doubling, from 256 ns to 18 minutes: a quantile is off by at most a fifth.
 * Adding costs a few instructions and never allocates. Owned by one thread; merging copies. */
#ifndef BASE_HISTOGRAM_H
#define BASE_HISTOGRAM_H

#include <stddef.h>
#include <stdint.h>

/* Durations below 1 << HISTOGRAM_SHIFT ns share the first bucket; those of 1 << HISTOGRAM_TOP ns
 * and more share the last. */
#define HISTOGRAM_SHIFT   8
#define HISTOGRAM_TOP     40
#define HISTOGRAM_BUCKETS (4 * (HISTOGRAM_TOP - HISTOGRAM_SHIFT) + 2)

struct histogram {
    uint64_t count;
    uint64_t sum_ns;
    uint64_t buckets[HISTOGRAM_BUCKETS];
};

size_t histogram_bucket_of(uint64_t ns);
/* The first duration past the bucket; UINT64_MAX for the last one. */
uint64_t histogram_bucket_end(size_t bucket);

static inline void histogram_add(struct histogram *histogram, uint64_t ns)
{
    histogram->count++;
    histogram->sum_ns += ns;
    histogram->buckets[histogram_bucket_of(ns)]++;
}

void histogram_merge(struct histogram *into, const struct histogram *from);
/* The duration that the share (0 to 1) of all stays below, in the middle of its bucket; 0 where
 * nothing was added. */
uint64_t histogram_quantile(const struct histogram *histogram, double share);
/* How many were shorter than `ns`, which is the end of a bucket. */
uint64_t histogram_count_below(const struct histogram *histogram, uint64_t ns);

#endif
