/* Our side of the differential coordinator test; CoordDifferential.java is Apache Kafka's.
 *
 *   driver generate N SEED    N invented cases, one on each line
 *   driver answer             reads cases; prints for each what we make of it
 *   driver compare A B        two outputs of answer, ours and Kafka's, and the cases on stdin
 *
 * A case is one of
 *
 *   uniform|range TOPICS COUNT... MEMBERS {ID INSTANCE|- N TOPIC...}... OWNER...
 *   hash {NAME:ID:RACKS,RACKS...}...
 *   regex PATTERN
 *
 * where OWNER is the member that has a partition now, -1 for nobody, topic by topic. Answers:
 * "owners OWNER...", "hash NUMBER", and "matches NAME..." or "invalid". */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "coord/assignor.h"
#include "coord/topic_hash.h"
#include "coord/topic_regex.h"

#define TOPICS_MAX  12
#define MEMBERS_MAX 20
#define COUNT_MAX   16

struct instance {
    enum assignor assignor;
    uint32_t topic_count;
    struct assignor_topic topics[TOPICS_MAX];
    uint32_t member_count;
    struct assignor_member members[MEMBERS_MAX];
    uint32_t subscribed[MEMBERS_MAX][TOPICS_MAX];
    int32_t owners[TOPICS_MAX][COUNT_MAX];
};

static struct arena arena;

static void must(bool ok, const char *what)
{
    if (ok)
        return;
    fprintf(stderr, "driver: %s\n", what);
    exit(2);
}

/* --- generate --- */

static void generate_group(struct rng *rng)
{
    static const char *const names[] = {"uniform", "range"};
    uint32_t topics = (uint32_t)rng_range(rng, 1, TOPICS_MAX);
    uint32_t members = (uint32_t)rng_range(rng, 1, MEMBERS_MAX);
    int32_t counts[TOPICS_MAX];
    bool subscribes[MEMBERS_MAX][TOPICS_MAX];
    bool all_same = rng_chance(rng, 1, 2);
    bool equal_counts = rng_chance(rng, 1, 3);
    printf("%s %u", names[rng_below(rng, 2)], topics);
    for (uint32_t t = 0; t < topics; t++) {
        counts[t] = t > 0 && equal_counts ? counts[0] : (int32_t)rng_range(rng, 1, COUNT_MAX);
        printf(" %d", counts[t]);
    }
    printf(" %u", members);
    for (uint32_t m = 0; m < members; m++) {
        char instance[16] = "-";
        if (rng_chance(rng, 1, 4))
            (void)snprintf(instance, sizeof(instance), "i%02u", (uint32_t)(MEMBERS_MAX - m));
        printf(" m%02u-%02u %s", m, (uint32_t)rng_below(rng, 100), instance);
        uint32_t count = 0;
        for (uint32_t t = 0; t < topics; t++) {
            subscribes[m][t] = all_same ? m == 0 || subscribes[0][t] : rng_chance(rng, 2, 3);
            count += subscribes[m][t];
        }
        printf(" %u", count);
        for (uint32_t t = 0; t < topics; t++)
            if (subscribes[m][t])
                printf(" %u", t);
    }
    /* What they have: nothing, all of something balanced by chance, or anything. */
    uint64_t had = rng_below(rng, 4);
    uint32_t old_members = (uint32_t)rng_range(rng, 1, members);
    for (uint32_t t = 0; t < topics; t++)
        for (int32_t p = 0; p < counts[t]; p++) {
            uint32_t m = (uint32_t)rng_below(rng, old_members);
            bool has = had > 0 && (had > 1 || rng_chance(rng, 1, 2));
            printf(" %d", has && (had == 3 || subscribes[m][t]) ? (int)m : -1);
        }
    printf("\n");
}

static void generate_hash(struct rng *rng)
{
    static const char *const racks[] = {"-", "a", "a+b", "eu-west-1a+us",
                                        "\xc3\xa4+\xf0\x9f\x98\x80"};
    printf("hash");
    uint32_t count = (uint32_t)rng_range(rng, 1, 5);
    for (uint32_t i = 0; i < count; i++) {
        struct uuid id;
        char text[UUID_TEXT_LEN + 1];
        rng_bytes(rng, id.bytes, sizeof(id.bytes));
        uuid_format(id, text);
        printf(" topic-%u:%s:", i, text);
        uint32_t partitions = (uint32_t)rng_range(rng, 1, rng_chance(rng, 1, 10) ? 300 : 10);
        for (uint32_t p = 0; p < partitions; p++)
            printf("%s%s", p ? "," : "", racks[rng_below(rng, 5)]);
    }
    printf("\n");
}

