/* Lookup in the API table, which tools/msgc.py generates in the order of the keys. The table is a
 * little over ninety rows: a binary search needs seven steps. Read-only: any thread. */
#include "wire/api.h"

#include <stddef.h>

const struct api_info *api_find(int16_t key)
{
    int low = 0, high = api_table_len;
    while (low < high) {
        int mid = low + (high - low) / 2;
        if (api_table[mid].key < key)
            low = mid + 1;
        else
            high = mid;
    }
    return low < api_table_len && api_table[low].key == key ? &api_table[low] : NULL;
}

const char *api_name(int16_t key)
{
    const struct api_info *api = api_find(key);
    return api ? api->name : "Unknown";
}
