/* Leader epochs: a small ascending array; see epochs.h. */
#include "log/epochs.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/parse.h"

#define EPOCH_ENTRIES_MAX 1000000

void epochs_init(struct epochs *epochs)
{
    *epochs = (struct epochs){0};
}

void epochs_deinit(struct epochs *epochs)
{
    free(epochs->entries);
    epochs_init(epochs);
}

int32_t epochs_latest(const struct epochs *epochs)
{
    return epochs->count ? epochs->entries[epochs->count - 1].epoch : -1;
}

static enum err epochs_push(struct epochs *epochs, int32_t epoch, int64_t start_offset)
{
    if (epochs->count == epochs->cap) {
        size_t cap = epochs->cap ? epochs->cap * 2 : 4;
        struct epoch_entry *entries = realloc(epochs->entries, cap * sizeof(*entries));
        if (!entries)
            return ERR_NOMEM;
        epochs->entries = entries;
        epochs->cap = cap;
    }
    epochs->entries[epochs->count++] = (struct epoch_entry){epoch, start_offset};
    return ERR_OK;
}

enum err epochs_add(struct epochs *epochs, int32_t epoch, int64_t start_offset)
{
    if (epoch < 0 || start_offset < 0 ||
        (epochs->count > 0 && (epoch <= epochs_latest(epochs) ||
                               start_offset < epochs->entries[epochs->count - 1].start_offset)))
        return ERR_MALFORMED;
    return epochs_push(epochs, epoch, start_offset);
}

enum err epochs_assign(struct epochs *epochs, int32_t epoch, int64_t start_offset, bool *changed)
{
    *changed = false;
    if (epochs->count > 0 && epochs_latest(epochs) == epoch)
        return ERR_OK;
    while (epochs->count > 0) {
        const struct epoch_entry *last = &epochs->entries[epochs->count - 1];
        if (last->epoch < epoch && last->start_offset < start_offset)
            break;
        epochs->count--;
    }
    *changed = true;
    return epochs_push(epochs, epoch, start_offset);
}

int32_t epochs_of_offset(const struct epochs *epochs, int64_t offset)
{
    for (size_t i = epochs->count; i > 0; i--) {
        if (epochs->entries[i - 1].start_offset <= offset)
            return epochs->entries[i - 1].epoch;
    }
    return -1;
}

void epochs_end_offset(const struct epochs *epochs, int32_t requested, int64_t log_end_offset,
                       int32_t *epoch, int64_t *end_offset)
{
    *epoch = -1;
    *end_offset = -1;
    if (requested < 0 || epochs->count == 0)
        return;
    if (requested == epochs_latest(epochs)) {
        *epoch = requested;
        *end_offset = log_end_offset;
        return;
    }
    if (requested > epochs_latest(epochs))
        return;
    size_t next = 0;
    while (epochs->entries[next].epoch <= requested)
        next++;
    *epoch = next > 0 ? epochs->entries[next - 1].epoch : requested;
    *end_offset = epochs->entries[next].start_offset;
}

bool epochs_truncate_start(struct epochs *epochs, int64_t start_offset)
{
    size_t gone = 0;
    while (gone + 1 < epochs->count && epochs->entries[gone + 1].start_offset <= start_offset)
        gone++;
    memmove(epochs->entries, epochs->entries + gone,
            (epochs->count - gone) * sizeof(*epochs->entries));
    epochs->count -= gone;
    if (epochs->count > 0 && epochs->entries[0].start_offset < start_offset) {
        epochs->entries[0].start_offset = start_offset;
        return true;
    }
    return gone > 0;
}

bool epochs_truncate_end(struct epochs *epochs, int64_t end_offset)
{
    size_t before = epochs->count;
    while (epochs->count > 0 && epochs->entries[epochs->count - 1].start_offset >= end_offset)
        epochs->count--;
    return epochs->count != before;
}

void epochs_print(const struct epochs *epochs, struct buf *out)
{
    buf_printf(out, "0\n%zu\n", epochs->count);
    for (size_t i = 0; i < epochs->count; i++)
        buf_printf(out, "%d %lld\n", epochs->entries[i].epoch,
                   (long long)epochs->entries[i].start_offset);
}

static bool take_line(struct str *rest, struct str *line)
{
    if (rest->len == 0)
        return false;
    const char *end = memchr(rest->data, '\n', rest->len);
    size_t len = end ? (size_t)(end - rest->data) : rest->len;
    *line = (struct str){rest->data, len};
    size_t used = end ? len + 1 : len;
    *rest = (struct str){rest->data + used, rest->len - used};
    return true;
}

enum err epochs_parse(struct epochs *epochs, struct str text)
{
    epochs->count = 0;
    struct str line;
    int64_t version, count;
    if (!take_line(&text, &line) || parse_i64(line, &version) != ERR_OK || version != 0)
        return ERR_MALFORMED;
    if (!take_line(&text, &line) || parse_i64(line, &count) != ERR_OK || count < 0 ||
        count > EPOCH_ENTRIES_MAX)
        return ERR_MALFORMED;
    for (int64_t i = 0; i < count; i++) {
        if (!take_line(&text, &line) || !line.data)
            return ERR_MALFORMED;
        const char *space = memchr(line.data, ' ', line.len);
        int64_t epoch, offset;
        if (!space)
            return ERR_MALFORMED;
        size_t at = (size_t)(space - line.data);
        if (parse_i64((struct str){line.data, at}, &epoch) != ERR_OK || epoch < 0 ||
            epoch > INT32_MAX)
            return ERR_MALFORMED;
        if (parse_i64((struct str){space + 1, line.len - at - 1}, &offset) != ERR_OK || offset < 0)
            return ERR_MALFORMED;
        TRY(epochs_add(epochs, (int32_t)epoch, offset));
    }
    return ERR_OK;
}
