/* freshet train: an encoder from a log file. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/app.h"
#include "app/arm_flags.h"
#include "app/train_input.h"
#include "base/log.h"
#include "base/progress.h"
#include "train/train.h"

static const char group_log[] = "Log", group_learn[] = "Learning", group_shape[] = "Shape";

struct training {
    struct progress *bar;
    bool quiet;
    const char *out; /* NULL: no curve is written */
    enum train_watch watch;
};

static const char *const metric_names[] = {
    [WATCH_HR10] = "HR@10", [WATCH_NDCG10] = "NDCG@10", [WATCH_MRR20] = "MRR@20"};

static double metric(const struct train_epoch *epoch, enum train_watch watch)
{
    const double all[] = {
        [WATCH_HR10] = epoch->hr10, [WATCH_NDCG10] = epoch->ndcg10, [WATCH_MRR20] = epoch->mrr20};
    return all[watch];
}

/* The files that tell how it goes; without them training goes on. */
static void write_curve(const struct training *training, const struct train_progress *p)
{
    struct train_curve curve = {p->history, p->n_history, p->best_epoch, training->watch};
    struct err err = ERR_INIT;
    if (!train_curve_write(training->out, &curve, &err)) log_err(LOG_WARN, "train", &err);
}

static void show_epoch(const struct train_progress *p)
{
    const struct train_epoch *epoch = &p->history[p->n_history - 1];
    (void)fprintf(stderr,
                  "epoch %2d  loss %.4f  validation HR@10 %.4f  NDCG@10 %.4f  MRR@20 %.4f%s\n",
                  p->epoch, epoch->loss, epoch->hr10, epoch->ndcg10, epoch->mrr20,
                  p->is_best ? "  best" : "");
}

static bool show(void *context, const struct train_progress *p)
{
    struct training *training = context;
    char text[96], best[64] = "";
    if (p->best_epoch > 0)
        (void)snprintf(best, sizeof best, "  %s %.4f, best %.4f (%d)",
                       metric_names[training->watch],
                       metric(&p->history[p->n_history - 1], training->watch),
                       metric(&p->history[p->best_epoch - 1], training->watch), p->best_epoch);
    (void)snprintf(text, sizeof text, "epoch %d/%d  loss %.3f%s", p->epoch, p->epochs, p->loss,
                   best);
    progress_total(training->bar, p->to_come - p->resumed);
    progress_update(training->bar, p->positions - p->resumed, text);
    if (p->epoch_is_over && training->out) write_curve(training, p);
    if (!p->epoch_is_over || training->quiet) return true;
    progress_hide(training->bar);
    show_epoch(p);
    return true;
}

/* protocol, split-time: which events are learnt from. */
static bool read_split(const struct options *flags, struct train_split *split, struct err *err)
{
    split->protocol = (enum train_protocol)options_enum(flags, "protocol");
    split->share = options_number(flags, "split-time");
    if (split->share < 1) {
        if (split->protocol == TRAIN_LEAVE_ONE_OUT)
            return err_fatal(err, ERR_EXIT_USAGE,
                             "--split-time belongs to --protocol next-item, not leave-one-out");
        split->protocol = TRAIN_NEXT_ITEM;
    } else if (split->protocol == TRAIN_NEXT_ITEM) {
        return err_fatal(err, ERR_EXIT_USAGE,
                         "--protocol next-item needs --split-time, such as 0.7");
    }
    return true;
}