static void generate_regex(struct rng *rng)
{
    static const char *const pieces[] = {
        "a",    "b",    "foo", "orders", ".",   "*",      "+",     "?",    "|",
        "(",    ")",    "[",   "]",      "^",   "$",      "{",     "}",    "{2}",
        "{1,}", "-",    "\\",  "\\d",    "\\w", "\\.",    "(?:",   "(?i)", "[a-z]",
        "[^a]", "\\pL", "\\b", "1",      ",",   "(?P<n>", "(?-i:", ".*",   "_"};
    printf("regex ");
    uint32_t count = (uint32_t)rng_range(rng, 1, 8);
    for (uint32_t i = 0; i < count; i++)
        printf("%s", pieces[rng_below(rng, ARRAY_LEN(pieces))]);
    printf("\n");
}

static void generate(size_t count, uint64_t seed)
{
    struct rng rng;
    rng_init(&rng, seed);
    for (size_t i = 0; i < count; i++) {
        uint64_t kind = rng_below(&rng, 10);
        if (kind < 5)
            generate_group(&rng);
        else if (kind < 6)
            generate_hash(&rng);
        else
            generate_regex(&rng);
    }
}

/* --- reading a case --- */

static struct str word(char **at)
{
    char *start = *at;
    must(start && *start, "a case ends early");
    char *end = strchr(start, ' ');
    *at = end ? end + 1 : NULL;
    if (end)
        *end = '\0';
    return str_of(start);
}

static int32_t number(char **at)
{
    return (int32_t)strtol(word(at).data, NULL, 10);
}

static void read_owners(struct instance *in, char **at, int32_t owners[TOPICS_MAX][COUNT_MAX])
{
    for (uint32_t t = 0; t < in->topic_count; t++)
        for (int32_t p = 0; p < in->topics[t].partition_count; p++)
            owners[t][p] = number(at);
}

static void set_current(struct instance *in)
{
    for (uint32_t m = 0; m < in->member_count; m++) {
        struct assignment_builder builder;
        assignment_builder_init(&builder, &arena, false);
        for (uint32_t t = 0; t < in->topic_count; t++)
            for (int32_t p = 0; p < in->topics[t].partition_count; p++)
                if (in->owners[t][p] == (int32_t)m)
                    must(!assignment_builder_add(&builder, in->topics[t].id, p, 0), "memory");
        struct assignment *current = arena_zalloc(&arena, sizeof(*current));
        must(current && !assignment_builder_finish(&builder, current), "memory");
        in->members[m].current = current;
    }
}

static void read_group(struct instance *in, char *line)
{
    *in = (struct instance){0};
    must(assignor_of_name(word(&line), &in->assignor), "no such assignor");
    in->topic_count = (uint32_t)number(&line);
    for (uint32_t t = 0; t < in->topic_count; t++) {
        in->topics[t].id.bytes[15] = (uint8_t)(t + 1);
        in->topics[t].partition_count = number(&line);
    }
    in->member_count = (uint32_t)number(&line);
    for (uint32_t m = 0; m < in->member_count; m++) {
        struct assignor_member *member = &in->members[m];
        member->member_id = word(&line);
        member->instance_id = word(&line);
        if (str_eq_cstr(member->instance_id, "-"))
            member->instance_id = STR_NULL;
        member->topic_count = (uint32_t)number(&line);
        for (uint32_t i = 0; i < member->topic_count; i++)
            in->subscribed[m][i] = (uint32_t)number(&line);
        member->topics = in->subscribed[m];
    }
    read_owners(in, &line, in->owners);
    set_current(in);
}

/* --- answer --- */

