/* Arms, blend and what they learn from, for one question at a time. */
#include "app/sessions.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "base/mem.h"
#include "model/model.h"

enum {
    TOP = 128, /* popular items kept sorted for each tenant */
    TENANTS_MAX = 64,
    DEPTH = MODEL_RANKER_DEPTH,
    SPARE = 10,  /* candidates of the encoder beyond the list's, for those that must not be shown */
    WINDOW = 50, /* newest items of a question that are looked at */
    GAP_MS = 30000, /* between two items of a question, which has no times */
    ID_BYTES_FIRST = 1 << 16,
};
_Static_assert((int)DEPTH <= (int)SESSIONS_LIST_MAX, "an arm fits");

/* An item that somebody clicked. Its id lies behind it. */
struct known {
    double level; /* log2 of the decayed count, at time 0 (docs/STATE.md, "Popularity") */
    size_t len;
    char id[];
};

struct top {
    uint64_t tenant; /* hash */
    int n;
    struct {
        uint64_t key;
        double level;
    } rows[TOP]; /* (n) best first: exactly the best, since levels only rise */
};

struct sessions {
    const struct settings *settings;
    struct models *models;
    const struct model *model; /* held; NULL none */
    struct model_info info;
    struct model_scratch *scratch;
    float *state; /* (S) */
    struct model_neighbours *index;
    struct map_u64 *items; /* item key to struct known */
    struct top *tops;      /* (n_tops) */
    int n_tops;
    double half_life_ms;
    int64_t clicks;
};

/* ---- the model ---- */

static void model_drop(struct sessions *sessions)
{
    if (!sessions->model) return;
    model_scratch_free(sessions->scratch);
    mem_free(sessions->state);
    models_release(sessions->models, sessions->model);
    sessions->model = NULL;
}

/* The newest one; a question that comes while it is loaded is answered by the one before. */
static void model_refresh(struct sessions *sessions)
{
    if (!sessions->models) return;
    if (sessions->model && !models_has_newer(sessions->models, sessions->model)) return;
    model_drop(sessions);
    sessions->model = models_take(sessions->models);
    sessions->info = model_info(sessions->model);
    sessions->scratch = model_scratch_new(sessions->model);
    sessions->state = mem_aligned(64, ((size_t)sessions->info.S + 16) * sizeof(float));
}

const struct model *sessions_model(struct sessions *sessions)
{
    model_refresh(sessions);
    return sessions->model;
}

struct str sessions_model_version(const struct sessions *sessions)
{
    return sessions->model ? str_of(sessions->info.version) : STR("none");
}

struct sessions *sessions_new(const struct settings *settings, struct models *models)
{
    struct sessions *sessions = mem_zalloc(sizeof *sessions);
    struct model_neighbours_options options = settings_neighbours(settings, 1);
    sessions->settings = settings;
    sessions->models = models;
    sessions->index = model_neighbours_new(&options);
    sessions->items = map_u64_new((size_t)options_int(settings->options, "http.items.max"));
    sessions->tops = mem_zalloc(TENANTS_MAX * sizeof *sessions->tops);
    sessions->half_life_ms = (double)options_int(settings->options, "popularity.half.life.ms");
    model_refresh(sessions);
    return sessions;
}

void sessions_free(struct sessions *sessions)
{
    size_t at = 0;
    uint64_t key, *value;
    if (!sessions) return;
    model_drop(sessions);
    while (map_u64_next(sessions->items, &at, &key, &value))
        mem_free(map_u64_get_ptr(sessions->items, key));
    map_u64_free(sessions->items);
    model_neighbours_free(sessions->index);
    mem_free(sessions->tops);
    mem_free(sessions);
}

struct sessions_size sessions_size(const struct sessions *sessions)
{
    return (struct sessions_size){.items = (int)map_u64_count(sessions->items),
                                  .sessions = model_neighbours_sessions(sessions->index),
                                  .clicks = sessions->clicks};
}

/* ---- learning ---- */

