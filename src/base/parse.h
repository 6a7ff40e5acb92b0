/* Numbers and switches from text: the whole text or an error.
 *
 * ERR_MALFORMED: not of that form. ERR_RANGE: of that form, but outside of the type or of the
 * bounds given. The output is untouched on error. No white space is skipped. */
#ifndef BASE_PARSE_H
#define BASE_PARSE_H

#include "base/bytes.h"
#include "base/err.h"

/* Decimal digits with an optional sign. */
enum err parse_i64(struct str text, int64_t *value) MUST_USE;
enum err parse_i32(struct str text, int32_t *value) MUST_USE;
enum err parse_i64_in(struct str text, int64_t min, int64_t max, int64_t *value) MUST_USE;
/* Decimal with an optional fraction and exponent; no infinity, no NaN, no hexadecimal. */
enum err parse_f64(struct str text, double *value) MUST_USE;
/* "true" or "false" in any letter case. */
enum err parse_bool(struct str text, bool *value) MUST_USE;

#endif
