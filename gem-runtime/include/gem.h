/*
 * A language model compiled by `gemc build --format obj|staticlib`, from C99 or C++: token ids in, logits out.
 *
 *     #include "gem.h"
 *
 *     void *memory = aligned_alloc(GEM_ALIGNMENT, gem_memory(context));   // or a static array, or an arena of your own
 *     gem_model *model;
 *     int status = gem_open(&model, memory, gem_memory(context), weights, weights_bytes, context);
 *     const float *logits;
 *     if (!status) status = gem_step(model, ids, n, &logits);
 *     if (status) puts(gem_error(status));
 *
 * The object has no undefined symbol: no allocation, no files, no threads, no global state, no C library. All state is
 * in the memory the caller gives. A model is used by one thread at a time; several models may share weights and run at
 * once. What comes out depends on the ids alone, bit for bit: not on how they are split over calls.
 *
 * The code runs on CPUs with `gem_program.features` (none for the architecture's baseline); it does not ask the CPU, so
 * a program that may meet older ones must.
 *
 * Models built with `--prefix NAME` have functions called NAME_open and so on; GEM_DECLARE(NAME) declares them. So
 * several models link into one program.
 *
 * Text, chat, sampling and threads: gem_text.h and libgem_runtime.a (`gemc runtime`), which run the same objects.
 *
 * This file is the same for every model. docs/c-api.md says the same at more length.
 */
#ifndef GEM_H
#define GEM_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Version of this interface: structures and functions. gem_program.abi is the version an object was made for. */
#define GEM_ABI 4u

/* Alignment in bytes of memory and weights. */
#define GEM_ALIGNMENT 64u

/* Stands for a token or an array that there is none of. */
#define GEM_NONE UINT32_MAX

/* What functions return. A call that fails leaves the model as it was. */
enum gem_status {
    GEM_OK = 0,
    GEM_NULL = 1,          /* a pointer that must not be null is null */
    GEM_CONTEXT = 2,       /* context is 0 or above gem_program.max_context */
    GEM_MISALIGNED = 3,    /* memory or weights do not start at a multiple of GEM_ALIGNMENT */
    GEM_MEMORY = 4,        /* fewer bytes than gem_memory(context) */
    GEM_WEIGHT_FILE = 5,   /* no weight file of this version, or a damaged or incomplete one */
    GEM_WRONG_WEIGHTS = 6, /* a weight file of another program: plan, layout or size differ */
    GEM_EMPTY = 7,         /* no tokens */
    GEM_TOKEN = 8,         /* a token id is not below gem_program.vocab_size */
    GEM_FULL = 9,          /* the tokens do not fit the context */
    GEM_FAILED = 10,       /* gem_text.h only: gem_last_error() has the words */
    GEM_STOPPED = 11,      /* gem_text.h only: the caller's function asked to stop */
    GEM_LOGITS = 12,       /* a logit is not a finite number: values overflow, or the weights are damaged */
    GEM_OVERWRITTEN = 13   /* layers with windows have overwritten what precedes that position */
};

/* ------------------------------------------------------------------------------------------------------------------
 * A model and one sequence of tokens.
 */

/* A model with its sequence; lies in the memory that gem_open was given, and is no longer used once that is gone. */
typedef struct gem_model gem_model;

/* Bytes of memory that a model with room for `context` positions needs; 0 for a context that is not allowed. */
size_t gem_memory(uint32_t context);

/*
 * Makes a model in `bytes` bytes at `memory`, which need not be cleared, for sequences of up to `context` tokens.
 *
 * `weights` is the whole contents of the model.gemw that was built with the object: mapped, read or embedded. It is
 * only read, and must stay in place while the model is used; one file serves the objects of all targets that were built with
 * the same plan. Header, plan, layout and size are checked (a few KB are read), not
 * the weights themselves: gem_check does that.
 *
 * GEM_NULL, GEM_CONTEXT, GEM_MISALIGNED, GEM_MEMORY, GEM_WEIGHT_FILE, GEM_WRONG_WEIGHTS.
 */
int gem_open(gem_model **model, void *memory, size_t bytes, const void *weights, size_t weights_bytes,
             uint32_t context);

/*
 * Reads all of a weight file and compares it with the digests in its header, after the checks that gem_open makes: GEM_OK
 * when every byte is as gemc wrote it. It takes about as long as reading the memory, and needs no model.
 *
 * GEM_NULL, GEM_MISALIGNED, GEM_WEIGHT_FILE, GEM_WRONG_WEIGHTS.
 */
int gem_check(const void *weights, size_t weights_bytes);

