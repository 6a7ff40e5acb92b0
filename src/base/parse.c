/* Strict parsing of numbers and switches; see parse.h. */
#include "base/parse.h"

#include <math.h>
#include <stdlib.h>
#include <strings.h>

enum err parse_i64(struct str text, int64_t *value)
{
    size_t at = 0;
    bool negative = text.len > 0 && text.data[0] == '-';
    if (text.len > 0 && (text.data[0] == '-' || text.data[0] == '+'))
        at++;
    if (at == text.len)
        return ERR_MALFORMED;
    int64_t sum = 0;
    bool overflow = false;
    for (; at < text.len; at++) {
        char c = text.data[at];
        if (c < '0' || c > '9')
            return ERR_MALFORMED;
        /* Toward the sign, because the least value has no positive twin. */
        int64_t digit = negative ? '0' - c : c - '0';
        overflow |= __builtin_mul_overflow(sum, 10, &sum);
        overflow |= __builtin_add_overflow(sum, digit, &sum);
    }
    if (overflow)
        return ERR_RANGE;
    *value = sum;
    return ERR_OK;
}

enum err parse_i64_in(struct str text, int64_t min, int64_t max, int64_t *value)
{
    int64_t wide;
    TRY(parse_i64(text, &wide));
    if (wide < min || wide > max)
        return ERR_RANGE;
    *value = wide;
    return ERR_OK;
}

enum err parse_i32(struct str text, int32_t *value)
{
    int64_t wide;
    TRY(parse_i64_in(text, INT32_MIN, INT32_MAX, &wide));
    *value = (int32_t)wide;
    return ERR_OK;
}

#define F64_TEXT_MAX 128

enum err parse_f64(struct str text, double *value)
{
    char copy[F64_TEXT_MAX + 1];
    if (text.len == 0 || text.len > F64_TEXT_MAX)
        return ERR_MALFORMED;
    for (size_t i = 0; i < text.len; i++) {
        if (!text.data[i] || !strchr("0123456789+-.eE", text.data[i]))
            return ERR_MALFORMED;
    }
    memcpy(copy, text.data, text.len);
    copy[text.len] = '\0';
    char *end;
    double parsed = strtod(copy, &end);
    if (end != copy + text.len)
        return ERR_MALFORMED;
    if (!isfinite(parsed))
        return ERR_RANGE;
    *value = parsed;
    return ERR_OK;
}

enum err parse_bool(struct str text, bool *value)
{
    bool is_true = text.len == 4 && strncasecmp(text.data, "true", 4) == 0;
    bool is_false = text.len == 5 && strncasecmp(text.data, "false", 5) == 0;
    if (!is_true && !is_false)
        return ERR_MALFORMED;
    *value = is_true;
    return ERR_OK;
}
