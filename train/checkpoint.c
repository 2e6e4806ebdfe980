/* Checkpoints.
 *
 *   OFFSET  SIZE  MEANING                                    numbers as the machine has them (little-endian)
 *   0       8     "frstckpt"
 *   8       4     format: 1
 *   12      4     S, bytes of the settings
 *   16      8     bytes of the whole file
 *   24      S     settings: lines "name value"
 *   ..            the pieces, one behind the other
 *   ..      8     XXH3-64 of all bytes before
 */
#include "train/checkpoint.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <xxhash.h>

#include "base/mem.h"
#include "train/outfile.h"

enum { FORMAT = 1, CHUNK = 1 << 16 };
static const char MAGIC[8] = "frstckpt";

struct header {
    char magic[8];
    uint32_t format;
    uint32_t settings;
    uint64_t bytes;
};

/* ---- settings ---- */

static void hash_spans(XXH3_state_t *hash, const struct train__span *spans, int n)
{
    for (int i = 0; i < n; i++) {
        const uint64_t fields[] = {spans[i].begin, spans[i].end, (uint64_t)spans[i].tail};
        (void)XXH3_64bits_update(hash, fields, sizeof fields);
    }
}

/* Over all that is learnt from and judged by. */
static uint64_t hash_plan(const struct train__plan *plan)
{
    XXH3_state_t *hash = XXH3_createState();
    size_t n_events = 0;
    (void)XXH3_64bits_reset(hash);
    for (int i = 0; i < plan->N; i++) {
        (void)XXH3_64bits_update(hash, &plan->ids[i].len, sizeof plan->ids[i].len);
        (void)XXH3_64bits_update(hash, plan->ids[i].ptr, plan->ids[i].len);
    }
    hash_spans(hash, plan->sequences, plan->n_sequences);
    hash_spans(hash, plan->held_out, plan->n_held_out);
    for (int i = 0; i < plan->n_sequences; i++)
        n_events = plan->sequences[i].end > n_events ? plan->sequences[i].end : n_events;
    for (int i = 0; i < plan->n_held_out; i++)
        n_events = plan->held_out[i].end > n_events ? plan->held_out[i].end : n_events;
    for (size_t e = 0; e < n_events; e++) {
        const struct train_event *event = &plan->events[e];
        const int64_t fields[] = {event->time_ms, event->item, event->type};
        (void)XXH3_64bits_update(hash, fields, sizeof fields);
    }
    uint64_t digest = XXH3_64bits_digest(hash);
    (void)XXH3_freeState(hash);
    return digest;
}

void train__settings(const struct train_options *options, const struct train__plan *plan,
                     struct buf *settings)
{
    const struct train_options *o = options;
    const struct {
        const char *name;
        double value;
    } numbers[] = {
        {"protocol", o->split.protocol},
        {"split-time", o->split.share},
        {"seed", (double)o->seed},
        {"encoder", o->encoder},
        {"heads", o->heads},
        {"positions", o->positions},
        {"dim", o->dim},
        {"hidden", o->hidden},
        {"feed", o->feed},
        {"blocks", o->blocks},
        {"use-types", o->use_types},
        {"use-gaps", o->use_gaps},
        {"epochs", o->epochs},
        {"patience", o->patience},
        {"batch", o->batch},
        {"batch-users", o->batch_users},
        {"lr", o->rate},
        {"schedule", o->schedule},
        {"warmup", o->warmup},
        {"min-lr", o->min_rate},
        {"dropout", o->dropout},
        {"weight-decay", o->weight_decay},
        {"clip", o->clip},
        {"loss", o->loss},
        {"negatives", o->negatives},
        {"label-smoothing", o->label_smoothing},
        {"gbce-t", o->gbce_t},
        {"max-len", o->max_len},
        {"sequences", o->sequences},
        {"min-item-count", o->min_item_count},
        {"validation", o->validation},
        {"mask", o->mask},
        {"watch", o->watch},
    };
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        buf_push_format(settings, "%s %.17g\n", numbers[i].name, numbers[i].value);
    buf_push_format(settings, "data %016" PRIx64 " (%d items, %d sequences, %d held out)\n",
                    hash_plan(plan), plan->N, plan->n_sequences, plan->n_held_out);
    buf_push_format(settings, "content %016" PRIx64 " (%d features)\n",
                    train__content_hash(&plan->content, plan->N), plan->content.n);
}

/* The line that begins at *at, without its end; *at moves behind it. */
static struct str next_line(struct str text, size_t *at)
{
    struct str line = {text.ptr + *at, 0};
    while (*at + line.len < text.len && line.ptr[line.len] != '\n')
        line.len++;
    *at += line.len < text.len - *at ? line.len + 1 : line.len;
    return line;
}