static bool read_options(const struct options *flags, struct train_options *o, struct err *err)
{
    *o = train_options_default();
    o->encoder = (enum model_encoder_kind)options_enum(flags, "encoder");
    o->dim = (int)options_int(flags, "dim");
    o->hidden = (int)options_int(flags, "hidden");
    o->feed = (int)options_int(flags, "feed");
    o->blocks = (int)options_int(flags, "blocks");
    if (o->hidden == 0) o->hidden = o->encoder == ENCODER_ATTENTION ? o->dim : 2 * o->dim;
    if (o->feed == 0) o->feed = 4 * o->dim;
    o->heads = (int)options_int(flags, "heads");
    o->positions = (enum train_positions)options_enum(flags, "positions");
    o->use_types = options_bool(flags, "use-types");
    o->use_gaps = options_bool(flags, "use-gaps");
    o->epochs = (int)options_int(flags, "epochs");
    o->patience = (int)options_int(flags, "patience");
    o->batch = (int)options_int(flags, "batch");
    o->batch_users = (int)options_int(flags, "batch-users");
    o->rate = options_number(flags, "lr");
    o->schedule = (enum train_schedule)options_enum(flags, "schedule");
    o->warmup = options_number(flags, "warmup");
    o->min_rate = options_number(flags, "min-lr");
    o->dropout = options_number(flags, "dropout");
    o->weight_decay = options_number(flags, "weight-decay");
    o->clip = options_number(flags, "clip");
    o->loss = (enum train_loss)options_enum(flags, "loss");
    o->negatives = (int)options_int(flags, "negatives");
    o->label_smoothing = options_number(flags, "label-smoothing");
    o->gbce_t = options_number(flags, "gbce-t");
    o->max_len = (int)options_int(flags, "max-len");
    o->sequences = (enum train_sequences)options_enum(flags, "sequences");
    o->min_item_count = (int)options_int(flags, "min-item-count");
    o->validation = (int)options_int(flags, "validation");
    o->mask = (enum eval_mask)options_enum(flags, "mask");
    o->watch = (enum train_watch)options_enum(flags, "watch");
    o->threads = (int)options_int(flags, "threads");
    o->seed = (uint64_t)options_int(flags, "seed");
    o->tenant = options_text(flags, "tenant");
    o->version = options_text(flags, "model-version");
    return read_split(flags, &o->split, err);
}

/* The last line of stdout: one JSON object. */
static void print_result(const struct train_result *r, const struct model *model, const char *out)
{
    printf(
        "{\"model\":\"%s\",\"model_id\":\"%016llx\",\"items\":%d,\"content_features\":%d,"
        "\"sequences\":%d,"
        "\"positions\":%llu,\"validation_events\":%d,\"epochs\":%d,\"best_epoch\":%d,\"loss\":%.5f,"
        "\"hr@10\":%.5f,\"ndcg@10\":%.5f,\"mrr@20\":%.5f}\n",
        out, (unsigned long long)model_info(model).id, r->n_items, r->n_content, r->n_sequences,
        (unsigned long long)r->n_positions, r->n_validation, r->epochs, r->best_epoch, r->loss,
        r->hr10, r->ndcg10, r->mrr20);
}

/* Makes the folder and names the file in it that an interrupted run leaves. */
static bool prepare_out(const struct options *flags, struct train_options *o, char *path,
                        size_t room, struct err *err)
{
    const char *out = options_text(flags, "out");
    int n = snprintf(path, room, "%s/training.checkpoint", out);
    if (n < 0 || (size_t)n >= room)
        return err_fatal(err, ERR_EXIT_USAGE, "--out %s: the path is too long", out);
    if (mkdir(out, 0777) != 0 && errno != EEXIST)
        return err_fatal(err, ERR_EXIT_USAGE, "cannot create %s: %s", out, strerror(errno));
    o->checkpoint = path;
    o->checkpoint_minutes = options_number(flags, "checkpoint-minutes");
    o->resume = options_bool(flags, "resume");
    bool is_there = access(path, F_OK) == 0;
    if (o->resume && !is_there)
        (void)fprintf(stderr, "%s is not there: training starts from the beginning\n", path);
    if (!o->resume && is_there)
        (void)fprintf(
            stderr, "%s of an interrupted run will be replaced; --resume goes on from it\n", path);
    return true;
}

static struct progress *bar_new(const struct training *training, const char *what)
{
    struct progress_options bar = {
        .what = what, .unit = "examples", .quiet = training->quiet, .fd = 2};
    return progress_new(&bar);
}

/* The held-out lists of a ranker take the window and half-life that `freshet eval` and `freshet run` have by default. */
static bool learn_ranker(const struct options *flags, const struct train_data *data,
                         const struct train_options *train, struct training *training,
                         struct model *model, struct err *err)
{
    struct model_neighbours_options neighbours;
    struct model_related_rules related = arm_flags_related_default();
    struct train_ranker_result result;
    struct train_ranker_options options = {.train = train,
                                           .neighbours = &neighbours,
                                           .window = 200,
                                           .half_life_ms = 7 * 86400000LL,
                                           .related = &related,
                                           .has_related = options_bool(flags, "related"),
                                           .has_trending = options_bool(flags, "trending")};
    if (!arm_flags_neighbours(flags, &neighbours, &options.session_gap_ms, err)) return false;
    training->out = NULL;
    training->bar = bar_new(training, "ranker");
    bool ok = train_ranker(model, data, &options, show, training, &result, err);
    progress_end(training->bar);
    if (!ok || training->quiet) return ok;
    if (result.lists > 0)
        (void)fprintf(stderr,
                      "ranker: %d lists of %llu held-out events, NDCG@20 %.4f, rank fusion %.4f\n",
                      result.lists, (unsigned long long)result.asked, result.ranked, result.fusion);
    if (!result.is_learnt)
        (void)fprintf(stderr, "ranker: none, lists are blended by rank fusion: %s\n", result.why);
    return true;
}

