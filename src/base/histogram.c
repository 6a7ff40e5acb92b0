/* Buckets of durations. Bucket 0 is [0, 2^SHIFT); then each doubling [2^k, 2^(k+1)) is cut into
 * four of equal width; the last bucket is [2^TOP, ...). Pure. */
#include "base/histogram.h"

#include "base/assert.h"

size_t histogram_bucket_of(uint64_t ns)
{
    if (ns < (UINT64_C(1) << HISTOGRAM_SHIFT))
        return 0;
    unsigned top = 63 - (unsigned)__builtin_clzll(ns);
    if (top >= HISTOGRAM_TOP)
        return HISTOGRAM_BUCKETS - 1;
    return 1 + 4 * (top - HISTOGRAM_SHIFT) + (size_t)((ns >> (top - 2)) & 3);
}

uint64_t histogram_bucket_end(size_t bucket)
{
    ASSERT(bucket < HISTOGRAM_BUCKETS);
    if (bucket == 0)
        return UINT64_C(1) << HISTOGRAM_SHIFT;
    if (bucket == HISTOGRAM_BUCKETS - 1)
        return UINT64_MAX;
    size_t at = bucket - 1;
    return (uint64_t)(4 + at % 4 + 1) << (HISTOGRAM_SHIFT + at / 4 - 2);
}

static uint64_t bucket_begin(size_t bucket)
{
    return bucket == 0 ? 0 : histogram_bucket_end(bucket - 1);
}

void histogram_merge(struct histogram *into, const struct histogram *from)
{
    into->count += from->count;
    into->sum_ns += from->sum_ns;
    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++)
        into->buckets[i] += from->buckets[i];
}

uint64_t histogram_quantile(const struct histogram *histogram, double share)
{
    ASSERT(share >= 0 && share <= 1);
    if (histogram->count == 0)
        return 0;
    double rank = share * (double)histogram->count;
    uint64_t seen = 0;
    size_t last = 0;
    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        if (histogram->buckets[i] == 0)
            continue;
        last = i;
        seen += histogram->buckets[i];
        if ((double)seen >= rank)
            break;
    }
    if (last == HISTOGRAM_BUCKETS - 1)
        return bucket_begin(last);
    return (bucket_begin(last) + histogram_bucket_end(last)) / 2;
}

uint64_t histogram_count_below(const struct histogram *histogram, uint64_t ns)
{
    uint64_t count = 0;
    for (size_t i = 0; i < HISTOGRAM_BUCKETS && histogram_bucket_end(i) <= ns; i++)
        count += histogram->buckets[i];
    return count;
}
