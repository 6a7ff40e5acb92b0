/* The simulated disk; see disk.h for what survives what.
 *
 * Fates of a change that was not flushed, at a power cut: a write is kept, dropped, torn (a prefix
 * up to a sector boundary) or garbled (its size is kept, some of its sectors hold zeros or noise);
 * a truncation is kept or dropped; of a folder's names a prefix of the changes is kept. Every
 * change has its own fate, so a later write may survive an earlier one. */
#include "sim/disk.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

#define NAME_BYTES_MAX 256

enum change_kind { CHANGE_WRITE, CHANGE_TRUNCATE, CHANGE_LINK, CHANGE_UNLINK, CHANGE_RENAME };

struct change {
    struct list link;
    uint64_t number;
    enum change_kind kind;
    uint64_t offset; /* of a write; the new size of a truncation */
    size_t len;
    uint8_t *data;
    char *name, *to;
    struct disk_inode *inode;
};

/* The simulator has nothing to do without memory. */
static void *must(void *memory)
{
    ASSERT(memory);
    return memory;
}

/* --- content --- */

static void content_resize(struct disk_content *content, size_t len)
{
    if (len > content->cap) {
        size_t cap = content->cap ? content->cap : 1024;
        while (cap < len)
            cap *= 2;
        content->data = must(realloc(content->data, cap));
        content->cap = cap;
    }
    if (len > content->len)
        memset(content->data + content->len, 0, len - content->len);
    content->len = len;
}

static void content_write(struct disk_content *content, const void *data, size_t len,
                          uint64_t offset)
{
    if (len == 0)
        return;
    if (offset + len > content->len)
        content_resize(content, (size_t)offset + len);
    memcpy(content->data + offset, data, len);
}

static void content_copy(struct disk_content *to, const struct disk_content *from)
{
    content_resize(to, from->len);
    if (from->len > 0)
        memcpy(to->data, from->data, from->len);
}

/* --- names --- */

static struct disk_entry *names_find(const struct disk_names *names, const char *name)
{
    for (size_t i = 0; i < names->count; i++) {
        if (strcmp(names->entries[i].name, name) == 0)
            return &names->entries[i];
    }
    return NULL;
}

static void names_set(struct disk_names *names, const char *name, struct disk_inode *inode)
{
    struct disk_entry *entry = names_find(names, name);
    if (entry) {
        entry->inode = inode;
        return;
    }
    if (names->count == names->cap) {
        names->cap = names->cap ? names->cap * 2 : 8;
        names->entries = must(realloc(names->entries, names->cap * sizeof(*names->entries)));
    }
    names->entries[names->count++] = (struct disk_entry){must(strdup(name)), inode};
}

/* Harmless when there is no such name: a prefix of changes may name what never came to be. */
static void names_remove(struct disk_names *names, const char *name)
{
    struct disk_entry *entry = names_find(names, name);
    if (!entry)
        return;
    free(entry->name);
    *entry = names->entries[--names->count];
}

static void names_clear(struct disk_names *names)
{
    for (size_t i = 0; i < names->count; i++)
        free(names->entries[i].name);
    names->count = 0;
}

static void names_copy(struct disk_names *to, const struct disk_names *from)
{
    names_clear(to);
    for (size_t i = 0; i < from->count; i++)
        names_set(to, from->entries[i].name, from->entries[i].inode);
}

/* --- changes --- */

static struct change *change_add(struct disk_inode *inode, enum change_kind kind)
{
    struct change *change = must(calloc(1, sizeof(*change)));
    change->kind = kind;
    change->number = inode->change_next++;
    list_push_back(&inode->changes, &change->link);
    return change;
}

static void change_add_name(struct disk_inode *dir, enum change_kind kind, const char *name,
                            const char *to, struct disk_inode *inode)
{
    struct change *change = change_add(dir, kind);
    change->name = must(strdup(name));
    change->to = to ? must(strdup(to)) : NULL;
    change->inode = inode;
}

static void change_free(struct change *change)
{
    list_remove(&change->link);
    free(change->data);
    free(change->name);
    free(change->to);
    free(change);
}

static void change_apply_name(struct disk_names *names, const struct change *change)
{
    if (change->kind == CHANGE_LINK) {
        names_set(names, change->name, change->inode);
    } else if (change->kind == CHANGE_UNLINK) {
        names_remove(names, change->name);
    } else {
        names_remove(names, change->name);
        names_set(names, change->to, change->inode);
    }
}

