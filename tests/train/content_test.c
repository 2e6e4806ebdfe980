/* Catalogues as files, and what a model learns of items by what they share. */
#include "tests/test.h"

#include <unistd.h>

#include "base/mem.h"
#include "base/rng.h"
#include "tests/train/support.h"
#include "train/content.h"

/* The features of an item, in order, separated by spaces. */
static void expect_item(const struct train_catalogue *c, const char *id, const char *want)
{
    char got[1024] = "";
    size_t at = 0;
    int item = (int)(uintptr_t)map_str_get(c->items, str_of(id)) - 1;
    CHECK(item >= 0);
    for (int j = 0; j < c->count[item]; j++) {
        struct str name = c->name[c->features[c->start[item] + (size_t)j]];
        at += (size_t)snprintf(got + at, sizeof got - at, "%s%.*s", j ? " " : "", STR_ARG(name));
    }
    CHECK_STR(got, want);
}

static int holders(const struct train_catalogue *c, const char *name)
{
    return c->holders[(int)(uintptr_t)map_str_get(c->names, str_of(name)) - 1];
}

static void csv(void)
{
    struct train_catalogue *c = support_catalogue("movieId,title,genres\n"
                                                  "1,\"Heat, the (1995)\",Action|Crime\n"
                                                  "2,Up,\n"
                                                  "1,Heat (1995),Crime||Action|Noir|Slow\n"
                                                  ",None,Crime\n"
                                                  "2,too,many,fields\n"
                                                  "3,Up up,Crime\n"
                                                  "3,,\n",
                                                  NULL);
    CHECK_INT(c->rows, 7);
    CHECK_INT(c->bad, 2);
    CHECK_CONTAINS(c->first_bad, ":5: no item id");
    CHECK_INT(c->n_items, 3);
    expect_item(c, "1",
                "category:Crime category:Action category:Noir category:Slow word:heat word:1995");
    expect_item(c, "2", "word:up");
    expect_item(c, "3", "category:Crime word:up");
    CHECK_INT(holders(c, "category:Crime"), 2);
    CHECK_INT(holders(c, "category:Action"), 1);
    CHECK_INT(holders(c, "word:up"), 2);
    CHECK_INT(holders(c, "word:the"), 0); /* of a row that a newer one replaced */
    train_catalogue_free(c);
    c = support_catalogue("sku\tname\tcost\tmaker\nA\tx \"big\" one\t1.5\tAcme\nB\t\t0\t\n",
                          "item=sku,title=name,price=cost,brand=maker");
    expect_item(c, "A", "brand:Acme price:1 word:big word:one");
    expect_item(c, "B", "");
    train_catalogue_free(c);
}

static void json_lines(void)
{
    struct train_catalogue *c = support_catalogue(
        "{\"item_id\":\"a\",\"title\":\"Blue Cup\",\"categories\":[\"Home\",\"Cups\"],"
        "\"brand\":\"Acme\",\"price\":4.0}\n"
        "{\"item_id\":\"b\",\"tenant\":\"other\"}\n"
        "{\"item_id\":\"c\",\"extra\":{\"x\":[1]}}\n"
        "{\"title\":\"no id\"}\n",
        NULL);
    CHECK_INT(c->rows, 4);
    CHECK_INT(c->bad, 1);
    CHECK_INT(c->n_items, 2);
    expect_item(c, "a", "category:Home category:Cups brand:Acme price:4 word:blue word:cup");
    expect_item(c, "c", "");
    train_catalogue_free(c);
}

static void fails(const char *text, const char *map, const char *part)
{
    char path[] = "/tmp/freshet-train-XXXXXX";
    struct train_catalogue *c = NULL;
    struct err err = ERR_INIT;
    int fd = mkstemp(path);
    CHECK(fd >= 0);
    CHECK_INT(write(fd, text, strlen(text)), strlen(text));
    CHECK_INT(close(fd), 0);
    CHECK_FAIL(train_catalogue_read(&c, path, map, "", &err), err, ERR_FATAL);
    CHECK_INT(err.exit_code, ERR_EXIT_USAGE);
    CHECK_CONTAINS(err.text, part);
    CHECK_INT(unlink(path), 0);
}

static void refused(void)
{
    struct train_catalogue *c = NULL;
    struct err err = ERR_INIT;
    CHECK_FAIL(train_catalogue_read(&c, "/nowhere/items.csv", NULL, "", &err), err, ERR_FATAL);
    fails("", NULL, "is empty");
    fails("a,b\n1,2\n", NULL, "which column is the item? Say --items-map item=COLUMN");
    fails("a,b\n1,2\n", "item=c", "(--items-map item=)");
    fails("a,b\n1,2\n", "user=a", "fields are item, title, categories, brand, price");
    fails("item\n", NULL, "no item in it");
    fails("item,price\n1,x\n2,y\n3,1\n", NULL, "2 of 3 rows cannot be read");
    fails("{\"item_id\":\"a\"}\n", "item=a", "no CSV");
    fails("{\"item_id\":\"a\",\"tenant\":\"b\"}\n", NULL, "no item in it");
}

