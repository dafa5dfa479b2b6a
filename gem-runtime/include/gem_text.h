/*
 * Text, chat, labels and threads for models compiled by `gemc build --format obj|staticlib`, from C99 or C++.
 *
 *     #include "gem_text.h"
 *
 *     static int print(void *user, const gem_piece *piece) { return fputs(piece->text, stdout) < 0; }
 *
 *     gem_text *text;
 *     gem_session *session;
 *     gem_sampling sampling;
 *     gem_sampling_greedy(&sampling);
 *     int status = gem_text_open(&text, &gem_program, "model");      // the folder that gemc build wrote
 *     if (!status) status = gem_session_open(&session, text, 0, 0);
 *     if (!status) status = gem_generate(session, "Once", &sampling, print, NULL);
 *     if (status) puts(gem_last_error());
 *
 * Link the object, libgem_runtime.a of the same target (`gemc runtime --target T`, once for all models), and what the
 * Rust standard library needs of the system: on Linux -lpthread -ldl -lm.
 *
 * Functions return GEM_OK or another gem_status; gem_last_error() then has the words, of the calling thread. Strings are
 * UTF-8 and end with a zero byte. A session is used by one thread at a time; sessions of one model run side by side.
 */
#ifndef GEM_TEXT_H
#define GEM_TEXT_H

#include "gem.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A program with its weights, which are mapped, and its tokenizer. */
typedef struct gem_text gem_text;

/* A sequence of tokens with the threads that compute it. */
typedef struct gem_session gem_session;

/* Words about the last function of this thread that failed; valid until the next one fails. */
const char *gem_last_error(void);

/*
 * Joins the program of an object with `path`: a weight file, or a folder with model.gemw; tokenizer.json and its settings
 * are expected beside it. Refuses a CPU that lacks instructions of the object.
 */
int gem_text_open(gem_text **text, const gem_abi_program *program, const char *path);

/*
 * Reads all weights and compares them with the digests of their file, on all threads of the machine: GEM_OK when every byte
 * is as gemc wrote it, GEM_WEIGHT_FILE when not; gem_last_error() says where. gem_text_open checks the header alone.
 */
int gem_text_check(const gem_text *text);

/* Lets a model go; its sessions may live on. Null is allowed. */
void gem_text_close(gem_text *text);

/* Starts a session. `context` 0: the model's, at most 4096. `threads` 0: one for each fast core. */
int gem_session_open(gem_session **session, const gem_text *text, uint32_t context, uint32_t threads);

/* Ends a session. Null is allowed. */
void gem_session_close(gem_session *session);

/* Tokens it holds. */
uint32_t gem_session_position(const gem_session *session);

/* Keys and values since it began that f16 could not hold and that were cut to 65504; 0 with other formats of them. */
uint64_t gem_session_saturated(const gem_session *session);

/* Forgets them. */
void gem_session_reset(gem_session *session);

/* How tokens are chosen, and when to end. */
typedef struct gem_sampling {
    float temperature;        /* 0: always the most probable token; else logits are divided by it */
    uint32_t top_k;           /* so many tokens are considered; 0: all */
    float top_p;              /* share of probability that is considered; 1: all */
    float min_p;              /* least probability relative to the most probable token; 0: all */
    float repetition_penalty; /* above 1 makes tokens of the recent text less probable; 1: off */
    uint32_t max_tokens;
    uint64_t seed;
    const char *const *stop;  /* each ends the text and is no part of it */
    uint32_t n_stop;
} gem_sampling;

/* Always the most probable token, 256 of them. */
void gem_sampling_greedy(gem_sampling *sampling);

/*
 * What the model's makers recommend in generation_config.json; where that is out of range, generation fails and says so.
 * The list of stop texts is the model's and lives as long as `text`.
 */
int gem_sampling_of(const gem_text *text, gem_sampling *sampling);

/* What one chosen token adds to the text. */
typedef struct gem_piece {
    const char *text; /* what is certain now; empty while a character is incomplete; zero byte behind it */
    size_t bytes;     /* its length, should it contain zero bytes itself */
    uint32_t token;
    float logprob;    /* natural logarithm of its probability before any sampling option */
} gem_piece;

/* Gets every piece, which is gone afterwards; returns 0 to go on. */
typedef int gem_each_piece(void *user, const gem_piece *piece);

/*
 * Continues a text: `prompt` starts one in a session that holds nothing, and is appended otherwise. GEM_STOPPED when
 * `each` asked for it; the session then holds what was generated.
 */
int gem_generate(gem_session *session, const char *prompt, const gem_sampling *sampling, gem_each_piece *each,
                 void *user);

/* One turn of a conversation. */
typedef struct gem_message {
    const char *role;    /* "system", "user", "assistant" or "tool", or what else the model's template knows */
    const char *content; /* null where `fields` have it, as a list of parts, or where there is none */
    const char *fields;  /* what else the template reads, as a JSON object: {"tool_calls": [...]}; null for nothing */
} gem_message;

/* Answers a conversation by the model's template; what the session holds of its beginning is not computed again. */
int gem_chat(gem_session *session, const gem_message *messages, size_t n, const gem_sampling *sampling,
             gem_each_piece *each, void *user);

/* A date with a time of day, of no time zone. */
typedef struct gem_date {
    uint32_t year; /* 1 to 9999 */
    uint32_t month; /* from 1 */
    uint32_t day;   /* from 1 */
    uint32_t hour;
    uint32_t minute;
    uint32_t second;
} gem_date;

/* How a conversation is written. */
typedef struct gem_chat_options {
    const gem_date *date;      /* for templates that tell the date; null: a template that asks for it fails */
    const char *chat_template; /* the name of one of several; null: the one called "default" */
    const char *variables;     /* what the template sees beside messages, as a JSON object: {"tools": [...]}; null: none */
} gem_chat_options;

/* As gem_chat, with options; null for none. */
int gem_chat_with(gem_session *session, const gem_message *messages, size_t n, const gem_chat_options *options,
                  const gem_sampling *sampling, gem_each_piece *each, void *user);

/*
 * Which messages to leave out so that a conversation fits, with room for an answer of `room` tokens, or for one where that
 * is too much: `count` messages from `begin` on, the oldest turns after the system's messages, as few as will do. The last
 * turn always stays; GEM_FULL when it alone does not fit. Nothing is changed: the caller leaves them out.
 */
int gem_chat_fit(const gem_session *session, const gem_message *messages, size_t n, const gem_chat_options *options,
                 uint32_t room, size_t *begin, size_t *count);

/* Gets every label with its probability, best first; returns 0 to go on. */
typedef int gem_each_label(void *user, const char *label, float score);

/* Classifies a text; one that is too long is cut on the right. */
int gem_classify(gem_session *session, const char *text, gem_each_label *each, void *user);

#ifdef __cplusplus
}
#endif

#endif