/*
 * A decoder (GEM_CAUSAL_LM): appends `n` tokens to the sequence; `*logits` are those of the token after the last.
 * An encoder (GEM_SEQUENCE_CLASSIFICATION): `*logits` are those of the labels of the whole text `ids`; calls do not
 * depend on each other.
 *
 * There are gem_program.n_logits of them, valid until the next call with this model. Without need of any, as between the
 * parts of a long prompt, pass a null `logits`, which saves the work.
 *
 * GEM_NULL, GEM_EMPTY, GEM_TOKEN, GEM_FULL, GEM_LOGITS (where logits are asked for); GEM_OVERWRITTEN after GEM_LOGITS for
 * more than `shape.rewind` tokens, until the sequence is reset.
 */
int gem_step(gem_model *model, const uint32_t *ids, uint32_t n, const float **logits);

/* Tokens the sequence holds; 0 for an encoder. */
uint32_t gem_position(const gem_model *model);

/* Tokens it has room for. */
uint32_t gem_context(const gem_model *model);

/*
 * Forgets the tokens from position `n` on; does nothing when there are no more than `n`. Up to `shape.rewind` of the
 * positions written last can be forgotten so, or all of them: some layers keep only a window of positions.
 *
 * GEM_OVERWRITTEN: the sequence is as before; gem_reset and read the tokens again.
 */
int gem_truncate(gem_model *model, uint32_t n);

/* Forgets all tokens. */
void gem_reset(gem_model *model);

/* What a status means, in English. */
const char *gem_error(int status);

/* ------------------------------------------------------------------------------------------------------------------
 * The program itself, for runtimes that bring their own memory, threads and order of work; also facts about the model.
 *
 * A step: fill a gem_abi_ctx and run the phases of `body` in order, each phase's items once, in any order and on any
 * threads, all of them done before the next phase. Then set `outputs` to the rows whose logits are wanted (indices into
 * the step's rows) and run `head`; several times with other outputs, if need be. Logits stand in the arena at byte
 * `shape.logits`, `shape.logits_stride` floats apart. Kernels allocate nothing and keep no state but what the context
 * points to.
 */

typedef struct gem_abi_row {
    uint32_t token;    /* below vocab_size */
    uint32_t slot;     /* index into gem_abi_ctx.kv */
    uint32_t position; /* below the context */
    uint32_t visible;  /* positions the row may see: position + 1 in a decoder, the text's length in an encoder */
} gem_abi_row;

typedef struct gem_abi_ctx gem_abi_ctx;

/* A kernel: runs items `begin` up to but not including `end` of its phase. */
typedef void gem_abi_kernel(const gem_abi_ctx *ctx, const uint32_t *args, uint32_t begin, uint32_t end);

typedef struct gem_abi_entry {
    gem_abi_kernel *kernel;
    const uint32_t *args;
} gem_abi_entry;

/* Kernels that kernels call by index. */
typedef struct gem_abi_table {
    const gem_abi_entry *entries;
    uint32_t len;
} gem_abi_table;

/* Memory starts at multiples of GEM_ALIGNMENT; what is not said to be read only is written. */
struct gem_abi_ctx {
    const uint8_t *weights;      /* body of the weight file, shape.weight_bytes long: read only */
    uint8_t *arena;              /* shape.arena_bytes, zero at first, then kept between steps */
    uint8_t *const *kv;          /* one memory per slot: shape.ring_bytes before the pointer, and context *
                                    shape.kv_bytes_per_position behind it */
    const gem_abi_row *rows;     /* read only */
    const uint32_t *outputs;     /* indices into rows: read only */
    const gem_abi_table *tables; /* gem_program.tables */
    uint32_t n_rows;             /* at least 1, at most shape.max_rows */
    uint32_t n_slots;
    uint32_t n_outputs;          /* at most shape.max_outputs */
    uint32_t context;            /* positions every slot has room for, at most max_context */
};

enum gem_abi_items { GEM_ITEMS_FIXED = 0, GEM_ITEMS_PER_ROW = 1, GEM_ITEMS_PER_OUTPUT = 2, GEM_ITEMS_LOADED = 3 };

typedef struct gem_abi_phase {
    gem_abi_entry entry;
    uint32_t items; /* enum gem_abi_items */
    uint32_t n;     /* so many; times rows; times outputs; or the uint32_t at this byte of the arena, */
    uint32_t max;   /* then at most so many */
} gem_abi_phase;

typedef struct gem_abi_shape {
    uint32_t arena_bytes;
    uint32_t kv_bytes_per_position; /* of a slot */
    uint32_t ring_bytes;            /* of a slot, whatever the context: what layers keep of the last positions */
    uint32_t rewind;                /* of the positions written last so many can be forgotten; UINT32_MAX: any number */
    uint32_t max_rows;              /* of a step */
    uint32_t max_outputs;           /* of a run of the head */
    uint32_t logits;                /* byte in the arena */
    uint32_t logits_stride;         /* in floats */
    uint64_t weight_bytes;          /* of the weight file's body */
} gem_abi_shape;