static void change_apply(struct disk_inode *inode, const struct change *change)
{
    if (change->kind == CHANGE_WRITE)
        content_write(&inode->kept, change->data, change->len, change->offset);
    else if (change->kind == CHANGE_TRUNCATE)
        content_resize(&inode->kept, (size_t)change->offset);
    else
        change_apply_name(&inode->names_kept, change);
}

uint64_t disk_changes_mark(const struct disk_inode *inode)
{
    return inode->change_next;
}

static void changes_end(struct disk_inode *inode, uint64_t mark, bool keep)
{
    while (!list_is_empty(&inode->changes)) {
        struct change *change = LIST_ENTRY(inode->changes.next, struct change, link);
        if (change->number >= mark)
            return;
        if (keep)
            change_apply(inode, change);
        change_free(change);
    }
}

void disk_changes_keep(struct disk_inode *inode, uint64_t mark)
{
    changes_end(inode, mark, true);
}

void disk_changes_lose(struct disk_inode *inode, uint64_t mark)
{
    changes_end(inode, mark, false);
}

/* --- crash --- */

static size_t torn_len(const struct change *change, struct rng *rng)
{
    uint64_t end = change->offset + rng_below(rng, change->len + 1);
    end -= end % DISK_SECTOR_BYTES;
    return end > change->offset ? (size_t)(end - change->offset) : 0;
}

static void garble(struct change *change, struct rng *rng)
{
    for (size_t at = 0; at < change->len;) {
        size_t end = at + DISK_SECTOR_BYTES - (size_t)((change->offset + at) % DISK_SECTOR_BYTES);
        if (end > change->len)
            end = change->len;
        if (rng_chance(rng, 1, 3))
            memset(change->data + at, 0, end - at);
        else if (rng_chance(rng, 1, 3))
            rng_bytes(rng, change->data + at, end - at);
        at = end;
    }
}

static void write_meets_fate(struct disk_inode *inode, struct change *change, struct rng *rng)
{
    switch (rng_below(rng, 4)) {
    case 0:
        return; /* dropped */
    case 1:
        change->len = torn_len(change, rng);
        break;
    case 2:
        garble(change, rng);
        break;
    default:
        break; /* kept */
    }
    change_apply(inode, change);
}

static void file_crash(struct disk_inode *inode, struct rng *rng)
{
    /* Often all or nothing: what a short and a long time since the last write look like. */
    uint64_t mood = rng_below(rng, 4);
    LIST_FOREACH (node, &inode->changes) {
        struct change *change = LIST_ENTRY(node, struct change, link);
        if (mood == 0)
            change_apply(inode, change);
        else if (mood == 1)
            continue;
        else if (change->kind == CHANGE_WRITE)
            write_meets_fate(inode, change, rng);
        else if (rng_chance(rng, 1, 2))
            change_apply(inode, change);
    }
    disk_changes_lose(inode, UINT64_MAX);
    content_copy(&inode->now, &inode->kept);
}

static void dir_crash(struct disk_inode *inode, struct rng *rng)
{
    uint64_t first = inode->change_next;
    if (!list_is_empty(&inode->changes))
        first = LIST_ENTRY(inode->changes.next, struct change, link)->number;
    disk_changes_keep(inode, first + rng_below(rng, inode->change_next - first + 1));
    disk_changes_lose(inode, UINT64_MAX);
    names_copy(&inode->names_now, &inode->names_kept);
}

void disk_crash(struct disk *disk, enum disk_crash how, struct rng *rng)
{
    LIST_FOREACH (node, &disk->inodes) {
        struct disk_inode *inode = LIST_ENTRY(node, struct disk_inode, link);
        inode->lock_holder = 0;
        if (how == DISK_CRASH_PROCESS)
            continue;
        if (inode->is_dir)
            dir_crash(inode, rng);
        else
            file_crash(inode, rng);
    }
}

/* --- paths --- */

/* The next component of *path, which moves past it; false at the end. */
static bool path_next(const char **path, char name[NAME_BYTES_MAX])
{
    const char *at = *path;
    for (;;) {
        while (*at == '/')
            at++;
        if (at[0] != '.' || (at[1] != '/' && at[1] != '\0'))
            break;
        at++;
    }
    size_t len = strcspn(at, "/");
    ASSERT(len < NAME_BYTES_MAX);
    memcpy(name, at, len);
    name[len] = '\0';
    *path = at + len;
    return len > 0;
}

