/* Reads the forms of a position; pure. */
#include "cli/position.h"

#include "base/parse.h"
#include "base/time.h"

static enum err parse_relative(struct str text, struct position *position)
{
    struct str rest = {text.data + 1, text.len - 1};
    int64_t value;
    if (parse_i64_in(rest, 0, INT64_MAX, &value) == ERR_OK && rest.data[0] != '+') {
        *position = (struct position){POSITION_TAIL, value};
        return ERR_OK;
    }
    TRY(duration_parse(rest, &value));
    if (value < 0)
        return ERR_MALFORMED;
    *position = (struct position){POSITION_AGO, value};
    return ERR_OK;
}

enum err position_parse(struct str text, struct position *position)
{
    int64_t value;
    if (text.len == 0)
        return ERR_MALFORMED;
    if (str_eq(text, STR("beginning")) || str_eq(text, STR("earliest"))) {
        *position = (struct position){POSITION_BEGINNING, 0};
        return ERR_OK;
    }
    if (str_eq(text, STR("end")) || str_eq(text, STR("latest"))) {
        *position = (struct position){POSITION_END, 0};
        return ERR_OK;
    }
    if (text.data[0] == '-')
        return parse_relative(text, position);
    if (text.data[0] == '@') {
        TRY(parse_i64_in((struct str){text.data + 1, text.len - 1}, 0, INT64_MAX, &value));
        *position = (struct position){POSITION_TIME, value};
        return ERR_OK;
    }
    if (parse_i64_in(text, 0, INT64_MAX, &value) == ERR_OK) {
        *position = (struct position){POSITION_OFFSET, value};
        return ERR_OK;
    }
    TRY(time_parse(text, &value));
    *position = (struct position){POSITION_TIME, value};
    return ERR_OK;
}
