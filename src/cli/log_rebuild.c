/* The second half of log repair: a partition whose batches are sound is opened as after a crash and
 * closed as by a clean stop, which makes its indexes, snapshots and epochs anew. */
#include <stdio.h>
#include <stdlib.h>

#include "cli/log.h"
#include "cli/out.h"
#include "log/log.h"
#include "log/logdir.h"
#include "log/manifest.h"

#define PATH_MAX_BYTES 1024

static int refuse(const char *path, const char *what, enum err err)
{
    fprintf(stderr, "taffrail: %s: %s: %s\n", path, what, err_text(err));
    return EXIT_REFUSED;
}

static void on_advance(struct log_owner *owner, size_t bytes)
{
    (void)owner;
    (void)bytes;
}

static void on_failure(struct log_owner *owner, enum err err, const char *what)
{
    (void)owner;
    fprintf(stderr, "taffrail: %s: %s\n", what, err_text(err));
}

/* No record is left behind the log's end that was said to be flushed. */
static enum err lower_recovery_point(struct io *io, const char *folder, const char *parent,
                                     int64_t end_offset)
{
    char path[PATH_MAX_BYTES + 64];
    uint8_t *data;
    size_t len;
    snprintf(path, sizeof(path), "%s/" LOGDIR_RECOVERY_POINTS, parent);
    enum err err = io_read_file(io, path, (size_t)256 << 20, &data, &len);
    if (err != ERR_OK)
        return err == ERR_NOENT ? ERR_OK : err;
    const char *name = strrchr(folder, '/') + 1;
    int stem = (int)(strrchr(name, '-') - name);
    char key[300];
    struct buf out;
    buf_init(&out, BUF_NO_LIMIT);
    int key_len = snprintf(key, sizeof(key), "\n%.*s %s ", stem, name, name + stem + 1);
    char *at = strstr((char *)data, key);
    int64_t point = at ? strtoll(at + key_len, NULL, 10) : 0;
    if (point > end_offset) {
        const char *line_end = strchr(at + key_len, '\n');
        buf_printf(&out, "%.*s%lld%s", (int)(at + key_len - (char *)data), (char *)data,
                   (long long)end_offset, line_end ? line_end : "");
        err = out.err != ERR_OK ? out.err : io_replace_file(io, path, buf_slice(&out));
    }
    buf_deinit(&out);
    free(data);
    return err;
}

int log_rebuild(struct io *io, const char *folder, const char *parent)
{
    struct log_config config = {.segment_bytes = 1 << 30,
                                .segment_ms = INT64_MAX,
                                .segment_index_bytes = 10 << 20,
                                .index_interval_bytes = 4096,
                                .retention_ms = -1,
                                .retention_bytes = -1,
                                .flush_messages = INT64_MAX,
                                .flush_ms = INT64_MAX,
                                .producer_expiration_ms = INT64_MAX};
    struct log_open_options options = {.clean_shutdown = false, .log_start_offset = -1};
    struct log_owner owner = {on_advance, on_failure};
    struct log_problem problem;
    struct log *log;
    enum err err = manifest_remove_all(io, parent, 0);
    if (err != ERR_OK)
        return refuse(parent, "the manifest cannot be removed", err);
    err = log_open(io, folder, &config, &options, &owner, &log, &problem);
    if (err != ERR_OK)
        return refuse(folder, problem.text[0] ? problem.text : "it cannot be opened", err);
    int64_t end_offset = log_end_offset(log);
    err = log_close(log);
    if (err == ERR_OK)
        err = lower_recovery_point(io, folder, parent, end_offset);
    return err == ERR_OK ? EXIT_FINE : refuse(folder, "it cannot be written", err);
}
