/* Every key of the configuration. Names are those of Kafka Streams where the meaning is equal, of the Kafka clients and
 * of Kafka Connect otherwise. docs/OPTIONS.md is written from this table; a test fails when it is stale. */
#include "app/config.h"

#include "app/app.h"
#include "model/model.h"
#include "app/relations_rows.h"

/* ---- headings ---- */

static const char group_basics[] = "Basics";
static const char group_topics[] = "Topics and formats";
static const char group_processing[] = "Processing";
static const char group_group[] = "Consumer group";
static const char group_state[] = "State and memory";
static const char group_lists[] = "Lists";
static const char group_rules[] = "Catalogue and rules";
static const char group_neighbours[] = "Session neighbours";
static const char group_related[] = "Items that go together";
static const char group_popularity[] = "Popularity";
static const char group_errors[] = "Bad records";
static const char group_logs[] = "Logs";
static const char group_metrics[] = "Metrics";
static const char group_process[] = "Process";
static const char group_http[] = "HTTP";

/* ---- bounds ---- */

#define MS_MAX    (36500.0 * 86400000.0)      /* 100 years */
#define BYTES_MAX (8.0 * 1024 * 1073741824.0) /* 8 TiB */

/* {name, type, default, min, max, unit, values, help, group}; the default NULL: required. */
const struct option_spec app_config_specs[] = {
    /* clang-format off */
    {"application.id", OPTION_TEXT, NULL, 0, 0, "", NULL,
     "Names this application: the consumer group, the folder of its state and its internal topics. Two shops need "
     "two; all processes of one shop share one.", group_basics},
    {"bootstrap.servers", OPTION_LIST, "localhost:9092", 0, 0, "", NULL,
     "Brokers to start from, host:port, separated by commas. `embedded` starts an in-process mock broker for a first "
     "look: nothing in it is durable.", group_basics},
    {"state.dir", OPTION_TEXT, "freshet-state", 0, 0, "", NULL,
     "Folder for state; each application has <state.dir>/<application.id>. Put it on a local disk that outlives the "
     "process.", group_basics},
    {"model.dir", OPTION_TEXT, "", 0, 0, "", NULL,
     "Folder of a trained model (`freshet train`). Empty: lists come from popularity alone.", group_basics},
    {"model.check.interval.ms", OPTION_INT, "1000", 0, 86400000, "ms", NULL,
     "How often the model folder is looked at: a new model in it takes the place of the one in use, without a pause, once its "
     "files have not changed between two looks. 0: only when SIGHUP comes.", group_basics},

    {"events.topics", OPTION_LIST, "freshet.events", 0, 0, "", NULL,
     "Topics of shop events, separated by commas, at most 8. All have the same number of partitions and the user as "
     "key.", group_topics},
    {"recommendations.topic", OPTION_TEXT, "freshet.recommendations", 0, 0, "", NULL,
     "Where lists go: key tenant and user, compacted.", group_topics},
    {"related.topic", OPTION_TEXT, "freshet.related-items", 0, 0, "", NULL,
     "Where the items go that go with an item: key tenant, item and kind, compacted. Empty: none are made.", group_topics},
    {"trending.topic", OPTION_TEXT, "freshet.trending", 0, 0, "", NULL,
     "Where what rises in each category goes: key tenant and category, compacted. Empty: none.", group_topics},
    {"items.topic", OPTION_TEXT, "freshet.items", 0, 0, "", NULL,
     "The catalogue: key tenant and item, compacted. Read whole at the start and followed (docs/RULES.md). Empty, or the default "
     "name and no such topic: no catalogue.", group_topics},
    {"erasures.topic", OPTION_TEXT, "freshet.erasures", 0, 0, "", NULL,
     "Requests to forget a user: key as the user's events, as many partitions as events.topics, compacted and deleted after a while "
     "(docs/PRIVACY.md). Empty, or the default name and no such topic: none are read.", group_topics},
    {"replication.factor", OPTION_INT, "-1", -1, 100, "", NULL,
     "Replicas of topics that `freshet topics create` makes. -1: the broker's default.", group_topics},
    {"value.format", OPTION_ENUM, "avro", 0, 0, "", "avro|json",
     "How events are encoded. Lists are always Avro.", group_topics},
    {"schema.registry.url", OPTION_TEXT, "", 0, 0, "", NULL,
     "Confluent-compatible schema registry. Empty: records carry the ids of the built-in schemas.", group_topics},
    {"basic.auth.user.info", OPTION_TEXT, "", 0, 0, "", NULL,
     "user:password for the schema registry: `${file:/path}`, or by the environment.", group_topics},
    {"auto.register.schemas", OPTION_BOOL, "true", 0, 0, "", NULL,
     "Register the schema of lists at start. false: it must be there.", group_topics},
    {"schema.registry.timeout.ms", OPTION_INT, "10s", 100, 600000, "ms", NULL,
     "How long one call of the registry may take.", group_topics},

    {"processing.guarantee", OPTION_ENUM, "at_least_once", 0, 0, "", "at_least_once|exactly_once_v2",
     "at_least_once: no event is lost, and a list may be published twice after a crash, the second equal to the "
     "first. exactly_once_v2: lists, dead letters, pairs and positions are of one transaction; who reads with isolation.level=read_committed "
     "sees each event's effect once. It costs latency: a list is seen when its transaction ends. Needs brokers from 2.5 on; each "
     "process its own group.instance.id.", group_processing},
    {"num.stream.threads", OPTION_INT, "1", 1, 64, "threads", NULL,
     "Threads that apply events. A partition belongs to one; more than partitions or cores is no use.",
     group_processing},
    {"commit.interval.ms", OPTION_INT, "1000", 10, 600000, "ms", NULL,
     "State and positions are written at least so often; sooner when there is little to do. Longer: less "
     "writing under load, more to replay after a crash. With exactly_once_v2 the default is 100: a transaction lasts so long.",
     group_processing},
    {"batch.max.events", OPTION_INT, "1024", 1, 4096, "events", NULL,
     "Events computed together when they wait in the queue. An idle stream is served one by one whatever this says.",
     group_processing},
    {"max.in.flight.epochs", OPTION_INT, "8", 1, 1024, "epochs", NULL,
     "Commits of a thread that may wait for the broker's acknowledgement before it stops reading.", group_processing},
    {"task.timeout.ms", OPTION_INT, "5m", 1000, MS_MAX, "ms", NULL,
     "How long to go on trying when the broker, the registry or the disk refuse, before the process stops.",
     group_processing},
    {"producer.queue.max.bytes", OPTION_INT, "64MiB", 1048576, BYTES_MAX, "bytes", NULL,
     "What may wait in the producer; when it is full, reading waits.", group_processing},
    {"events.start", OPTION_ENUM, "earliest", 0, 0, "", "earliest|latest",
     "Where to begin in a partition that the store has never seen.", group_processing},
    {"on.offset.gap", OPTION_ENUM, "fail", 0, 0, "", "fail|accept",
     "What to do when events are missing between the store's position and the log (retention deleted them). accept: "
     "go on and count it.", group_processing},
    {"events.transactional", OPTION_BOOL, "false", 0, 0, "", NULL,
     "The events are written in transactions, whose markers take offsets; gaps of that kind are no loss.",
     group_processing},
    {"events.max.future.ms", OPTION_INT, "5m", 0, MS_MAX, "ms", NULL,
     "An event time further than this after its record's timestamp is replaced by the timestamp.", group_processing},
    {"late.tolerance.ms", OPTION_INT, "1s", 0, MS_MAX, "ms", NULL,
     "Events up to this much older than the user's newest are appended as they come; older ones are put in their "
     "place, which encodes the window again.", group_processing},

    {"group.instance.id", OPTION_TEXT, "", 0, 0, "", NULL,
     "Static membership: a name of this process that survives restarts (a pod's name), so that a restart moves no "
     "partition. Empty: none.", group_group},
    {"session.timeout.ms", OPTION_INT, "45s", 6000, 1800000, "ms", NULL,
     "A process that the group has not heard from for so long loses its partitions. Longer than a restart takes.",
     group_group},

    {"session.window", OPTION_INT, "200", 2, 10000, "events", NULL,
     "Interactions that are kept of each user; when it is full, the older half goes.", group_state},
    {"session.gap.ms", OPTION_INT, "30m", 1, MS_MAX, "ms", NULL,
     "A user who did nothing for longer begins a new session.", group_state},
    {"statestore.cache.max.bytes", OPTION_INT, "256MiB", 1048576, BYTES_MAX, "bytes", NULL,
     "Users held in memory, all threads together.", group_state},
    {"statestore.uncommitted.max.bytes", OPTION_INT, "64MiB", 1048576, BYTES_MAX, "bytes", NULL,
     "Changes that wait for the broker's acknowledgement, all threads together; when it is reached, reading waits.",
     group_state},
    {"statestore.changelog.enabled", OPTION_BOOL, "false", 0, 0, "", NULL,
     "Every change of the state is also written to the compacted topic <application.id>-state-changelog (`freshet topics create` makes it), from "
     "which a lost disk or a partition that moved here is restored. false: it is rebuilt from the events topics, as far as they reach back.",
     group_state},
    {"num.standby.replicas", OPTION_INT, "0", 0, 100, "copies", NULL,
     "So many other processes keep a copy of each partition's state by following the changelog, so that one that takes it over has little to read. Needs "
     "statestore.changelog.enabled; each copy is disk and CPU of one more process.", group_state},
    {"statestore.snapshot.dir", OPTION_TEXT, "", 0, 0, "", NULL,
     "Folder for snapshots: copies of the whole store that the process takes of itself while it runs, each process in <application.id>/<group.instance.id> of "
     "it. At a start without a store the newest sound one becomes it, and what came since is read from the changelog or the events topics. On "
     "another disk than state.dir they outlive its loss. Empty: none are taken.",
     group_state},
    {"statestore.snapshot.interval.ms", OPTION_INT, "1h", 1000, MS_MAX, "ms", NULL,
     "Between two snapshots. Shorter than the retention of the events topics; an erased user is in none after this times one more than are kept.",
     group_state},
    {"statestore.snapshot.keep", OPTION_INT, "2", 1, 100, "snapshots", NULL,
     "So many are kept; the older ones are there in case that the newest is damaged.", group_state},
    {"rocksdb.memory.max.bytes", OPTION_INT, "128MiB", 8388608, BYTES_MAX, "bytes", NULL,
     "Write buffers and block cache of RocksDB together.", group_state},

    {"privacy.pseudonymise", OPTION_BOOL, "false", 0, 0, "", NULL,
     "User ids and anonymous ids of events are replaced by pseudonyms (keyed BLAKE2b-128) before anything else sees them: state, lists, logs and "
     "metrics hold no id. Dead letters are then without key and value (docs/PRIVACY.md).", group_state},
    {"privacy.pseudonym.secret", OPTION_TEXT, "", 0, 0, "", NULL,
     "Keys of the pseudonyms, `${file:/path}` or from the environment: name:64 hex digits (`openssl rand -hex 32`), the one in use first; behind "
     "it the one before, while users' state moves over.", group_state},
    {"erasure.guard.ms", OPTION_INT, "30d", 0, MS_MAX, "ms", NULL,
     "How long late events of an erased user are kept out, and retention of the erasures topic that `freshet topics create` makes. Longer "
     "than the retention of the events topics and the life of a backup.", group_state},

    {"list.size", OPTION_INT, "20", 1, 64, "items", NULL, "Items in a list.", group_lists},
    {"list.reasons", OPTION_ENUM, "items", 0, 0, "", "items|kinds",
     "What stands in the reasons of a list's items: kinds, such as `encoder`; items: also which item of the user's history it is "
     "because of. Naming costs 2 to 3 us of CPU a list, half of it for the longer records.", group_lists},
    {"blend.encoder.weight", OPTION_NUMBER, "1", 0, 1000, "", NULL,
     "Weight of the model's list when the lists are merged by rank. A model's ranker takes no weights; an arm of weight 0 "
     "proposes nothing to it.", group_lists},
    {"blend.neighbours.weight", OPTION_NUMBER, "1", 0, 1000, "", NULL,
     "Weight of the items of similar sessions when the lists are merged by rank.", group_lists},
    {"blend.related.weight", OPTION_NUMBER, "1", 0, 1000, "", NULL,
     "Weight of what goes with the user's newest items (related.topic) when the lists are merged by rank.", group_lists},
    {"blend.trending.weight", OPTION_NUMBER, "0.3", 0, 1000, "", NULL,
     "Weight of what rises in the categories of the user's newest items and in the whole shop (trending.topic) when the lists are merged by "
     "rank. A ranker counts on it when it was learnt with `--trending`.", group_lists},
    {"blend.popularity.weight", OPTION_NUMBER, "0.03", 0, 1000, "", NULL,
     "Weight of the popular items when the lists are merged by rank. Under three quarters of the model's weight they "
     "reorder its list and fill a short one, and displace nothing (docs/RESULTS.md).", group_lists},

    {"items.confirm", OPTION_BOOL, "true", 0, 0, "", NULL,
     "Before events are answered, everything that was acknowledged in items.topic is applied: what is sold out or hidden is in no "
     "list from then on. false: some milliseconds later.", group_rules},
    {"items.required", OPTION_BOOL, "true", 0, 0, "", NULL,
     "When a tenant has items in the catalogue, only those are listed. false: items without a record too.", group_rules},
    {"items.memory.max.bytes", OPTION_INT, "1GiB", 1048576, BYTES_MAX, "bytes", NULL,
     "Memory of the catalogue; about 500 bytes for an item. A catalogue that needs more ends the process.", group_rules},
    {"rules.file", OPTION_TEXT, "", 0, 0, "", NULL,
     "JSON file of rules for lists (docs/RULES.md): what they must not hold, limits, boosts, pins, diversity, new items. Empty: none.",
     group_rules},
    {"rules.check.interval.ms", OPTION_INT, "1s", 0, 86400000, "ms", NULL,
     "How often the file is looked at; a changed one takes the place of the rules in use, one with errors is refused. 0: only when "
     "SIGHUP comes.", group_rules},
    {"rules.bought.days", OPTION_INT, "0", 0, 36500, "days", NULL,
     "A bought item is in no list of its buyer for so many days of event time. 0: for ever.", group_rules},

    {"neighbours.enabled", OPTION_BOOL, "true", 0, 0, "", NULL,
     "Lists also hold what users of similar sessions went on to (VMIS-kNN), from the first event on, without training.",
     group_neighbours},
    {"neighbours.memory.max.bytes", OPTION_INT, "64MiB", 65536, BYTES_MAX, "bytes", NULL,
     "Memory of the sessions that neighbours are looked for in, all partitions of the topic together: each has an equal "
     "share, and a process takes what its own need. When a share is full, the session without a click for longest leaves. A "
     "changed value holds from the next start.",
     group_neighbours},
    {"neighbours.max.age.ms", OPTION_INT, "90d", 0, MS_MAX, "ms", NULL,
     "Sessions whose newest click is this much older than the newest of all leave. 0: none does.", group_neighbours},
    {"neighbours.m", OPTION_INT, "500", 1, 100000, "sessions", NULL,
     "The newest sessions with one of the user's last items that are compared.", group_neighbours},
    {"neighbours.k", OPTION_INT, "200", 1, 100000, "sessions", NULL,
     "The most similar of them, whose items are counted.", group_neighbours},
    {"neighbours.last", OPTION_INT, "10", 1, MODEL_NEIGHBOURS_LAST_MAX, "items", NULL,
     "Newest items of the user's session that are compared.", group_neighbours},
    {"neighbours.similarity", OPTION_ENUM, "linear", 0, 0, "", "same|linear|div|log|quadratic",
     "How a shared item counts the less for similarity the older it is in the user's session.", group_neighbours},
    {"neighbours.position", OPTION_ENUM, "div", 0, 0, "", "same|linear|div|log|quadratic",
     "How a session counts the less the older the newest item is that it shares.", group_neighbours},
    {"neighbours.idf", OPTION_ENUM, "plus", 0, 0, "", "none|times|plus",
     "How rare items gain: not; times weight * log(sessions / sessions with it); or times 1 + that.", group_neighbours},
    {"neighbours.idf.weight", OPTION_NUMBER, "6", 0, 1000, "", NULL, "That weight.", group_neighbours},
    {"neighbours.reach", OPTION_NUMBER, "1", 0, 64, "items", NULL,
     "An item so many places from the shared one counts 1/e as much. 0: place does not matter.", group_neighbours},
    {"neighbours.half.life.ms", OPTION_INT, "0", 0, MS_MAX, "ms", NULL,
     "A session this much older counts half as much. 0: age does not matter.", group_neighbours},

    {"trending.half.life.ms", OPTION_INT, "1h", 1000, MS_MAX, "ms", NULL,
     "An item rises when it counts more than usual: after this time an event counts half as much for what it does now, after "
     "popularity.half.life.ms for what is usual.", group_related},
    {"related.half.life.ms", OPTION_INT, "180d", 1000, MS_MAX, "ms", NULL,
     "After this time a pair counts half as much, of items in orders.", group_related},
    {"related.view.half.life.ms", OPTION_INT, "30d", 1000, MS_MAX, "ms", NULL,
     "The same of items that were looked at in one session (also_viewed): what people look for changes sooner.", group_related},
    {"related.partners.max", OPTION_INT, "64", 8, 1000, "items", NULL,
     "Items that are counted for each item and kind; the weakest leave first.", group_related},
    {"related.list.size", OPTION_INT, "20", 1, RELATED_LIST_MAX, "items", NULL, "Items in a list.", group_related},
    {"related.change", OPTION_NUMBER, "0.1", 0, 1000, "", NULL,
     "A list is published when its items or their order changed, or a score by this share.", group_related},
    {"related.publish.interval.ms", OPTION_INT, "1h", 0, MS_MAX, "ms", NULL,
     "A list is also published when something is counted in it and the one that stands is so much older.", group_related},
    {"related.memory.max.bytes", OPTION_INT, "128MiB", 1048576, BYTES_MAX, "bytes", NULL,
     "Memory for what goes together, all threads together: half of it for the items met last, half for how often each item "
     "is part of anything.", group_related},
    {"related.lists.memory.max.bytes", OPTION_INT, "128MiB", 65536, BYTES_MAX, "bytes", NULL,
     "Memory for the published lists, of all processes, that lists of users are made with; the one published longest ago makes "
     "room. None when blend.related.weight and blend.trending.weight are 0.", group_related},
    {"related.basket.max", OPTION_INT, "50", 2, MODEL_PAIRS_BASKET_LIMIT, "items", NULL,
     "An order of more items says nothing about what goes together.", group_related},
    {"related.window.ms", OPTION_INT, "30d", 0, MS_MAX, "ms", NULL,
     "Orders of one user that are further apart say nothing about each other.", group_related},
    {"related.session.items", OPTION_INT, "5", 1, MODEL_PAIRS_SESSION_LIMIT, "items", NULL,
     "Newest items looked at in a session that go with the one looked at, or bought, next.", group_related},
    {"related.user.max", OPTION_INT, "100", 1, 10000, "events", NULL,
     "A session of more events is no person's: it adds nothing more. Over half of session.window it may never be reached.",
     group_related},

    {"popularity.half.life.ms", OPTION_INT, "7d", 1000, MS_MAX, "ms", NULL,
     "After this time an event counts half as much.", group_popularity},
    {"popularity.max.items", OPTION_INT, "100000", 100, 100000000, "items", NULL,
     "Items counted in each partition and tenant; the least popular leave first.", group_popularity},
    {"event.weight.impression", OPTION_NUMBER, "0", 0, 1000, "", NULL,
     "What an impression counts for popularity.", group_popularity},
    {"event.weight.click", OPTION_NUMBER, "1", 0, 1000, "", NULL,
     "What a click counts for popularity.", group_popularity},
    {"event.weight.view", OPTION_NUMBER, "1", 0, 1000, "", NULL,
     "What a view counts for popularity.", group_popularity},
    {"event.weight.add_to_cart", OPTION_NUMBER, "2", 0, 1000, "", NULL,
     "What an add_to_cart counts for popularity.", group_popularity},
    {"event.weight.remove_from_cart", OPTION_NUMBER, "0", 0, 1000, "", NULL,
     "What a remove_from_cart counts for popularity.", group_popularity},
    {"event.weight.purchase", OPTION_NUMBER, "4", 0, 1000, "", NULL,
     "What a purchase counts for popularity.", group_popularity},
    {"event.weight.refund", OPTION_NUMBER, "0", 0, 1000, "", NULL,
     "What a refund counts for popularity.", group_popularity},
    {"event.weight.search", OPTION_NUMBER, "0", 0, 1000, "", NULL,
     "What a search counts for popularity.", group_popularity},
    {"event.weight.like", OPTION_NUMBER, "2", 0, 1000, "", NULL,
     "What a like counts for popularity.", group_popularity},
    {"event.weight.dislike", OPTION_NUMBER, "0", 0, 1000, "", NULL,
     "What a dislike counts for popularity.", group_popularity},
    {"event.weight.other", OPTION_NUMBER, "0", 0, 1000, "", NULL,
     "What any other event counts for popularity.", group_popularity},

    {"errors.deadletterqueue.topic.name", OPTION_TEXT, "", 0, 0, "", NULL,
     "Where records go that cannot be used, byte for byte, with the reason in headers. Empty: <application.id>-dlq.",
     group_errors},
    {"poison.policy", OPTION_ENUM, "dlq", 0, 0, "", "dlq|stop",
     "What to do with a record that cannot be used: dlq keeps it aside and goes on; stop ends the process before it "
     "(exit 9).", group_errors},
    {"poison.max.share", OPTION_NUMBER, "0.5", 0, 1, "", NULL,
     "The process ends (exit 9) when a larger share of a thread's last 1,000 records was dead-lettered: more likely a "
     "wrong topic or format than bad records. Looked at after each 1,000. 1: never.", group_errors},

    {"log.format", OPTION_ENUM, "logfmt", 0, 0, "", "logfmt|json", "Form of the lines on stderr.", group_logs},
    {"log.level", OPTION_ENUM, "info", 0, 0, "", "debug|info|warn|error", "The least level that is written.",
     group_logs},
    {"debug", OPTION_LIST, "", 0, 0, "", NULL,
     "Areas whose debug lines are written: folder names such as `ingest,state`, or `all`.", group_logs},
    {"log.summary.interval.ms", OPTION_INT, "2m", 0, MS_MAX, "ms", NULL,
     "How often one line sums up events, lists, lag and latency. 0: never.", group_logs},

    {"metrics.file", OPTION_TEXT, "", 0, 0, "", NULL,
     "File for all metrics as Prometheus text, for the textfile collector of node_exporter (name it *.prom) or to look at. It "
     "is replaced as a whole. Empty: none.", group_metrics},
    {"metrics.interval.ms", OPTION_INT, "5s", 100, 86400000, "ms", NULL,
     "How often it is written; also at the start and at the end.", group_metrics},

    {"process.sandbox", OPTION_BOOL, "true", 0, 0, "", NULL,
     "After the configuration is read the kernel refuses every system call that freshet does not need: no new program or process, no "
     "debugger, no memory that is written and then run. false: when a library of this machine needs more (docs/RUNBOOK.md).",
     group_process},
    {"process.dumpable", OPTION_BOOL, "false", 0, 0, "", NULL,
     "true: core dumps (as far as `ulimit -H -c` allows) and debuggers of the same user, which see passwords. For finding a fault.",
     group_process},

    {"http.listen", OPTION_TEXT, "", 0, 0, "", NULL,
     "Address and port of the HTTP API and the page: 127.0.0.1:8080, [::1]:8080, or :8080 for all addresses. Empty: `freshet run` opens "
     "none, `freshet serve` takes 127.0.0.1:8080.", group_http},
    {"http.token", OPTION_TEXT, "", 0, 0, "", NULL,
     "Bearer token that requests must carry (`Authorization: Bearer ...`), but for health checks and the page; as `${file:/path}` or by the environment. Empty: "
     "none.", group_http},
    {"http.cors.origin", OPTION_TEXT, "", 0, 0, "", NULL,
     "Origin whose pages may call the API from a browser, or `*`. Empty: none but our own.", group_http},
    {"http.max.connections", OPTION_INT, "256", 1, 65536, "connections", NULL,
     "Connections at a time; the longest idle one gives way to a new one.", group_http},
    {"http.view.memory.bytes", OPTION_INT, "64MiB", 1048576, BYTES_MAX, "bytes", NULL,
     "Write buffers and block cache of the view that answers come from.", group_http},
    {"http.items.max", OPTION_INT, "1000000", 1, 100000000, "items", NULL,
     "Items of the catalogue that are held in memory for titles, prices, what is hidden, and search; some 250 bytes each.", group_http},
    {"http.sessions", OPTION_ENUM, "events", 0, 0, "", "events|off",
     "What POST /v1/session compares a session with: the newest sessions of the events topics, read by the server itself "
     "(neighbours.memory.max.bytes bounds them); or nothing but model and popularity.", group_http},
    {"http.sessions.events", OPTION_INT, "1000000", 0, 1e12, "events", NULL,
     "How many of the newest events of each partition are read for that at the start.", group_http},
    /* clang-format on */
};

const size_t app_config_count = sizeof(app_config_specs) / sizeof(app_config_specs[0]);

void app_config_prefixes(struct options *options)
{
    static const char *const prefixes[] = {"consumer.", "producer.", "security.", "sasl.", "ssl."};
    for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++) {
        options_allow_prefix(options, prefixes[i]);
    }
}
