/* A record of the dead-letter topic from outside: any headers in any order, and whose it is. The client's headers are ours here: a name, a
 * NUL, two bytes of length, the value, and so on; the first byte says whether there is a value. The same bytes as key and value are looked
 * through for users. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/letters.h"
#include "app/redact_names.h"
#include "base/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* In place of ingest/follow.c's, which reads them from librdkafka's message. */
void ingest_follow_headers(const struct ingest_follow_record *record,
                           bool (*visit)(void *context, const char *name, struct str value),
                           void *context)
{
    const struct str *bytes = record->message;
    const char *at = bytes->ptr, *end = bytes->ptr + bytes->len, *nul;
    while (at < end && (nul = memchr(at, 0, (size_t)(end - at))) != NULL && end - nul >= 3) {
        size_t len = (size_t)(uint8_t)nul[1] << 8 | (uint8_t)nul[2], left = (size_t)(end - nul - 3);
        struct str value = {nul + 3, len < left ? len : left};
        if (!visit(context, at, value)) return;
        at = value.ptr + value.len;
    }
}

static void place(const char *text)
{
    char topic[LETTER_SOURCE_MAX], again[2 * LETTER_SOURCE_MAX];
    int32_t partition = -1;
    int64_t offset = -1;
    if (!place_parse(text, topic, &partition, &offset)) return;
    if (!topic[0] || strlen(topic) >= LETTER_SOURCE_MAX || partition < 0 || offset < 0) abort();
    (void)snprintf(again, sizeof again, "%s/%d/%lld", topic, (int)partition, (long long)offset);
    if (!place_parse(again, topic, &partition, &offset)) abort();
}

/* The second byte says how long the key is, a bit of the first what events are. */
static void whose(const uint8_t *data, size_t size)
{
    static struct schemas *schemas[2];
    static struct redact_names *names[2];
    struct err err = ERR_INIT;
    if (!names[0]) {
        const struct erasure asked[] = {{.user_id = STR("u42"), .anonymous_id = STR("7")},
                                        {.tenant = STR("shop"), .user_id = STR("customer-1")}};
        for (size_t i = 0; i < 2; i++) {
            const struct schemas_options options = {.events_format = (enum value_format)i};
            if (!schemas_open(&schemas[i], &options, &err)) abort();
            names[i] = redact_names_new(&(struct redact_reading){.schemas = schemas[i]});
            redact_names_add(names[i], &asked[0], 1);
            redact_names_add(names[i], &asked[1], 1);
        }
    }
    if (size < 2) return;
    size_t key = data[1] < size - 2 ? data[1] : size - 2;
    const char *bytes = (const char *)data + 2;
    const struct redact_record record = {
        {bytes, key}, {bytes + key, size - 2 - key}, data[0] >> 2 & 1 ? 1 : 2, false};
    enum redact_claim claim = redact_names_claim(names[data[0] >> 1 & 1], &record);
    if (claim == REDACT_NONE && record.timestamp_ms == 1 && key == 3 &&
        memcmp(bytes, "u42", 3) == 0)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct letter letter;
    static const char value[] = "v";
    struct err err = ERR_INIT;
    if (size == 0) return 0;
    whose(data, size);
    struct str headers = {(const char *)data + 1, size - 1};
    struct ingest_follow_record record = {.partition = 1, .offset = 2, .message = &headers};
    if (data[0] & 1) record.value = (struct str){value, 1};
    letter_read(&record, &letter);
    if (letter.first < 0 || letter.first > record.offset ||
        letter.is_moved != (letter.first < record.offset))
        abort();
    if (letter.kind == LETTER && (letter.partition < 0 || letter.offset < 0 || !letter.topic[0]))
        abort();
    place(letter.note_of);
    place(letter.note_to);
    if (letter.kind == LETTER_NOTE || letter.is_moved) {
        struct letter_notes *notes = letter_notes_new();
        if (letter_notes_add(notes, &letter, &err)) (void)letter_notes_find(notes, &letter);
        if (!letter_notes_is_last(notes, &letter)) abort();
        letter_notes_free(notes);
    }
    return 0;
}
