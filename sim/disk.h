/* A simulated disk: what a file system shows while it runs, and what it would still have after a
 * crash.
 *
 * Each file has its content as programs see it (`now`), the content that is sure to survive
 * (`kept`), and the writes and truncations between the two, in order. Each folder has the same for
 * its names. A flush of a file moves its writes to `kept`; names move only when their folder is
 * flushed. That is weaker than what ext4 does (there a flush of one file commits every name before
 * it) and as weak as what POSIX promises, except that the names of one folder change in order. */
#ifndef SIM_DISK_H
#define SIM_DISK_H

#include "base/list.h"
#include "base/rng.h"
#include "io/io.h"

#define DISK_SECTOR_BYTES 512

struct disk_content {
    uint8_t *data;
    size_t len, cap;
};

struct disk_entry {
    char *name;
    struct disk_inode *inode;
};

struct disk_names {
    struct disk_entry *entries;
    size_t count, cap;
};

struct disk_inode {
    struct list link; /* disk->inodes: never freed before the disk */
    bool is_dir;
    uint64_t change_next; /* numbers `changes` */
    struct list changes;  /* not kept yet: of content, or of names in a folder */
    struct disk_content now, kept;
    struct disk_names names_now, names_kept;
    int64_t modified_ms;
    int lock_holder; /* the program's number for who; 0: unlocked */
};

struct disk {
    struct list inodes;
    struct disk_inode *root;
    uint64_t bytes_max; /* of all files that have a name; over it: ERR_NOSPACE */
};

enum disk_crash {
    DISK_CRASH_PROCESS, /* kill -9: the system goes on and keeps all that was written */
    DISK_CRASH_POWER,   /* each change that was not flushed meets its own fate */
};

void disk_init(struct disk *disk);
void disk_deinit(struct disk *disk);
/* Locks are gone; open files must not be used any more. */
void disk_crash(struct disk *disk, enum disk_crash how, struct rng *rng);

/* Of all files that have a name. */
uint64_t disk_bytes(const struct disk *disk);

enum err disk_open(struct disk *disk, const char *path, int flags, int64_t now_ms,
                   struct disk_inode **inode) MUST_USE;
enum err disk_find(struct disk *disk, const char *path, struct disk_inode **inode) MUST_USE;
enum err disk_mkdir(struct disk *disk, const char *path, int64_t now_ms) MUST_USE;
enum err disk_rmdir(struct disk *disk, const char *path) MUST_USE;
/* Inside one folder only. */
enum err disk_rename(struct disk *disk, const char *from, const char *to) MUST_USE;
enum err disk_unlink(struct disk *disk, const char *path) MUST_USE;

/* Reads at most len; *moved is less at the end of the file. */
void disk_read(const struct disk_inode *inode, void *data, size_t len, uint64_t offset,
               size_t *moved);
/* ERR_NOSPACE writes nothing. */
enum err disk_write(struct disk *disk, struct disk_inode *inode, const void *data, size_t len,
                    uint64_t offset, int64_t now_ms) MUST_USE;
/* The same, and sure to survive, as is what was written before: a later change never comes back
 * under it. */
enum err disk_write_durable(struct disk *disk, struct disk_inode *inode, const void *data,
                            size_t len, uint64_t offset, int64_t now_ms) MUST_USE;
enum err disk_truncate(struct disk *disk, struct disk_inode *inode, uint64_t size,
                       int64_t now_ms) MUST_USE;
/* Whether there is room for so long a file; nothing is set aside. */
enum err disk_reserve(const struct disk *disk, const struct disk_inode *inode,
                      uint64_t size) MUST_USE;

/* A flush covers the changes numbered below what this gave when it began. */
uint64_t disk_changes_mark(const struct disk_inode *inode);
/* A flush that worked. */
void disk_changes_keep(struct disk_inode *inode, uint64_t mark);
/* A flush that failed: the system forgets that these were not written. Programs still read them;
 * a crash loses them, whatever is flushed later. */
void disk_changes_lose(struct disk_inode *inode, uint64_t mark);

#endif
