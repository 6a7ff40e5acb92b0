/* Runs a fuzz target over files: what is left of libFuzzer where there is none.
 *
 * Each file of the folders named on the command line goes to the target as it is, cut at several
 * lengths, and with some bytes changed, from a fixed seed. So every corpus is a regression test in
 * every build; finding new inputs is for `-Dfuzz=true` with clang. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/rng.h"

#define FILE_BYTES_MAX ((size_t)16 << 20)
#define CUTS           8
#define CHANGES        100

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static enum err file_load(const char *path, struct buf *bytes)
{
    FILE *file = fopen(path, "rb");
    if (!file)
        return ERR_NOENT;
    uint8_t piece[4096];
    for (size_t len; (len = fread(piece, 1, sizeof(piece), file)) > 0;)
        buf_put(bytes, piece, len);
    enum err err = ferror(file) ? ERR_IO : bytes->err;
    fclose(file);
    return err;
}

/* The target gets an allocation of exactly that length, so that ASan sees a read past its end. */
static void run(const uint8_t *data, size_t len)
{
    uint8_t *copy = malloc(len > 0 ? len : 1);
    if (!copy)
        abort();
    if (len > 0)
        memcpy(copy, data, len);
    LLVMFuzzerTestOneInput(copy, len);
    free(copy);
}

static void run_variants(struct buf *bytes, struct rng *rng)
{
    run(bytes->data, bytes->len);
    if (bytes->len == 0)
        return;
    for (int i = 0; i < CUTS; i++)
        run(bytes->data, (size_t)rng_below(rng, bytes->len));
    for (int i = 0; i < CHANGES; i++) {
        size_t at = (size_t)rng_below(rng, bytes->len);
        uint8_t before = bytes->data[at];
        bytes->data[at] = (uint8_t)rng_u64(rng);
        run(bytes->data, bytes->len);
        bytes->data[at] = before;
    }
}

static int run_folder(const char *folder)
{
    DIR *dir = opendir(folder);
    if (!dir) {
        fprintf(stderr, "%s: no such folder\n", folder);
        return -1;
    }
    int files = 0;
    struct rng rng;
    rng_init(&rng, 1);
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        if (entry->d_name[0] == '.')
            continue;
        char path[4096];
        snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
        struct buf bytes;
        buf_init(&bytes, FILE_BYTES_MAX);
        enum err err = file_load(path, &bytes);
        if (err == ERR_OK)
            run_variants(&bytes, &rng);
        buf_deinit(&bytes);
        if (err != ERR_OK) {
            fprintf(stderr, "%s: %s\n", path, err_text(err));
            files = -1;
            break;
        }
        files++;
    }
    closedir(dir);
    return files;
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        int files = run_folder(argv[i]);
        if (files <= 0) {
            fprintf(stderr, "%s: nothing was run\n", argv[i]);
            return 1;
        }
        printf("%s: %d files\n", argv[i], files);
    }
    return argc > 1 ? 0 : 2;
}
