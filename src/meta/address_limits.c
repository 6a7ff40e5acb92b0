/* Reading addresses and their limits. */
#include "meta/address_limits.h"

#include <string.h>

#include "base/parse.h"
#include "meta/config_def.h"

static const uint8_t mapped_prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

/* Digits of a number in base 10 or 16, at most `digits_max` of them and no more than `max`. */
static bool take_number(struct str *text, unsigned base, size_t digits_max, unsigned max,
                        unsigned *out)
{
    size_t len = 0;
    unsigned value = 0;
    for (; len < text->len && len <= digits_max; len++) {
        char c = text->data[len];
        unsigned digit = c >= '0' && c <= '9'   ? (unsigned)(c - '0')
                         : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10
                         : c >= 'A' && c <= 'F' ? (unsigned)(c - 'A') + 10
                                                : 16;
        if (digit >= base)
            break;
        value = value * base + digit;
    }
    if (len == 0 || len > digits_max || value > max ||
        (base == 10 && len > 1 && text->data[0] == '0'))
        return false;
    *text = (struct str){text->data + len, text->len - len};
    *out = value;
    return true;
}

static bool take_char(struct str *text, char c)
{
    if (text->len == 0 || text->data[0] != c)
        return false;
    *text = (struct str){text->data + 1, text->len - 1};
    return true;
}

/* All of the text as a.b.c.d. */
static bool parse_v4(struct str text, uint8_t bytes[4])
{
    for (int i = 0; i < 4; i++) {
        unsigned value;
        if ((i > 0 && !take_char(&text, '.')) || !take_number(&text, 10, 3, 255, &value))
            return false;
        bytes[i] = (uint8_t)value;
    }
    return text.len == 0;
}

/* Groups of 16 bits between colons, one run of zeros as "::", the last 32 bits perhaps as IPv4. */
static bool parse_v6(struct str text, uint8_t bytes[16])
{
    size_t len = 0, gap = SIZE_MAX;
    memset(bytes, 0, 16);
    if (text.len >= 2 && text.data[0] == ':' && text.data[1] == ':') {
        gap = 0;
        text = (struct str){text.data + 2, text.len - 2};
    }
    while (text.len > 0 && len < 16) {
        unsigned group;
        if (len <= 12 && parse_v4(text, bytes + len)) {
            len += 4;
            text.len = 0;
            break;
        }
        if (!take_number(&text, 16, 4, 0xffff, &group))
            return false;
        be16_store(bytes + len, (uint16_t)group);
        len += 2;
        if (text.len == 0)
            break;
        if (!take_char(&text, ':') || text.len == 0)
            return false;
        if (text.data[0] != ':')
            continue;
        if (gap != SIZE_MAX)
            return false;
        gap = len;
        take_char(&text, ':');
    }
    if (text.len > 0 || (gap == SIZE_MAX) != (len == 16))
        return false;
    if (gap != SIZE_MAX) {
        memmove(bytes + 16 - (len - gap), bytes + gap, len - gap);
        memset(bytes + gap, 0, 16 - len);
    }
    return true;
}

bool address_parse(struct str text, struct address *out)
{
    const char *zone = text.len ? memchr(text.data, '%', text.len) : NULL;
    if (zone)
        text.len = (size_t)(zone - text.data);
    if (parse_v6(text, out->bytes))
        return true;
    memcpy(out->bytes, mapped_prefix, sizeof(mapped_prefix));
    return !zone && parse_v4(text, out->bytes + sizeof(mapped_prefix));
}

/* Where the count begins: an IPv6 address has colons of its own. */
static const char *last_colon(struct str element)
{
    for (size_t i = element.len; i > 0; i--)
        if (element.data[i - 1] == ':')
            return element.data + i - 1;
    return NULL;
}

static struct str strip(struct str text)
{
    while (text.len > 0 && text.data[0] == ' ')
        text = (struct str){text.data + 1, text.len - 1};
    while (text.len > 0 && text.data[text.len - 1] == ' ')
        text.len--;
    return text;
}

enum err address_limit_next(struct str *list, struct address_limit *limit, struct str *element)
{
    if (list->len == 0 || !config_list_next(list, element))
        return ERR_NOENT;
    const char *colon = last_colon(*element);
    if (!colon)
        return ERR_MALFORMED;
    struct str address = {element->data, (size_t)(colon - element->data)};
    struct str count = {colon + 1, element->len - address.len - 1};
    if (!address_parse(strip(address), &limit->address) || parse_i32(strip(count), &limit->count))
        return ERR_MALFORMED;
    return ERR_OK;
}

int32_t address_limit_of(struct str list, struct address address, int32_t otherwise)
{
    struct address_limit limit;
    struct str element;
    while (address_limit_next(&list, &limit, &element) == ERR_OK)
        if (address_eq(limit.address, address))
            return limit.count;
    return otherwise;
}
