#ifndef TESTS_SCHEMAS_FAKE_REGISTRY_H
#define TESTS_SCHEMAS_FAKE_REGISTRY_H

#include "base/sync.h"

/* A registry of our own on loopback, in a thread, that answers as it is told: also with lies, garbage and silence. */

enum fake_id {
    FAKE_EVENT = 101,  /* freshet.Event */
    FAKE_UNKNOWN,      /* 404 with error_code */
    FAKE_GARBAGE,      /* 200, no JSON */
    FAKE_NO_SCHEMA,    /* 200, JSON without a schema */
    FAKE_NOT_AVRO,     /* 200, a schema that is none */
    FAKE_REFERENCES,   /* 200, with references */
    FAKE_PROTOBUF,     /* 200, schemaType PROTOBUF */
    FAKE_SILENT,       /* takes the request and says nothing */
    FAKE_DRIP,         /* a byte now and then, for ever */
    FAKE_CLOSES,       /* closes at once */
    FAKE_HUGE,         /* megabytes */
    FAKE_CUT,          /* half of what Content-Length says */
    FAKE_UNAUTHORISED, /* 401 */
    FAKE_BROKEN,       /* 500 */
    FAKE_OTHER_404,    /* 404 of something that is no registry */
    FAKE_REDIRECT,     /* 302 */
    FAKE_DEEP,         /* a schema that nests 1000 deep */
    FAKE_STRANGER,     /* a record without any field of ours */
    FAKE_WRONG_TYPE,   /* user_id is a record */
    FAKE_RECURSIVE,    /* a linked list beside the event's fields */
    FAKE_CHANGES,      /* freshet.Event the first time, FAKE_STRANGER's from then on */
};

struct fake_registry {
    struct thread thread;
    struct flag stop;
    struct sync_int requests;   /* answered or begun */
    struct sync_int changes;    /* of FAKE_CHANGES, so far */
    struct sync_int authorised; /* with "Authorization: Basic dXNlcjpzZWNyZXQ=" (user:secret) */
    /* What subjects answer: 1 ours is the newest, 2 ours is an older version, 0 another schema is there, -1 there is none,
     * -2 registering is refused (409). */
    struct sync_int latest_is_ours;
    int listener;
    int port;
    char url[64];
};

void fake_registry_start(struct fake_registry *fake);
void fake_registry_stop(struct fake_registry *fake);

#endif