/* Which features a model gets: those of its items that another item of the catalogue has too. */
static void shared_features(void)
{
    struct train_catalogue *c = support_catalogue(
        "item,categories\nx,red|alone\ny,blue|red\nz,blue\nunsold,green|white\nnew,green\n", NULL);
    const struct str ids[] = {STR("stranger"), STR("x"), STR("y")};
    struct train__content content;
    train__content_init(&content, c, ids, 3);
    CHECK_INT(content.n, 2);
    CHECK_INT(content.n_known, 2);
    CHECK(str_equal(content.names[0], STR("category:red")));
    CHECK(str_equal(content.names[1], STR("category:blue"))); /* z is not learnt */
    const size_t start[] = {0, 0, 1, 3};
    CHECK_BYTES(content.start, sizeof start, start, sizeof start);
    const int32_t feature[] = {0, 1, 0};
    CHECK_BYTES(content.feature, sizeof feature, feature, sizeof feature);
    uint64_t hash = train__content_hash(&content, 3);
    train__content_fini(&content);
    train__content_init(&content, c, ids, 2);
    CHECK(train__content_hash(&content, 2) != hash);
    train__content_fini(&content);
    train_catalogue_free(c);
}

/* ---- learning ---- */

enum { USERS = 150, LENGTH = 8, KINDS = 6, OF_A_KIND = 40 };

/* Users whose items go round the kinds 0, 1, .. 5, 0; which item of a kind is chance. */
static struct train_data *round_of_kinds(uint64_t seed)
{
    static char text[USERS * LENGTH * 24];
    struct rng rng;
    size_t at = 0;
    rng_init(&rng, seed);
    for (int u = 0; u < USERS; u++) {
        int kind = (int)rng_below(&rng, KINDS);
        for (int t = 0; t < LENGTH; t++, kind = (kind + 1) % KINDS)
            at += (size_t)snprintf(text + at, sizeof text - at, "u%d k%d-%d\n", u, kind,
                                   (int)rng_below(&rng, OF_A_KIND));
    }
    return support_data(text, LOGFILE_PAIRS, NULL);
}

static struct train_catalogue *kinds_catalogue(void)
{
    static char text[KINDS * OF_A_KIND * 24];
    size_t at = (size_t)snprintf(text, sizeof text, "item,categories\n");
    for (int i = 0; i < KINDS * OF_A_KIND; i++)
        at += (size_t)snprintf(text + at, sizeof text - at, "k%d-%d,kind %d\n", i / OF_A_KIND,
                               i % OF_A_KIND, i / OF_A_KIND);
    return support_catalogue(text, NULL);
}

static double dot(const float *a, const float *b)
{
    double sum = 0;
    for (int d = 0; d < 16; d++)
        sum += (double)a[d] * (double)b[d];
    return sum;
}

/* After an item of kind 2 a new item of kind 3, known by its category alone, stands above one of kind 5. */
static void check_new_items(const struct model *model)
{
    float next[16], other[16];
    const struct str kind[] = {STR("kind 3"), STR("kind 5")};
    struct model_content content = {.categories = kind, .n_categories = 1, .price = (double)NAN};
    CHECK_INT(model_content_vector(model, &content, next), 1);
    content.categories = kind + 1;
    CHECK_INT(model_content_vector(model, &content, other), 1);
    struct model_scratch *scratch = model_scratch_new(model);
    float *state = mem_aligned(64, (size_t)model_info(model).S * sizeof *state);
    int right = 0, asked = 0;
    for (int32_t i = 0; i < model_info(model).N; i++) {
        if (memcmp(model_item_id(model, i).ptr, "k2", 2) != 0) continue;
        struct model_input input = {.item = i};
        model_prefill(model, scratch, 1, &input, state);
        const float *user = model_state_vector(model, state);
        right += dot(user, next) > dot(user, other);
        asked++;
    }
    printf("  %d of %d\n", right, asked);
    CHECK(right >= asked * 9 / 10);
    mem_free(state);
    model_scratch_free(scratch);
}

static void learns_what_items_share(void)
{
    struct train_data *data = round_of_kinds(TEST_SEED());
    struct train_catalogue *catalogue = kinds_catalogue();
    struct train_options options = train_options_default();
    options.dim = options.hidden = 16;
    options.feed = 32;
    options.blocks = 1;
    options.batch = 128;
    options.rate = 0.01;
    options.dropout = 0.1;
    options.epochs = 12;
    options.split.protocol = TRAIN_LEAVE_ONE_OUT;
    for (int loss = TRAIN_FULL; loss <= TRAIN_SAMPLED; loss++) {
        struct train_result without, with, again;
        options.loss = (enum train_loss)loss;
        options.negatives = 64;
        options.catalogue = NULL;
        model_free(support_learn(data, &options, &without));
        CHECK_INT(without.n_content, 0);
        options.catalogue = catalogue;
        options.threads = 2;
        struct model *model = support_learn(data, &options, &with);
        CHECK_INT(with.n_content, KINDS);
        options.threads = 1;
        struct model *twin = support_learn(data, &options, &again);
        CHECK_HEX(model_info(model).id, model_info(twin).id);
        /* By chance among the items of the right kind HR@10 is 10/40. */
        printf("  %s: HR@10 %.3f, without a catalogue %.3f\n", loss ? "sampled" : "full", with.hr10,
               without.hr10);
        CHECK(with.hr10 > 0.15);
        CHECK(with.hr10 > without.hr10 + 0.05);
        check_new_items(model);
        model_free(model);
        model_free(twin);
    }
    struct train_result result;
    struct model *model = NULL;
    struct err err = ERR_INIT;
    struct train_catalogue *strangers = support_catalogue("item,categories\nq,c\n", NULL);
    options.catalogue = strangers;
    CHECK_FAIL(train_model(data, &options, NULL, NULL, &model, &result, &err), err, ERR_FATAL);
    CHECK_CONTAINS(err.text, "no item of the log is in the catalogue");
    train_catalogue_free(strangers);
    train_catalogue_free(catalogue);
    train_data_free(data);
}

int main(void)
{
    CASE(csv);
    CASE(json_lines);
    CASE(refused);
    CASE(shared_features);
    CASE(learns_what_items_share);
    return 0;
}