static struct known *known_of(struct sessions *sessions, uint64_t key, struct str id)
{
    struct known *known = map_u64_get_ptr(sessions->items, key);
    if (known) return known;
    known = mem_alloc(sizeof *known + id.len);
    known->level = -HUGE_VAL;
    known->len = id.len;
    memcpy(known->id, id.ptr, id.len);
    if (map_u64_set_ptr(sessions->items, key, known)) return known;
    mem_free(known); /* full: an item without an id is never listed */
    return NULL;
}

static struct top *top_of(struct sessions *sessions, struct str tenant, bool is_made)
{
    uint64_t hash = schemas_id_hash(tenant);
    for (int i = 0; i < sessions->n_tops; i++)
        if (sessions->tops[i].tenant == hash) return &sessions->tops[i];
    if (!is_made || sessions->n_tops == TENANTS_MAX) return NULL;
    struct top *top = &sessions->tops[sessions->n_tops++];
    top->tenant = hash;
    return top;
}

/* The item's level rose: it moves up, or in. */
static void top_raise(struct top *top, uint64_t key, double level)
{
    int at = 0;
    if (top->n == TOP && level < top->rows[TOP - 1].level) return;
    while (at < top->n && top->rows[at].key != key)
        at++;
    if (at == TOP) at--;
    if (at == top->n) top->n++;
    for (; at > 0 && top->rows[at - 1].level < level; at--)
        top->rows[at] = top->rows[at - 1];
    top->rows[at].key = key;
    top->rows[at].level = level;
}

static void popularity_add(struct sessions *sessions, struct known *known, uint64_t key,
                           const struct session_click *click)
{
    double added = (double)click->time_ms / sessions->half_life_ms + log2(click->weight);
    double high = known->level > added ? known->level : added;
    double low = known->level > added ? added : known->level;
    struct top *top = top_of(sessions, click->tenant, true);
    known->level = isinf(low) ? high : high + log2(1 + exp2(low - high));
    if (top) top_raise(top, key, known->level);
}

void sessions_click(struct sessions *sessions, const struct session_click *click)
{
    uint64_t key = schemas_item_key(click->tenant, click->item_id);
    struct known *known = known_of(sessions, key, click->item_id);
    sessions->clicks++;
    if (!known) return;
    if (click->session) model_neighbours_add(sessions->index, click->session, key, click->time_ms);
    if (click->weight > 0) popularity_add(sessions, known, key, click);
}

void sessions_forget(struct sessions *sessions, uint64_t user)
{
    (void)model_neighbours_forget(sessions->index, SCHEMAS_SESSION_USER, user);
}

/* ---- a question ---- */

/* One question on its way. */
struct asking {
    struct sessions *sessions;
    const struct sessions_question *question;
    uint64_t keys[WINDOW]; /* (n) newest last */
    int n;
    uint64_t older[SCHEMAS_ITEMS_MAX]; /* (n_older) of the session, but not looked at; ascending */
    int n_older;
    int depth; /* candidates of an arm: what the ranker is learnt on, or a few more than the list's */
    int32_t excluded[WINDOW]; /* (n_excluded) indices in the model, ascending, no repeats */
    int n_excluded;
    uint64_t encoder[DEPTH], neighbours[DEPTH], popular[DEPTH];
    float encoder_scores[DEPTH], neighbour_scores[DEPTH];
    uint32_t follows[DEPTH];
    int n_encoder, n_neighbours, n_popular;
};

static struct str id_of(const struct sessions *sessions, uint64_t key)
{
    const struct known *known = map_u64_get_ptr(sessions->items, key);
    int32_t index = !known && sessions->model ? model_item_index(sessions->model, key) : -1;
    if (known) return (struct str){known->id, known->len};
    return index >= 0 ? model_item_id(sessions->model, index) : (struct str){NULL, 0};
}

struct str sessions_item_id(const struct sessions *sessions, uint64_t key)
{
    return id_of(sessions, key);
}