/* items, items-map: what is known of the items; *catalogue stays NULL without the flag. */
static bool read_catalogue(const struct options *flags, struct train_catalogue **catalogue,
                           struct err *err)
{
    const char *path = options_text(flags, "items"), *map = options_text(flags, "items-map");
    if (path[0] == '\0' && map[0] != '\0')
        return err_fatal(err, ERR_EXIT_USAGE, "--items-map says what the columns of --items are");
    if (path[0] == '\0') return true;
    if (!train_catalogue_read(catalogue, path, map, options_text(flags, "tenant"), err))
        return false;
    const struct train_catalogue *c = *catalogue;
    if (!options_bool(flags, "quiet"))
        (void)fprintf(stderr, "items %llu rows: %d items, %d features%s%s\n",
                      (unsigned long long)c->rows, c->n_items, c->n_names,
                      c->bad ? "; bad rows, the first: " : "", c->first_bad);
    return true;
}

/* Whether interactions of more than one type are in the log. */
static bool has_types(const struct train_data *data)
{
    for (size_t e = 1; e < data->n_events; e++)
        if (data->events[e].type != data->events[0].type) return true;
    return false;
}

/* use-types and use-gaps, which nobody set: on for logs of events that have them, off for the other formats. */
static void choose_inputs(const struct options *flags, const struct train_data *data,
                          struct train_options *options)
{
    bool is_events = strcmp(options_text(flags, "format"), "events") == 0;
    if (!options_is_set(flags, "use-types")) options->use_types = is_events && has_types(data);
    if (!options_is_set(flags, "use-gaps")) options->use_gaps = is_events && data->has_times;
    if (!options_bool(flags, "quiet"))
        (void)fprintf(stderr, "the encoder sees items%s%s%s\n",
                      options->use_types ? ", event types" : "",
                      options->use_gaps ? ", time gaps" : "",
                      options->catalogue ? ", what the catalogue says of items" : "");
}

static bool learn(struct app *app, struct train_options *options, struct model **model,
                  struct train_result *result, struct err *err)
{
    struct train_data *data;
    struct train_catalogue *catalogue = NULL;
    if (!read_catalogue(app->flags, &catalogue, err)) return false;
    options->catalogue = catalogue;
    if (!train_input_read(app->flags, "input", &data, err)) {
        train_catalogue_free(catalogue);
        return false;
    }
    choose_inputs(app->flags, data, options);
    struct training training = {.quiet = options_bool(app->flags, "quiet"),
                                .out = options_text(app->flags, "out"),
                                .watch = options->watch};
    training.bar = bar_new(&training, "train");
    bool ok = train_model(data, options, show, &training, model, result, err);
    progress_end(training.bar);
    if (ok && options_bool(app->flags, "ranker"))
        ok = learn_ranker(app->flags, data, options, &training, *model, err);
    train_data_free(data);
    train_catalogue_free(catalogue);
    options->catalogue = NULL;
    return ok;
}

static bool run(struct app *app, struct err *err)
{
    const char *out = options_text(app->flags, "out");
    char checkpoint[4096];
    struct train_options options;
    struct model *model = NULL;
    struct train_result result;
    if (!read_options(app->flags, &options, err)) return false;
    if (!prepare_out(app->flags, &options, checkpoint, sizeof checkpoint, err)) return false;
    bool ok = learn(app, &options, &model, &result, err) && model_save(model, out, err);
    if (ok) {
        (void)unlink(checkpoint);
        print_result(&result, model, out);
    }
    model_free(model);
    return ok;
}