static bool same_settings(const char *path, struct str here, struct str there, struct err *err)
{
    for (size_t a = 0, b = 0; a < here.len || b < there.len;) {
        struct str x = next_line(here, &a), y = next_line(there, &b);
        if (x.len == y.len && memcmp(x.ptr, y.ptr, x.len) == 0) continue;
        return err_fatal(err, ERR_EXIT_USAGE,
                         "%s is of another run: it has \"%.*s\", this run has \"%.*s\"; give the "
                         "log and the options of that run, or start anew without --resume",
                         path, (int)y.len, y.ptr, (int)x.len, x.ptr);
    }
    return true;
}

/* ---- writing ---- */

static struct header header_of(struct str settings, const struct train__piece *pieces, int n)
{
    struct header header = {.format = FORMAT, .settings = (uint32_t)settings.len};
    memcpy(header.magic, MAGIC, sizeof MAGIC);
    header.bytes = sizeof header + settings.len + sizeof(uint64_t);
    for (int i = 0; i < n; i++)
        header.bytes += pieces[i].n;
    return header;
}

static void put(struct train__outfile *file, XXH3_state_t *hash, const void *bytes, size_t n)
{
    (void)XXH3_64bits_update(hash, bytes, n);
    (void)fwrite(bytes, 1, n, file->stream);
}

bool train__checkpoint_write(const char *path, struct str settings,
                             const struct train__piece *pieces, int n, struct err *err)
{
    struct train__outfile file;
    if (!train__outfile_open(&file, path, err)) return false;
    struct header header = header_of(settings, pieces, n);
    XXH3_state_t *hash = XXH3_createState();
    (void)XXH3_64bits_reset(hash);
    put(&file, hash, &header, sizeof header);
    put(&file, hash, settings.ptr, settings.len);
    for (int i = 0; i < n; i++)
        put(&file, hash, pieces[i].bytes, pieces[i].n);
    uint64_t digest = XXH3_64bits_digest(hash);
    (void)fwrite(&digest, sizeof digest, 1, file.stream);
    (void)XXH3_freeState(hash);
    return train__outfile_finish(&file, err);
}

/* ---- reading ---- */

/* Is the file a whole one of this format? It is read once for that, from where it stands. */
static bool check_whole(FILE *stream, struct header *header, const char **wrong)
{
    *wrong = "is no checkpoint of this version of freshet";
    if (fread(header, sizeof *header, 1, stream) != 1) return false;
    if (memcmp(header->magic, MAGIC, sizeof MAGIC) != 0 || header->format != FORMAT) return false;
    if (header->bytes < sizeof *header + header->settings + sizeof(uint64_t)) return false;
    *wrong = "is cut short or was changed";
    XXH3_state_t *hash = XXH3_createState();
    (void)XXH3_64bits_reset(hash);
    (void)XXH3_64bits_update(hash, header, sizeof *header);
    uint8_t *chunk = mem_alloc(CHUNK);
    uint64_t left = header->bytes - sizeof *header - sizeof(uint64_t), digest = 0;
    while (left > 0) {
        size_t n = fread(chunk, 1, left < CHUNK ? (size_t)left : CHUNK, stream);
        if (n == 0) break;
        (void)XXH3_64bits_update(hash, chunk, n);
        left -= n;
    }
    bool ok = left == 0 && fread(&digest, sizeof digest, 1, stream) == 1 && fgetc(stream) == EOF &&
              digest == XXH3_64bits_digest(hash);
    mem_free(chunk);
    (void)XXH3_freeState(hash);
    return ok;
}

/* Behind check_whole, so no size here is a forged one. */
static bool read_pieces(FILE *stream, const char *path, const struct header *header,
                        struct str settings, const struct train__piece *pieces, int n,
                        struct err *err)
{
    char *text = mem_alloc(header->settings);
    bool ok = fseek(stream, sizeof *header, SEEK_SET) == 0 &&
              fread(text, 1, header->settings, stream) == header->settings;
    struct str there = {text, header->settings};
    bool same = ok && same_settings(path, settings, there, err);
    mem_free(text);
    if (ok && !same) return false;
    ok = ok && header->bytes == header_of(settings, pieces, n).bytes;
    for (int i = 0; i < n && ok; i++)
        ok = fread(pieces[i].bytes, 1, pieces[i].n, stream) == pieces[i].n;
    return ok || err_fatal(err, ERR_EXIT_USAGE, "%s holds not what its settings say", path);
}

bool train__checkpoint_read(const char *path, struct str settings,
                            const struct train__piece *pieces, int n, struct err *err)
{
    FILE *stream = fopen(path, "rb");
    if (stream == NULL)
        return err_fatal(err, ERR_EXIT_USAGE, "cannot open %s: %s", path, strerror(errno));
    struct header header;
    const char *wrong;
    bool ok = check_whole(stream, &header, &wrong);
    if (!ok)
        (void)err_fatal(err, ERR_EXIT_USAGE, "%s %s; start anew without --resume", path, wrong);
    ok = ok && read_pieces(stream, path, &header, settings, pieces, n, err);
    (void)fclose(stream);
    return ok;
}
