/* Planted bugs: mistakes that a build can be given on purpose, to prove that the simulator's
 * checkers would see them. `meson setup -Dplant=NAME`; none in any other build, where PLANTED is
 * constant and false. sim/plants.py builds and judges each. */
#ifndef BASE_PLANT_H
#define BASE_PLANT_H

enum plant {
    PLANT_NONE,
    PLANT_ACK_BEFORE_FLUSH,       /* acks=all is answered when the bytes are in the page cache */
    PLANT_IGNORE_FAILED_FLUSH,    /* as if it had worked */
    PLANT_ACCEPT_REPEATS,         /* no detection of duplicates */
    PLANT_FORGET_PRODUCERS,       /* their state is not rebuilt at start */
    PLANT_SKIP_OFFSET_AT_ROLL,    /* the first append of a segment is followed by a gap */
    PLANT_TRUST_TORN_TAIL,        /* recovery does not look at checksums */
    PLANT_CUT_ONE_BATCH_TOO_MANY, /* recovery drops the last whole batch */
    PLANT_COMPACT_DROP_NEWEST,    /* a key's newest record goes, now and then */
    PLANT_COMPACT_SWAP_UNSYNCED,  /* a compacted segment takes others' place before its flush */
    PLANT_COMPACT_LAST_BATCHES,   /* a producer's last batch goes like any other */
    PLANT_TOMBSTONE_EARLY,        /* by a millisecond */
    PLANT_DELETE_UNWRITTEN,       /* DeleteRecords is answered before it is durable */
    PLANT_TRUST_STALE_MANIFEST,   /* though a later run did not write it */
    PLANT_FORGET_MARK,            /* a change does not take back what the manifest says */
    PLANT_UNSYNCED_MARK,          /* a flush counts though its mark may be lost */
    PLANT_WAL_ACK_EARLY, /* acks=all is answered when the write-ahead log is being written */
    PLANT_WAL_REUSE_BEFORE_FLUSH, /* a full file is used again at once */
    PLANT_WAL_TRUST_OLD_COMMITS,  /* what an earlier use of a file left counts, too */
    PLANT_WAL_ACK_OUT_OF_ORDER,   /* though a commit before it is still being written */
    PLANT_WAL_FORGET_REPLAY,      /* the next start does not look into it */
    PLANT_WAL_DROP_BEFORE_FLUSH,  /* the files of the last run go when they were read */
    PLANT_TRUST_FAILED_CACHE,     /* after a failed flush, what the page cache shows is believed */
    PLANT_COORD_TAKEN_TWICE,      /* a member gets what another still has */
    PLANT_COORD_FREED_EARLY,      /* what a member must give back is free before it says so */
    PLANT_COORD_FORGET_PENDING,   /* likewise, after the log was read */
    PLANT_COORD_OLD_GENERATION,   /* a commit of an earlier generation is taken */
    PLANT_COORD_OLD_EPOCH,        /* likewise of an epoch in which it had the partition */
    PLANT_COORD_OLD_SYNC,         /* a leader of an earlier generation assigns */
    PLANT_COORD_LOST_OFFSETS,     /* a group's tombstone takes its offsets along */
    PLANT_COORD_HALF_DELETED,     /* a member's target outlives it in the log */
    PLANT_COORD_NO_SESSIONS,      /* none begin when the log was read */
    PLANT_COORD_KEPT_ID,          /* an id that was given out stays when its member joins */
};

#ifndef TAFFRAIL_PLANT
#define TAFFRAIL_PLANT PLANT_NONE
#endif

#define PLANTED(name) (TAFFRAIL_PLANT == PLANT_##name)

#endif