static const struct option_spec flags[] = {
    /* clang-format off */
    TRAIN_INPUT_FLAGS(group_log),
    {"protocol", OPTION_ENUM, "all", 0, 0, "", "all|leave-one-out|next-item",
     "What the model may see: all; leave-one-out: all but each user's last event; next-item: what is before --split-time. "
     "Give `freshet eval` the same.", group_log},
    {"split-time", OPTION_NUMBER, "1", 0.01, 1, "", NULL,
     "Learn from this first share of the time the log spans (implies --protocol next-item).", group_log},
    {"items", OPTION_TEXT, "", 0, 0, "", NULL,
     "The catalogue, plain or gzip: JSON lines of item records, or CSV with a header. Items then share what is learnt of their "
     "categories, brand, price step and title words.", group_log},
    {"items-map", OPTION_TEXT, "", 0, 0, "", NULL,
     "Columns of a CSV in --items: item=movieId,title=title,categories=genres,brand=maker,price=price. Categories are separated "
     "by |. Of several rows of an item the last that says anything counts.", group_log},
    {"out", OPTION_TEXT, NULL, 0, 0, "", NULL, "The model folder, made when it is not there.", group_log},
    {"resume", OPTION_BOOL, "false", 0, 0, "", NULL,
     "Go on from the checkpoint that an interrupted run left in --out, to the same model as without the interruption. The log and "
     "the options must be the same; --threads may differ.", group_log},
    {"checkpoint-minutes", OPTION_NUMBER, "5", 0, 1e6, "min", NULL,
     "A checkpoint is written at each epoch's end, and within an epoch when the last one is so old. It goes when the model is "
     "written.", group_log},
    {"model-version", OPTION_TEXT, "", 0, 0, "", NULL, "Text that lists carry as model_version; empty: the encoder's name and the first half of the model's id.", group_log},
    {"min-item-count", OPTION_INT, "1", 1, 1e9, "events", NULL,
     "Items with fewer events are not learnt; they are served by popularity.", group_log},
    {"epochs", OPTION_INT, "20", 1, 10000, "", NULL, "Passes over the data at most; the learning rate falls along them.", group_learn},
    {"patience", OPTION_INT, "5", 1, 10000, "epochs", NULL,
     "Stop after so many epochs without a better --watch on the validation users.", group_learn},
    {"validation", OPTION_INT, "-1", -1, 1e9, "users", NULL,
     "From so many users the last fifth of the events is held out to pick the best epoch; 0: none; -1: from a fifth of the "
     "users, at most 1000. With leave-one-out one event each, from all.", group_learn},
    {"mask", OPTION_ENUM, "none", 0, 0, "", "none|current|window|history",
     "What may not stand in the validation's lists: the newest item, those of the last --max-len events, all that the user ever "
     "met. Take what `freshet eval` will be asked: another mask picks another epoch.", group_learn},
    {"watch", OPTION_ENUM, "ndcg10", 0, 0, "", "hr10|ndcg10|mrr20", "The validation metric that picks the best epoch.", group_learn},
    {"batch", OPTION_INT, "512", 1, 1e7, "positions", NULL, "Positions in one step; sequences are kept whole.", group_learn},
    {"batch-users", OPTION_INT, "0", 0, 1e7, "users", NULL,
     "Sequences in one step, however long each is, as published set-ups count their batches; 0: --batch counts.", group_learn},
    {"lr", OPTION_NUMBER, "0.001", 1e-7, 1, "", NULL, "Learning rate of AdamW.", group_learn},
    {"schedule", OPTION_ENUM, "cosine", 0, 0, "", "cosine|constant|linear",
     "How the rate falls from --lr to --min-lr over --epochs, once warm.", group_learn},
    {"warmup", OPTION_NUMBER, "0.05", 0, 0.9, "", NULL, "The share of all steps over which the rate rises to --lr.", group_learn},
    {"min-lr", OPTION_NUMBER, "0.1", 0, 1, "", NULL, "Where the rate ends, as a share of --lr.", group_learn},
    {"dropout", OPTION_NUMBER, "0.2", 0, 0.95, "", NULL, "More for small or noisy data.", group_learn},
    {"weight-decay", OPTION_NUMBER, "0.01", 0, 10, "", NULL, "Of AdamW, on matrices.", group_learn},
    {"clip", OPTION_NUMBER, "5", 0, 1e9, "", NULL, "Largest norm of a gradient; 0: none.", group_learn},
    {"loss", OPTION_ENUM, "full", 0, 0, "", "full|sampled|gbce",
     "Softmax over all items; over a sample with correction, for catalogues of more than some 100,000 items; or generalised binary "
     "cross-entropy (gSASRec).", group_learn},
    {"negatives", OPTION_INT, "1024", 1, 1e7, "items", NULL,
     "With --loss sampled: items drawn for each part of a batch, beside the targets of that part. With gbce: items drawn for each "
     "position; 256 is the published choice.", group_learn},
    {"label-smoothing", OPTION_NUMBER, "0", 0, 0.9, "", NULL,
     "This share of what is to be predicted is spread over all items (softmax losses).", group_learn},
    {"gbce-t", OPTION_NUMBER, "0.75", 0, 1, "", NULL,
     "With --loss gbce: 0 plain binary cross-entropy, 1 scores that are chances.", group_learn},
    {"max-len", OPTION_INT, "200", 1, 4096, "events", NULL, "Positions of a sequence at most.", group_learn},
    {"sequences", OPTION_ENUM, "all", 0, 0, "", "all|newest",
     "What becomes of a history over --max-len: it is cut into several sequences, or only its newest part is learnt from, as published "
     "set-ups do.", group_learn},
    {"ranker", OPTION_BOOL, "true", 0, 0, "", NULL,
     "Learn how to blend encoder, neighbours and popularity from held-out events. Unless the protocol is leave-one-out this trains a "
     "second encoder, on the older nine tenths, and so takes twice the time.", group_learn},
    {"related", OPTION_BOOL, "true", 0, 0, "", NULL,
     "The ranker also counts on what goes together with the newest items. false: for lists that will be made without related.topic.",
     group_learn},
    {"trending", OPTION_BOOL, "false", 0, 0, "", NULL,
     "Likewise on what rises in their categories and in the whole shop (trending.topic).", group_learn},
    ARM_FLAG_NEIGHBOURS(group_learn),
    {"seed", OPTION_INT, "1", 0, 9e15, "", NULL, "The same seed and data make the same model.", group_learn},
    {"threads", OPTION_INT, "2", 1, 2, "", NULL, "They do not change the result.", group_learn},
    {"encoder", OPTION_ENUM, "lru", 0, 0, "", "lru|gru|attention",
     "lru: linear recurrent units (LRURec), fast at any length; gru: gated recurrent units (GRU4Rec); attention: a causal "
     "Transformer (SASRec).", group_shape},
    {"dim", OPTION_INT, "64", 16, 1024, "", NULL, "Of item vectors: a multiple of 16.", group_shape},
    {"blocks", OPTION_INT, "2", 1, 8, "", NULL, "Layers of the encoder.", group_shape},
    {"hidden", OPTION_INT, "0", 0, 1024, "", NULL, "Width of the recurrence; 0: twice --dim, with attention --dim.", group_shape},
    {"feed", OPTION_INT, "0", 0, 4096, "", NULL, "Width of the feed-forward layer; 0: four times --dim.", group_shape},
    {"heads", OPTION_INT, "2", 1, 64, "", NULL, "Of attention; each has the same share of --hidden, a multiple of 16.", group_shape},
    {"positions", OPTION_ENUM, "rotary", 0, 0, "", "rotary|learnt",
     "How attention knows the order: by distance (rotary), or by learnt vectors of --max-len positions.", group_shape},
    {"use-types", OPTION_BOOL, "false", 0, 0, "", NULL, "Let the encoder see event types. Unless it is given: true for --format events with more than one type.", group_shape},
    {"use-gaps", OPTION_BOOL, "false", 0, 0, "", NULL, "Let the encoder see the time between events. Unless it is given: true for --format events with times.", group_shape},
    /* clang-format on */
};

const struct verb verb_train = {
    .name = "train",
    .summary = "learn a model from a log file",
    .usage = "freshet train --input FILE --format sessions --out FOLDER",
    .help =
        "Learns an encoder that predicts each user's next item, and writes it as "
        "a folder of model.json, "
        "model.safetensors and items.json, with --items also content.json. Each epoch ends with a "
        "look at held-out users; the "
        "best epoch is kept. The last "
        "line of stdout is one JSON object. A run that was killed goes on with --resume. While it "
        "runs, the folder gets training.jsonl (a line an epoch) and learning_curve.svg.\n"
        "\n"
        "  freshet train --input clicks.tsv.gz --format sessions --out model\n"
        "  freshet train --input events.csv --map "
        "user=visitorid,item=itemid,type=event,time=timestamp --out model\n"
        "  freshet train --input events.csv --items catalogue.jsonl --out model\n"
        "  freshet train --input log.csv --split-time 0.7 --out model && freshet eval --model "
        "model --input log.csv "
        "--split-time 0.7\n",
    .flags = flags,
    .n_flags = sizeof(flags) / sizeof(flags[0]),
    .run = run,
};
