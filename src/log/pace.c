/* A pace that jobs share: whoever moved bytes puts off the moment from which the next may move.
 *
 * Runs on: any thread. */
#include "log/pace.h"

#define NS_PER_S UINT64_C(1000000000)

void pace_set(struct pace *pace, uint64_t bytes_per_second)
{
    if (atomic_exchange(&pace->bytes_per_second, bytes_per_second) != bytes_per_second)
        atomic_store(&pace->free_ns, 0);
}

uint64_t pace_pause_ns(struct pace *pace, uint64_t now_ns)
{
    uint64_t free_ns = pace ? atomic_load(&pace->free_ns) : 0;
    uint64_t pause_ns = free_ns > now_ns ? free_ns - now_ns : 0;
    return pause_ns < NS_PER_S ? pause_ns : NS_PER_S;
}

void pace_charge(struct pace *pace, uint64_t bytes, uint64_t now_ns)
{
    uint64_t rate = pace ? atomic_load(&pace->bytes_per_second) : 0;
    if (rate == 0)
        return;
    uint64_t cost_ns = (uint64_t)((double)bytes / (double)rate * (double)NS_PER_S);
    uint64_t free_ns = atomic_load(&pace->free_ns), until_ns;
    do {
        until_ns = (free_ns > now_ns ? free_ns : now_ns) + cost_ns;
    } while (!atomic_compare_exchange_weak(&pace->free_ns, &free_ns, until_ns));
}