enum err disk_find(struct disk *disk, const char *path, struct disk_inode **inode)
{
    char name[NAME_BYTES_MAX];
    struct disk_inode *at = disk->root;
    while (path_next(&path, name)) {
        if (!at->is_dir)
            return ERR_NOENT;
        const struct disk_entry *entry = names_find(&at->names_now, name);
        if (!entry)
            return ERR_NOENT;
        at = entry->inode;
    }
    *inode = at;
    return ERR_OK;
}

/* The folder that holds the path's last component, and that component. */
static enum err find_parent(struct disk *disk, const char *path, struct disk_inode **dir,
                            char name[NAME_BYTES_MAX])
{
    char next[NAME_BYTES_MAX];
    struct disk_inode *at = disk->root;
    if (!path_next(&path, name))
        return ERR_EXISTS; /* the root itself */
    while (path_next(&path, next)) {
        const struct disk_entry *entry = names_find(&at->names_now, name);
        if (!entry || !entry->inode->is_dir)
            return ERR_NOENT;
        at = entry->inode;
        memcpy(name, next, strlen(next) + 1);
    }
    *dir = at;
    return ERR_OK;
}

static struct disk_inode *inode_new(struct disk *disk, bool is_dir, int64_t now_ms)
{
    struct disk_inode *inode = must(calloc(1, sizeof(*inode)));
    inode->is_dir = is_dir;
    inode->modified_ms = now_ms;
    list_init(&inode->changes);
    list_push_back(&disk->inodes, &inode->link);
    return inode;
}

static void link_name(struct disk_inode *dir, const char *name, struct disk_inode *inode)
{
    names_set(&dir->names_now, name, inode);
    change_add_name(dir, CHANGE_LINK, name, NULL, inode);
}

enum err disk_open(struct disk *disk, const char *path, int flags, int64_t now_ms,
                   struct disk_inode **inode)
{
    enum err err = disk_find(disk, path, inode);
    if (err == ERR_OK) {
        if ((flags & IO_OPEN_CREATE) && (flags & IO_OPEN_EXCLUSIVE))
            return ERR_EXISTS;
        if ((*inode)->is_dir && flags != IO_OPEN_READ)
            return ERR_IO;
        return flags & IO_OPEN_TRUNCATE ? disk_truncate(disk, *inode, 0, now_ms) : ERR_OK;
    }
    if (err != ERR_NOENT || !(flags & IO_OPEN_CREATE))
        return err;
    struct disk_inode *dir;
    char name[NAME_BYTES_MAX];
    TRY(find_parent(disk, path, &dir, name));
    *inode = inode_new(disk, false, now_ms);
    link_name(dir, name, *inode);
    return ERR_OK;
}

enum err disk_mkdir(struct disk *disk, const char *path, int64_t now_ms)
{
    struct disk_inode *dir;
    char name[NAME_BYTES_MAX];
    TRY(find_parent(disk, path, &dir, name));
    if (names_find(&dir->names_now, name))
        return ERR_EXISTS;
    link_name(dir, name, inode_new(disk, true, now_ms));
    return ERR_OK;
}

static enum err remove_name(struct disk *disk, const char *path, bool is_dir)
{
    struct disk_inode *dir;
    char name[NAME_BYTES_MAX];
    TRY(find_parent(disk, path, &dir, name));
    const struct disk_entry *entry = names_find(&dir->names_now, name);
    if (!entry)
        return ERR_NOENT;
    if (entry->inode->is_dir != is_dir)
        return is_dir ? ERR_NOENT : ERR_IO;
    if (entry->inode->names_now.count > 0)
        return ERR_EXISTS;
    names_remove(&dir->names_now, name);
    change_add_name(dir, CHANGE_UNLINK, name, NULL, NULL);
    return ERR_OK;
}

enum err disk_rmdir(struct disk *disk, const char *path)
{
    return remove_name(disk, path, true);
}

enum err disk_unlink(struct disk *disk, const char *path)
{
    return remove_name(disk, path, false);
}

