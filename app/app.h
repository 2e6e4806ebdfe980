#ifndef APP_APP_H
#define APP_APP_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/options.h"

/* app/: main, verbs, pipeline, shard threads: the only place that knows everyone.
 *
 * Files, by what they are for; each begins with its own words
 *   the program     main.c, cli.c (the command line), verb_<name>.c, config.c (every key), settings.c (typed), arm_flags.c, when.c
 *                   (moments in text), loop.c (libuv), sandbox.c (system calls), keys.c (keys of records)
 *   the pipeline    pipeline.c (opening, turning, rebalances), pipeline_counts.c, group.c (the group's thread), shard.c (a shard's), batch.c ->
 *                   encode.c -> publish.c (a micro-batch), epochs.c (the commit protocol), committer.c (transactions), waits.h,
 *                   tail.h (what was told already), tap.c (copies for a view)
 *   lists           sessions.c and session_lines.c, neighbours.c, related_arm.c (arms); policy.c, policy_list.c (what lists hold),
 *                   rules.c, rules_when.c, rules_watch.c; models.c and versions.c (what is replaced while it is used), similar.c
 *   together        clicks.c -> pairs.c, pair_bytes.c -> relations.c, relations_rows.c, relations_bytes.c, relations_publish.c
 *   topics held     reader.c (a thread that follows topics), sweep.c (topics read once), catalogue.c, aisles.c, companions.c,
 *                   shelf.c
 *   the store       owner.c (what it belongs to), changelog.c, restore.c, restore_job.c, restore_log.c, restore_copies.c,
 *                   checkpoints.c, snapshots.c, reach.c (a copy against the topics)
 *   forgetting      forget.c (requests), requests.c (read whole), asked.c (their place in the log), erase.c; erasers.c (threads): purger.c,
 *                   redactor.c, redact_letters.c, redact_names.c, redact_strings.c
 *   HTTP            http.c, handlers_<what>.c, http_rules.c, http_schemas.c, mirror.c (topics to the view), page.c, page_files.h,
 *                   metrics.c
 *   people's tools  topics.c, trace.c, letters.c (dead letters), view.c and demo_feed.c (the demo), feeding.c -> import.c, sink.c,
 *                   inject.c; shop.c, shop_<what>.c (the simulated shop); train_input.c, eval_report.c, eval_orders.c
 *
 * A verb is one file app/verb_<name>.c with one `const struct verb verb_<name>`, listed in app/main.c. main parses the
 * command line:  freshet VERB [--config FILE] [--set key=value]... [--flag value | --flag=value]... [argument]...
 * and calls run. An error that run returns is printed once by main, and its exit code is the process's. */

struct app {
    struct options *config; /* the configuration: app/config.c */
    struct options *flags;  /* the verb's own */
    int n_args;             /* arguments that are no flags */
    const char *const *args;
};

struct verb {
    const char *name;
    const char *summary; /* one line for `freshet --help` */
    const char *usage;   /* "freshet train --input FILE --format lines --out FOLDER" */
    const char *help;    /* a paragraph with examples, for `freshet VERB --help` */
    const struct option_spec *flags;
    size_t n_flags;
    bool uses_config; /* takes --config and --set; its --help lists the configuration's groups */
    bool takes_args;  /* words that are no flags; else they are refused */
    bool (*run)(struct app *app, struct err *err);
};

/* The configuration's table (app/config.c). */
extern const struct option_spec app_config_specs[];
extern const size_t app_config_count;

#endif