static void answer_group(char *line)
{
    static struct instance in;
    read_group(&in, line);
    struct assignor_group group = {in.topics, in.topic_count, in.members, in.member_count, &arena};
    must(!assignor_assign(in.assignor, &group), "assign");
    printf("owners");
    for (uint32_t t = 0; t < in.topic_count; t++)
        for (int32_t p = 0; p < in.topics[t].partition_count; p++) {
            int owner = -1;
            for (uint32_t m = 0; m < in.member_count; m++)
                if (assignment_has(&in.members[m].target, in.topics[t].id, p))
                    owner = (int)m;
            printf(" %d", owner);
        }
    printf("\n");
}

static uint64_t hash_topic(char *text)
{
    char *id_text = strchr(text, ':');
    char *racks = id_text ? strchr(id_text + 1, ':') : NULL;
    must(racks != NULL, "a topic without racks");
    *id_text++ = '\0';
    *racks++ = '\0';
    struct uuid id;
    must(uuid_parse(str_of(id_text), &id), "an id");
    int32_t count = 1;
    for (const char *c = racks; *c; c++)
        count += *c == ',';
    struct topic_hash *hash = topic_hash_begin(id, str_of(text), count);
    must(hash != NULL, "memory");
    for (int32_t p = 0; p < count; p++) {
        topic_hash_partition(hash, p);
        char *end = strchr(racks, ',');
        if (end)
            *end = '\0';
        for (char *rack = strcmp(racks, "-") ? racks : NULL; rack;) {
            char *plus = strchr(rack, '+');
            if (plus)
                *plus = '\0';
            topic_hash_rack(hash, str_of(rack));
            rack = plus ? plus + 1 : NULL;
        }
        racks = end ? end + 1 : racks;
    }
    return topic_hash_end(hash);
}

static void answer_hash(char *line)
{
    uint64_t hashes[16];
    size_t count = 0;
    (void)word(&line);
    while (line)
        hashes[count++] = hash_topic((char *)(uintptr_t)word(&line).data);
    printf("hash %" PRId64 "\n", (int64_t)topic_hash_of_group(hashes, count));
}

static void answer_regex(const char *pattern)
{
    static const char *const names[] = {"a",       "ab",     "abc",       "A",
                                        "foo",     "foobar", "foo-1",     "foo.bar",
                                        "foo_bar", "orders", "orders-eu", "orders.eu.1",
                                        "x1",      "1",      "10",        "__consumer_offsets"};
    struct topic_regex *regex;
    char why[TOPIC_REGEX_WHY_MAX];
    enum err err = topic_regex_compile(str_of(pattern), &regex, why);
    must(err != ERR_NOMEM, "memory");
    printf(err ? "invalid" : "matches");
    for (size_t i = 0; !err && i < ARRAY_LEN(names); i++)
        if (topic_regex_matches(regex, str_of(names[i])))
            printf(" %s", names[i]);
    printf("\n");
    topic_regex_free(regex);
}

static void answer(char *line)
{
    arena_reset(&arena);
    if (!strncmp(line, "regex ", 6))
        answer_regex(line + 6);
    else if (!strncmp(line, "hash ", 5))
        answer_hash(line);
    else
        answer_group(line);
}

/* --- compare --- */

struct merit {
    bool is_whole;   /* nobody has what it did not ask for; nothing is left over */
    uint64_t spread; /* sum of the squares of loads */
    uint32_t moved;
};

static struct merit judge(struct instance *in, char *line)
{
    static int32_t owners[TOPICS_MAX][COUNT_MAX];
    uint32_t load[MEMBERS_MAX] = {0};
    struct merit merit = {.is_whole = true};
    (void)word(&line);
    read_owners(in, &line, owners);
    for (uint32_t t = 0; t < in->topic_count; t++) {
        bool is_wanted = false;
        for (uint32_t m = 0; m < in->member_count; m++)
            for (uint32_t i = 0; i < in->members[m].topic_count; i++)
                is_wanted |= in->subscribed[m][i] == t;
        for (int32_t p = 0; p < in->topics[t].partition_count; p++) {
            int32_t m = owners[t][p];
            merit.is_whole &= is_wanted == (m >= 0);
            if (m < 0)
                continue;
            bool subscribes = false;
            for (uint32_t i = 0; i < in->members[m].topic_count; i++)
                subscribes |= in->subscribed[m][i] == t;
            merit.is_whole &= subscribes;
            load[m]++;
            merit.moved += in->owners[t][p] >= 0 && in->owners[t][p] != m;
        }
    }
    for (uint32_t m = 0; m < in->member_count; m++)
        merit.spread += (uint64_t)load[m] * load[m];
    return merit;
}

