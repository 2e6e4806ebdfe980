/* How RocksDB is opened: column families and options. Memory is bounded by one number, split in fixed shares:
 *
 *   1/2   memtables of users, at most 2
 *   1/8   memtables of popularity, at most 2
 *   1/16  memtables of sessions, at most 2, and as much of items that go together
 *   1/4   block cache (data, index and filter blocks)
 *
 * Memtables get most: a user written twice before a flush goes to disk once, while reads of the files are few (the
 * shards' caches stand before them) and the system's page cache serves them too.
 *
 * positions and meta are tiny: their memtables are 64 KiB. The log (WAL) is written but never synced by a write: a lost
 * tail takes state and position back together (RELIABILITY 2.2, row 12); state_sync bounds how far. */
#include "state/internal.h"

const char *const state__family_names[FAMILY_COUNT] = {
    "default", "positions", "users", "popularity", "sessions", "related", "guards"};

enum {
    MIB = 1 << 20,
    OPEN_FILES_MAX = 256,
    BLOCK_BYTES = 8 * 1024, /* two users or so */
    CHECKSUM_XXH3 = 4,      /* rocksdb::ChecksumType kXXH3; the C header has no name for it */
};

static size_t at_least(size_t n, size_t floor)
{
    return n > floor ? n : floor;
}

static void set_memtables(rocksdb_options_t *options, size_t bytes, int count)
{
    rocksdb_options_set_write_buffer_size(options, bytes);
    rocksdb_options_set_max_write_buffer_number(options, count);
    rocksdb_options_set_arena_block_size(options, bytes / 8);
}

/* Values are mostly floats and hashes: no compression pays only for users (bench/state_bench.c has the numbers). */
static rocksdb_options_t *family_new(struct state *state, enum state__family family, size_t bytes)
{
    rocksdb_options_t *options = rocksdb_options_create();
    rocksdb_options_set_block_based_table_factory(options, state->table);
    rocksdb_options_set_compression(options, family == FAMILY_POPULARITY ? rocksdb_lz4_compression
                                                                         : rocksdb_no_compression);
    if (family == FAMILY_USERS)
        set_memtables(options, at_least(bytes / 4, 256 * 1024), 2);
    else if (family == FAMILY_POPULARITY)
        set_memtables(options, at_least(bytes / 16, 256 * 1024), 2);
    else if (family == FAMILY_SESSIONS || family == FAMILY_RELATED)
        set_memtables(options, at_least(bytes / 32, 256 * 1024), 2);
    else
        set_memtables(options, 64 * 1024, 2);
    rocksdb_options_set_target_file_size_base(options, 16 * MIB);
    rocksdb_options_set_level_compaction_dynamic_level_bytes(options, 1);
    return options;
}

/* Options of the database as a whole are read from the first family's. */
static void set_database(rocksdb_options_t *options, size_t bytes, bool readonly)
{
    rocksdb_options_set_create_if_missing(options, 1);
    rocksdb_options_set_create_missing_column_families(options, 1);
    rocksdb_options_set_max_background_jobs(options, 2);
    rocksdb_options_set_max_open_files(options, readonly ? -1 : OPEN_FILES_MAX);
    rocksdb_options_set_max_total_wal_size(options, at_least(bytes, 4 * MIB));
    rocksdb_options_set_bytes_per_sync(options, MIB);
    /* The manifest names the first and last key of each file, also of those that are gone: it is written anew with each flush, so that
     * it forgets an erased user (state/purge.c). Some 150 bytes for each file of 16 MiB. */
    rocksdb_options_set_max_manifest_file_size(options, 1);
    state__room_set(options);
    rocksdb_options_set_stats_dump_period_sec(options, 0);
    rocksdb_options_set_stats_persist_period_sec(options, 0);
}

void state__setup_init(struct state *state, size_t bytes)
{
    state->cache = rocksdb_cache_create_lru(at_least(bytes / 4, MIB));
    state->table = rocksdb_block_based_options_create();
    rocksdb_block_based_options_set_block_cache(state->table, state->cache);
    rocksdb_block_based_options_set_filter_policy(state->table,
                                                  rocksdb_filterpolicy_create_bloom_full(10));
    rocksdb_block_based_options_set_cache_index_and_filter_blocks(state->table, 1);
    rocksdb_block_based_options_set_cache_index_and_filter_blocks_with_high_priority(state->table,
                                                                                     1);
    rocksdb_block_based_options_set_pin_l0_filter_and_index_blocks_in_cache(state->table, 1);
    rocksdb_block_based_options_set_block_size(state->table, BLOCK_BYTES);
    rocksdb_block_based_options_set_format_version(state->table, 5);
    /* The default, CRC32C, is plain C in Debian's build, about 1 GB/s; XXH3 is vector code and many times as fast. */
    rocksdb_block_based_options_set_checksum(state->table, CHECKSUM_XXH3);
    for (int i = 0; i < FAMILY_COUNT; i++)
        state->family_options[i] = family_new(state, (enum state__family)i, bytes);
    set_database(state->family_options[FAMILY_META], bytes, state->readonly);
    state->read = rocksdb_readoptions_create();
    state->write = rocksdb_writeoptions_create();
    rocksdb_writeoptions_set_sync(state->write, 0);
}

void state__setup_fini(struct state *state)
{
    if (state->write) rocksdb_writeoptions_destroy(state->write);
    if (state->read) rocksdb_readoptions_destroy(state->read);
    for (int i = 0; i < FAMILY_COUNT; i++)
        if (state->family_options[i]) rocksdb_options_destroy(state->family_options[i]);
    if (state->table) rocksdb_block_based_options_destroy(state->table);
    if (state->cache) rocksdb_cache_destroy(state->cache);
}