/* Where routing decisions stand, as byte offsets in the arena, once phase `after` of the body is done. */
typedef struct gem_abi_tap {
    const char *site; /* "layers.3" or "final" */
    uint32_t after;
    uint32_t modules; /* D */
    uint32_t top_k;   /* K */
    uint32_t p;       /* float [max_rows][D] */
    uint32_t fired;   /* int32_t [max_rows][K]: fired modules ascending, then -1 */
    uint32_t gates;   /* float [max_rows][K] */
    uint32_t domain;  /* int32_t [max_rows]: the most probable module where one fired, else D */
    uint32_t cluster; /* int32_t [max_rows]; GEM_NONE without clusters */
} gem_abi_tap;

/*
 * Where f16 keys or values of one attention stand in a slot's memory: uint16_t [heads][context][width] from byte
 * `before` * context on; with a ring, uint16_t [heads][ring][width], `before` * GEM_ALIGNMENT bytes before the slot's
 * pointer, position p at p % ring. Kernels store plus or minus 65504 where a value is larger.
 */
typedef struct gem_abi_half {
    const char *site; /* "layers.3" */
    uint32_t before;
    uint32_t heads;
    uint32_t width;
    uint32_t ring; /* 0 without one */
} gem_abi_half;

enum gem_task { GEM_CAUSAL_LM = 0, GEM_SEQUENCE_CLASSIFICATION = 1, GEM_EMBEDDING = 2, GEM_TOKEN_CLASSIFICATION = 3 };

typedef struct gem_abi_program {
    uint32_t abi;           /* GEM_ABI of the compiler that made it */
    uint32_t bytes;         /* sizeof(gem_abi_program) there */
    const char *name;
    const char *target;     /* as in gemc --target */
    const char *level;      /* "portable", "x86_v3", "x86_v4_vnni" */
    const char *features;   /* what a CPU must have, by the names of Rust's target_feature, with commas between */
    uint8_t plan_hash[32];  /* of the plan of formats; the weight file has the same */
    uint64_t layout;        /* what stands where in the weight file, which has the same */
    gem_abi_shape shape;
    const gem_abi_phase *body;
    const gem_abi_phase *head;
    const gem_abi_table *tables;
    const gem_abi_tap *taps;
    const gem_abi_half *halves; /* none unless built with --kv f16 */
    uint32_t n_body;
    uint32_t n_head;
    uint32_t n_tables;
    uint32_t n_taps;
    uint32_t n_halves;
    uint32_t task;          /* enum gem_task */
    uint32_t vocab_size;
    uint32_t hidden_size;
    uint32_t max_positions; /* of the model */
    uint32_t max_context;   /* of a sequence; an encoder takes a text in one step, so it may be less */
    uint32_t n_logits;      /* vocab_size or n_labels, or the width of a text's vector */
    uint32_t conventions;   /* token types, then << 8 what scores of labels are (0 softmax, 1 sigmoid, 2 logits), then << 16
                               whether rows of a prompt are pooled */
    const char *const *labels;
    const char *const *domains;
    const uint32_t *eos;    /* each of them ends a text */
    uint32_t n_labels;
    uint32_t n_domains;
    uint32_t n_eos;
    uint32_t bos;           /* put before a prompt; GEM_NONE for nothing */
    double bits_per_weight; /* of quantised weights: codes and block scales */
    uint64_t weight_bytes;  /* that kernels read, without padding */
} gem_abi_program;

extern const gem_abi_program gem_program;

#ifdef __cplusplus
}
#define GEM_C extern "C"
#else
#define GEM_C extern
#endif

/* Declares everything above for a model built with `--prefix PREFIX`. */
#define GEM_DECLARE(prefix)                                                                                          \
    GEM_C size_t prefix##_memory(uint32_t context);                                                                  \
    GEM_C int prefix##_open(gem_model **model, void *memory, size_t bytes, const void *weights,                      \
                            size_t weights_bytes, uint32_t context);                                                 \
    GEM_C int prefix##_check(const void *weights, size_t weights_bytes);                                             \
    GEM_C int prefix##_step(gem_model *model, const uint32_t *ids, uint32_t n, const float **logits);                \
    GEM_C uint32_t prefix##_position(const gem_model *model);                                                        \
    GEM_C uint32_t prefix##_context(const gem_model *model);                                                         \
    GEM_C int prefix##_truncate(gem_model *model, uint32_t n);                                                       \
    GEM_C void prefix##_reset(gem_model *model);                                                                     \
    GEM_C const char *prefix##_error(int status);                                                                    \
    GEM_C const gem_abi_program prefix##_program

#endif