static bool subscribes_to_all(const struct instance *in)
{
    for (uint32_t m = 0; m < in->member_count; m++)
        if (in->members[m].topic_count != in->topic_count)
            return false;
    return true;
}

/* Where subscriptions differ, both stop at a balance that no single move of one topic improves;
 * which of several such is found depends on the order of members, so there the sums decide, over
 * all cases: ours may be worse by a hundredth. */
static struct merit total_ours, total_theirs;

static bool compare_group(char *line, char *ours, char *theirs)
{
    static struct instance in;
    arena_reset(&arena);
    if (!strcmp(ours, theirs))
        return true;
    read_group(&in, line);
    if (in.assignor == ASSIGNOR_RANGE)
        return false;
    struct merit a = judge(&in, ours);
    struct merit b = judge(&in, theirs);
    total_ours.spread += a.spread;
    total_theirs.spread += b.spread;
    total_ours.moved += a.moved;
    total_theirs.moved += b.moved;
    return a.is_whole && (!subscribes_to_all(&in) || (a.spread <= b.spread && a.moved <= b.moved));
}

/* What one accepts and the other does not, on purpose: a match that RE2 would need far too much
 * memory for is refused here. */
static bool may_differ(const char *line)
{
    return !strcmp(line, "regex (a{1000}){1000}") || !strcmp(line, "regex ((a{100}){100}){100}");
}

static int compare(const char *our_path, const char *their_path)
{
    FILE *ours = fopen(our_path, "r");
    FILE *theirs = fopen(their_path, "r");
    must(ours && theirs, "cannot open what to compare");
    static char line[3][1 << 16];
    size_t count = 0;
    size_t different = 0;
    while (fgets(line[0], sizeof(line[0]), stdin)) {
        static char whole[1 << 16];
        must(fgets(line[1], sizeof(line[1]), ours) && fgets(line[2], sizeof(line[2]), theirs),
             "fewer answers than cases");
        for (int i = 0; i < 3; i++)
            line[i][strcspn(line[i], "\n")] = '\0';
        memcpy(whole, line[0], sizeof(whole));
        char shown[2][200];
        (void)snprintf(shown[0], sizeof(shown[0]), "%.199s", line[1]);
        (void)snprintf(shown[1], sizeof(shown[1]), "%.199s", line[2]);
        bool is_group = !strncmp(line[0], "uniform", 7) || !strncmp(line[0], "range", 5);
        bool same = is_group ? compare_group(line[0], line[1], line[2])
                             : !strcmp(line[1], line[2]) || may_differ(line[0]);
        count++;
        if (same)
            continue;
        if (different++ < 20)
            printf("case    %.300s\nours    %s\ntheirs  %s\n", whole, shown[0], shown[1]);
    }
    (void)fclose(ours);
    (void)fclose(theirs);
    printf("uniform where they differ: spread %" PRIu64 " against %" PRIu64 ", moved %" PRIu32
           " against %" PRIu32 "\n",
           total_ours.spread, total_theirs.spread, total_ours.moved, total_theirs.moved);
    bool is_worse = total_ours.spread > total_theirs.spread + total_theirs.spread / 100 ||
                    total_ours.moved > total_theirs.moved + total_theirs.moved / 100;
    printf("%zu passed, %zu failed\n", count - different, different + is_worse);
    return different > 0 || is_worse;
}

int main(int argc, char **argv)
{
    arena_init(&arena, (size_t)64 << 20);
    int status = 0;
    if (argc == 4 && !strcmp(argv[1], "generate")) {
        generate(strtoul(argv[2], NULL, 10), strtoul(argv[3], NULL, 10));
    } else if (argc == 2 && !strcmp(argv[1], "answer")) {
        static char line[1 << 16];
        while (fgets(line, sizeof(line), stdin)) {
            line[strcspn(line, "\n")] = '\0';
            answer(line);
        }
    } else if (argc == 4 && !strcmp(argv[1], "compare")) {
        status = compare(argv[2], argv[3]);
    } else {
        fprintf(stderr, "usage: see the head of driver.c\n");
        status = 2;
    }
    arena_deinit(&arena);
    return status;
}
