/* Validation of UTF-8, eight ASCII bytes at a time; see utf8.h. */
#include "base/utf8.h"

/* Length of the valid sequence at `at`, or 0. The second byte's range excludes overlong forms
 * (after E0, F0), surrogates (after ED) and what is above U+10FFFF (after F4). */
static size_t sequence_len(const uint8_t *at, size_t left)
{
    uint8_t lead = at[0];
    if (lead < 0x80)
        return 1;
    size_t len = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
    if (lead < 0xc2 || lead > 0xf4 || left < len)
        return 0;
    uint8_t second_min = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
    uint8_t second_max = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
    if (at[1] < second_min || at[1] > second_max)
        return 0;
    for (size_t i = 2; i < len; i++) {
        if ((at[i] & 0xc0) != 0x80)
            return 0;
    }
    return len;
}

bool utf8_is_valid(struct slice s)
{
    size_t at = 0;
    while (at < s.len) {
        uint64_t word;
        if (s.len - at >= sizeof(word)) {
            memcpy(&word, s.data + at, sizeof(word));
            if ((word & UINT64_C(0x8080808080808080)) == 0) {
                at += sizeof(word);
                continue;
            }
        }
        size_t len = sequence_len(s.data + at, s.len - at);
        if (len == 0)
            return false;
        at += len;
    }
    return true;
}
