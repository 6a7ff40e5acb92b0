/* See names.h.
 *
 * In a log folder      meta.properties  bootstrap.checkpoint  .lock  .kafka_cleanshutdown
 *                      four *-checkpoint files  taffrail-manifest-S  taffrail-wal-S-N
 *                      TOPIC-N  TOPIC-N.HEX-delete  TOPIC-N.HEX-future  TOPIC-N.HEX-stray
 *                      remote-log-index-cache, a folder
 * In a partition's     NNN.log .index .timeindex .txnindex .snapshot, with .deleted .cleaned .swap
 *                      leader-epoch-checkpoint  partition.metadata  taffrail-log-start
 *                      taffrail-write-failed  NAME.bad and NNN.log.cut-N, which log repair leaves
 * In the metadata's    quorum-state  NNN-EEE.checkpoint, with .part .deleted
 * NAME.tmp is a file that is being replaced. */
#include "log/names.h"

#include <stdint.h>
#include <string.h>

#include "base/parse.h"
#include "log/internal.h"
#include "log/logdir.h"
#include "log/manifest.h"
#include "log/wal.h"

#define METADATA_FOLDER STR("__cluster_metadata-0")
#define EPOCH_DIGITS    10

static bool begins_with(struct str text, struct str begin)
{
    return text.len >= begin.len && str_eq((struct str){text.data, begin.len}, begin);
}

/* Takes an end off; false where the text does not have it. */
static bool strip(struct str *text, struct str end)
{
    if (!str_ends_with(*text, end))
        return false;
    text->len -= end.len;
    return true;
}

static bool is_one_of(struct str name, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (str_eq_cstr(name, names[i]))
            return true;
    }
    return false;
}

static bool is_digits(struct str text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
    }
    return text.len > 0;
}

/* Numbers with a dash between any two. */
static bool is_numbers(struct str text, size_t count)
{
    for (; count > 1; count--) {
        const char *dash = memchr(text.data, '-', text.len);
        size_t len = dash ? (size_t)(dash - text.data) : 0;
        if (!dash || !is_digits((struct str){text.data, len}))
            return false;
        text = (struct str){dash + 1, text.len - len - 1};
    }
    return is_digits(text);
}

/* --- folders --- */

bool name_parse_partition(struct str name, struct str *topic, int32_t *index)
{
    size_t dash = name.len;
    while (dash > 0 && name.data[dash - 1] != '-')
        dash--;
    if (dash < 2 || dash == name.len)
        return false;
    *topic = (struct str){name.data, dash - 1};
    struct str digits = {name.data + dash, name.len - dash};
    return parse_i32(digits, index) == ERR_OK && *index >= 0 && digits.data[0] != '+';
}

bool name_is_partition(struct str name)
{
    struct str topic;
    int32_t index;
    if (strip(&name, STR("-delete")) || strip(&name, STR("-future")) ||
        strip(&name, STR("-stray"))) {
        const char *dot = memrchr(name.data, '.', name.len);
        if (!dot)
            return false;
        name.len = (size_t)(dot - name.data);
    }
    return name_parse_partition(name, &topic, &index);
}

/* --- files --- */

static bool has_number_behind(struct str name, const char *prefix, size_t numbers)
{
    struct str begin = str_of(prefix);
    return begins_with(name, begin) &&
           is_numbers((struct str){name.data + begin.len, name.len - begin.len}, numbers);
}

bool name_is_of_log_folder(struct str name, bool is_dir)
{
    static const char *const names[] = {"meta.properties",      "bootstrap.checkpoint",
                                        LOGDIR_RECOVERY_POINTS, LOGDIR_START_OFFSETS,
                                        LOGDIR_HIGH_WATERMARKS, LOGDIR_CLEANED_OFFSETS,
                                        LOGDIR_CLEAN_SHUTDOWN,  ".lock"};
    if (is_dir)
        return name_is_partition(name) || str_eq(name, STR("remote-log-index-cache"));
    strip(&name, STR(".tmp"));
    return is_one_of(name, names, ARRAY_LEN(names)) ||
           has_number_behind(name, MANIFEST_FILE_PREFIX, 1) ||
           has_number_behind(name, WAL_FILE_PREFIX, 2);
}

/* "00000000000000000042.log" */
static bool is_of_segment(struct str name)
{
    static const char *const kinds[] = {"log", "index", "timeindex", "txnindex", "snapshot"};
    static const char *const ends[] = {".deleted", ".cleaned", ".swap"};
    for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
        if (strip(&name, str_of(ends[i])))
            break;
    }
    if (name.len <= SEGMENT_NAME_DIGITS + 1 || name.data[SEGMENT_NAME_DIGITS] != '.' ||
        !is_digits((struct str){name.data, SEGMENT_NAME_DIGITS}))
        return false;
    struct str rest = {name.data + SEGMENT_NAME_DIGITS + 1, name.len - SEGMENT_NAME_DIGITS - 1};
    const char *cut = memmem(rest.data, rest.len, ".cut-", 5);
    if (cut && is_digits((struct str){cut + 5, (size_t)(rest.data + rest.len - cut - 5)}))
        rest.len = (size_t)(cut - rest.data);
    return is_one_of(rest, kinds, ARRAY_LEN(kinds));
}

/* "00000000000000000042-0000000003.checkpoint" */
static bool is_snapshot(struct str name)
{
    if (!strip(&name, STR(".part")))
        strip(&name, STR(".deleted"));
    return strip(&name, STR(".checkpoint")) && name.len == SEGMENT_NAME_DIGITS + 1 + EPOCH_DIGITS &&
           name.data[SEGMENT_NAME_DIGITS] == '-' && is_numbers(name, 2);
}

bool name_is_of_partition(struct str folder, struct str name, bool is_dir)
{
    static const char *const names[] = {EPOCHS_FILE, "partition.metadata", LOG_START_FILE,
                                        DISTRUST_FILE};
    if (is_dir)
        return false;
    if (!strip(&name, STR(".tmp")))
        strip(&name, STR(".bad"));
    if (is_one_of(name, names, ARRAY_LEN(names)) || is_of_segment(name))
        return true;
    return str_eq(folder, METADATA_FOLDER) &&
           (str_eq(name, STR("quorum-state")) || is_snapshot(name));
}