enum err disk_rename(struct disk *disk, const char *from, const char *to)
{
    struct disk_inode *dir, *to_dir;
    char name[NAME_BYTES_MAX], to_name[NAME_BYTES_MAX];
    TRY(find_parent(disk, from, &dir, name));
    TRY(find_parent(disk, to, &to_dir, to_name));
    const struct disk_entry *entry = names_find(&dir->names_now, name);
    if (!entry)
        return ERR_NOENT;
    if (dir != to_dir)
        return ERR_UNSUPPORTED;
    struct disk_inode *inode = entry->inode;
    const struct disk_entry *old = names_find(&dir->names_now, to_name);
    if (old && old->inode == inode)
        return ERR_OK;
    if (old && old->inode->is_dir != inode->is_dir)
        return ERR_IO;
    if (old && old->inode->names_now.count > 0)
        return ERR_EXISTS;
    names_remove(&dir->names_now, name);
    names_set(&dir->names_now, to_name, inode);
    change_add_name(dir, CHANGE_RENAME, name, to_name, inode);
    return ERR_OK;
}

/* --- content, as programs see it --- */

void disk_read(const struct disk_inode *inode, void *data, size_t len, uint64_t offset,
               size_t *moved)
{
    *moved = 0;
    if (offset >= inode->now.len)
        return;
    size_t left = inode->now.len - (size_t)offset;
    *moved = left < len ? left : len;
    memcpy(data, inode->now.data + offset, *moved);
}

static uint64_t bytes_under(const struct disk_inode *inode)
{
    uint64_t bytes = inode->now.len;
    for (size_t i = 0; i < inode->names_now.count; i++)
        bytes += bytes_under(inode->names_now.entries[i].inode);
    return bytes;
}

uint64_t disk_bytes(const struct disk *disk)
{
    return bytes_under(disk->root);
}

static bool has_room(const struct disk *disk, const struct disk_inode *inode, uint64_t size)
{
    if (disk->bytes_max == UINT64_MAX || size <= inode->now.len)
        return true;
    return disk_bytes(disk) + (size - inode->now.len) <= disk->bytes_max;
}

enum err disk_write(struct disk *disk, struct disk_inode *inode, const void *data, size_t len,
                    uint64_t offset, int64_t now_ms)
{
    if (inode->is_dir)
        return ERR_IO;
    if (len == 0)
        return ERR_OK;
    if (!has_room(disk, inode, offset + len))
        return ERR_NOSPACE;
    content_write(&inode->now, data, len, offset);
    inode->modified_ms = now_ms;
    struct change *change = change_add(inode, CHANGE_WRITE);
    change->offset = offset;
    change->len = len;
    change->data = must(malloc(len));
    memcpy(change->data, data, len);
    return ERR_OK;
}

enum err disk_write_durable(struct disk *disk, struct disk_inode *inode, const void *data,
                            size_t len, uint64_t offset, int64_t now_ms)
{
    if (inode->is_dir)
        return ERR_IO;
    if (!has_room(disk, inode, offset + len))
        return ERR_NOSPACE;
    disk_changes_keep(inode, UINT64_MAX);
    content_write(&inode->now, data, len, offset);
    content_write(&inode->kept, data, len, offset);
    inode->modified_ms = now_ms;
    return ERR_OK;
}

enum err disk_truncate(struct disk *disk, struct disk_inode *inode, uint64_t size, int64_t now_ms)
{
    if (inode->is_dir)
        return ERR_IO;
    if (size == inode->now.len)
        return ERR_OK;
    if (!has_room(disk, inode, size))
        return ERR_NOSPACE;
    content_resize(&inode->now, (size_t)size);
    inode->modified_ms = now_ms;
    change_add(inode, CHANGE_TRUNCATE)->offset = size;
    return ERR_OK;
}

enum err disk_reserve(const struct disk *disk, const struct disk_inode *inode, uint64_t size)
{
    if (inode->is_dir)
        return ERR_IO;
    return has_room(disk, inode, size) ? ERR_OK : ERR_NOSPACE;
}

/* --- life --- */

void disk_init(struct disk *disk)
{
    *disk = (struct disk){.bytes_max = UINT64_MAX};
    list_init(&disk->inodes);
    disk->root = inode_new(disk, true, 0);
}

static void inode_free(struct disk_inode *inode)
{
    disk_changes_lose(inode, UINT64_MAX);
    names_clear(&inode->names_now);
    names_clear(&inode->names_kept);
    free(inode->names_now.entries);
    free(inode->names_kept.entries);
    free(inode->now.data);
    free(inode->kept.data);
    free(inode);
}

void disk_deinit(struct disk *disk)
{
    struct list *node;
    while ((node = list_pop_front(&disk->inodes)))
        inode_free(LIST_ENTRY(node, struct disk_inode, link));
}
