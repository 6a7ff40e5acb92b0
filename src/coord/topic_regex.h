/* Regular expressions that choose topics, in the syntax that Apache Kafka's brokers take (RE2).
 *
 * Matching is PCRE2's. What RE2 does not know, and so no client may rely on (references back,
 * looking ahead or behind, recursion, possessive repeats...) is refused before PCRE2 sees it, and
 * what a match may cost is bounded, so that no expression of a client holds up a broker. Pure. */
#ifndef COORD_TOPIC_REGEX_H
#define COORD_TOPIC_REGEX_H

#include <stdbool.h>

#include "base/bytes.h"
#include "base/err.h"

struct topic_regex;

#define TOPIC_REGEX_WHY_MAX 128

/* ERR_INVALID_REGULAR_EXPRESSION, with a phrase for people in `why`; ERR_NOMEM. */
enum err topic_regex_compile(struct str pattern, struct topic_regex **regex,
                             char why[TOPIC_REGEX_WHY_MAX]) MUST_USE;
void topic_regex_free(struct topic_regex *regex);
/* Whether the whole name matches. One that takes too long to decide does not. */
bool topic_regex_matches(struct topic_regex *regex, struct str name);

#endif