static int by_key(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static bool is_in_session(const struct asking *asking, uint64_t key)
{
    for (int i = 0; i < asking->n; i++)
        if (asking->keys[i] == key) return true;
    return asking->n_older &&
           bsearch(&key, asking->older, (size_t)asking->n_older, sizeof key, by_key);
}

/* What a list must not hold. */
static bool is_refused(void *context, uint64_t key)
{
    const struct asking *asking = context;
    const struct sessions_question *question = asking->question;
    return (!question->has_repeats && is_in_session(asking, key)) ||
           !question->is_listed(question->context, key);
}

static bool is_refused_or_lost(void *context, uint64_t key)
{
    const struct asking *asking = context;
    return is_refused(context, key) || id_of(asking->sessions, key).len == 0;
}

/* The model's ranker wants the depth that it was learnt on. */
static int depth_of(const struct sessions *sessions, const struct sessions_question *question)
{
    bool is_ranked = !question->neighbours_only && sessions->model && model_ranker(sessions->model);
    int few = question->n + (question->neighbours_only ? 0 : SPARE);
    return is_ranked || few > DEPTH ? DEPTH : few;
}

static void question_read(struct asking *asking)
{
    const struct sessions_question *question = asking->question;
    asking->depth = depth_of(asking->sessions, question);
    asking->n = asking->n_older = 0;
    size_t n = question->n_items, first = n > WINDOW ? n - WINDOW : 0;
    for (size_t i = n > SCHEMAS_ITEMS_MAX ? n - SCHEMAS_ITEMS_MAX : 0; i < n; i++) {
        uint64_t key = schemas_item_key(question->tenant, question->items[i].item_id);
        if (i < first)
            asking->older[asking->n_older++] = key;
        else
            asking->keys[asking->n++] = key;
    }
    if (asking->n_older)
        qsort(asking->older, (size_t)asking->n_older, sizeof *asking->older, by_key);
}

static int by_index(const void *a, const void *b)
{
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

/* The session's items for the top-k, which wants them sorted. */
static void exclusions_make(struct asking *asking)
{
    const struct model *model = asking->sessions->model;
    int n = 0, kept = 0;
    if (asking->question->has_repeats) return;
    for (int i = 0; i < asking->n; i++) {
        int32_t index = model_item_index(model, asking->keys[i]);
        if (index >= 0) asking->excluded[n++] = index;
    }
    qsort(asking->excluded, (size_t)n, sizeof *asking->excluded, by_index);
    for (int i = 0; i < n; i++)
        if (kept == 0 || asking->excluded[kept - 1] != asking->excluded[i])
            asking->excluded[kept++] = asking->excluded[i];
    asking->n_excluded = kept;
}

static void encoder_ask(struct asking *asking)
{
    struct sessions *sessions = asking->sessions;
    struct model_input inputs[WINDOW];
    int32_t top[DEPTH];
    float scores[DEPTH];
    int T = 0;
    if (!sessions->model || sessions->settings->blend_weights[ARM_ENCODER] <= 0) return;
    for (int i = 0; i < asking->n; i++) {
        int32_t index = model_item_index(sessions->model, asking->keys[i]);
        if (index < 0) continue;
        inputs[T] = (struct model_input){index, EVENT_VIEW, T > 0 ? GAP_MS : 0};
        T++;
    }
    if (T == 0) return;
    exclusions_make(asking);
    const struct model_exclusions excluded = {.items = asking->excluded, .n = asking->n_excluded};
    model_prefill(sessions->model, sessions->scratch, T, inputs, sessions->state);
    const float *vector = model_state_vector(sessions->model, sessions->state);
    model_topk(sessions->model, sessions->scratch, 1, &vector, &excluded, asking->depth, top,
               scores);
    for (int k = 0; k < asking->depth && top[k] >= 0; k++) {
        uint64_t key = model_item_key(sessions->model, top[k]);
        if (is_refused(asking, key)) continue;
        asking->encoder_scores[asking->n_encoder] = scores[k];
        asking->encoder[asking->n_encoder++] = key;
    }
}

static void neighbours_ask(struct asking *asking)
{
    struct model_neighbour found[DEPTH];
    int last = asking->n < MODEL_NEIGHBOURS_LAST_MAX ? asking->n : MODEL_NEIGHBOURS_LAST_MAX;
    if (asking->sessions->settings->blend_weights[ARM_NEIGHBOURS] <= 0 || last == 0) return;
    int n = model_neighbours_query(asking->sessions->index, 0, asking->keys + asking->n - last,
                                   last, asking->depth, is_refused_or_lost, asking, found);
    for (int i = 0; i < n; i++) {
        asking->neighbours[i] = found[i].key;
        asking->neighbour_scores[i] = (float)found[i].score;
        asking->follows[i] = found[i].follows;
    }
    asking->n_neighbours = n;
}

static void popular_ask(struct asking *asking)
{
    const struct top *top = top_of(asking->sessions, asking->question->tenant, false);
    for (int i = 0; top && i < top->n && asking->n_popular < asking->depth; i++)
        if (!is_refused_or_lost(asking, top->rows[i].key))
            asking->popular[asking->n_popular++] = top->rows[i].key;
}

/* The model's ranker, or rank fusion; as app/publish.c blends. */
static int blend(struct asking *asking, struct model_blended *out)
{
    const struct sessions *sessions = asking->sessions;
    const float *weights = sessions->settings->blend_weights;
    struct model_session noted;
    struct model_ranking ranking = {
        .arms = {[ARM_ENCODER] = {asking->encoder, asking->n_encoder, asking->encoder_scores},
                 [ARM_NEIGHBOURS] = {asking->neighbours, asking->n_neighbours,
                                     asking->neighbour_scores},
                 [ARM_POPULAR] = {.keys = asking->popular, .n = asking->n_popular}},
        .follows = asking->follows,
    };
    if (asking->question->neighbours_only || !sessions->model || !model_ranker(sessions->model))
        return model_blend(ranking.arms, weights, ARM_COUNT, asking->question->n, out);
    model_session_note(&noted, asking->keys, asking->n, is_refused_or_lost, asking);
    model_ranking_session(&ranking, &noted);
    if (weights[ARM_POPULAR] <= 0) ranking.arms[ARM_POPULAR].n = 0;
    return model_rank(sessions->model, &ranking, asking->question->n, out);
}

static int items_write(const struct asking *asking, const struct model_blended *blended, int n,
                       struct sessions_item *out)
{
    for (int i = 0; i < n; i++)
        out[i] = (struct sessions_item){blended[i].key, id_of(asking->sessions, blended[i].key),
                                        blended[i].score, blended[i].arms};
    return n;
}

int sessions_answer(struct sessions *sessions, const struct sessions_question *question,
                    struct sessions_item *out)
{
    struct model_blended blended[SESSIONS_LIST_MAX];
    struct asking asking;
    asking.sessions = sessions;
    asking.question = question;
    asking.n_excluded = 0;
    asking.n_encoder = asking.n_neighbours = asking.n_popular = 0;
    model_refresh(sessions);
    question_read(&asking);
    if (!question->neighbours_only) encoder_ask(&asking);
    neighbours_ask(&asking);
    if (!question->neighbours_only || asking.n_neighbours < question->n) popular_ask(&asking);
    return items_write(&asking, blended, blend(&asking, blended), out);
}

int sessions_popular(struct sessions *sessions, const struct sessions_question *question,
                     struct sessions_item *out)
{
    struct model_blended blended[SESSIONS_LIST_MAX];
    struct asking asking;
    asking.sessions = sessions;
    asking.question = question;
    asking.n_excluded = asking.n_popular = 0;
    question_read(&asking);
    popular_ask(&asking);
    const struct model_candidates popular = {.keys = asking.popular, .n = asking.n_popular};
    const float weight = 1;
    int n = model_blend(&popular, &weight, 1, question->n, blended);
    for (int i = 0; i < n; i++)
        blended[i].arms = 1u << ARM_POPULAR;
    return items_write(&asking, blended, n, out);
}
