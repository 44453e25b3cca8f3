/* Types shared by the kernels. Every float result is computed in one fixed order, whatever the batch, the chunking or
 * the number of threads: that is what makes a row's logits the same bits in any company. */
#ifndef CW_KERNELS_H
#define CW_KERNELS_H
#include <stddef.h>
#include <stdint.h>

/* Raised with every change of an interface or of a result's bits; REVISION of library.py says the same. */
#define CW_REVISION 2

#define CW_LANES 16    /* output channels of a panel: one int32 lane each */
#define CW_CHUNK 64    /* input channels that share one activation scale: two weight groups of 32 */
#define CW_QUAD 4      /* panels stored together */
#define CW_TILE_ROWS 4 /* rows of the largest tile of a matrix product */
#define CW_WIDE_TILE 16 /* rows of a tile of the wide product (wide.c) */
#define CW_WIDE_ROWS 48 /* rows of one call of it: they share the unpacking of a panel */
#define CW_WIDE_TILE_OPS (2 * 16 * 16 * 32) /* multiplications and additions of one tile's group */
#define CW_UNPACKED 1152 /* bytes of one unpacked chunk of a panel */
#define CW_QUERIES 12  /* queries of the largest tile of attention */
#define CW_SPAN 512    /* key positions whose scores are held at once */

enum { CW_W4 = 0, CW_W8 = 1 };                                              /* packed weight kinds */
enum { CW_SRC_Q4_0 = 0, CW_SRC_Q4_1 = 1, CW_SRC_Q8_0 = 2, CW_SRC_F32 = 3 }; /* what pack reads */

/* A packed [n, k] matrix: quads of 4 panels of 16 output channels; a quad is a run of chunks of 64 inputs, a chunk
 * holds its 4 panels in turn, so that one row's product reads memory in one ascending stream. W4 chunk: two groups of
 * {4 x 64 bytes of nibbles, 16 x (int16 scale, int16 offset)}: w = unit[n] * (scale * (nibble - 8) + offset). W8 chunk:
 * two groups of 8 x 64 bytes of (weight + 128), then 2 x 16 half floats: w = scale * (byte - 128). */
typedef struct {
    uint8_t *data;
    float *unit;                               /* [panels * 16]; W8: ones */
    float *bias;                               /* [panels * 16] or NULL */
    int32_t kind, panels, chunks, chunk_bytes; /* chunk_bytes: of one panel */
} cw_matrix;

/* Rows of int8 activations: a = scale[row][k / 64] * q[row][k]. `sums4` and `sums8` start the integer sums of a group
 * of 32. Memory for CW_WIDE_TILE rows follows the last one. */
typedef struct {
    int8_t *q;      /* [rows, chunks * 64] */
    int32_t *sums4; /* [rows, chunks * 2]: (sum << 16) + 32768 - 8 * sum */
    int32_t *sums8; /* [rows, chunks * 2]: -128 * sum */
    int32_t *pairs; /* [rows, chunks]: the sums of both groups, as int16 */
    float *scale;   /* [rows, chunks] */
    int32_t chunks;
} cw_activations;

typedef struct {
    int32_t layers, hidden, ffn, heads, kv_heads, head_dim, vocab, context, rope_neox, qk_norm;
    int32_t block_size, block_count, threads, candidates;
    float rms_eps;
} cw_config;

/* One step; the arrays of StepBatch. Outputs are owned by the model and live until the next step. */
typedef struct {
    const int32_t *tokens, *positions, *past, *begins, *blocks, *block_begins, *sampled;
    int32_t n_tokens, n_sequences, n_sampled;
} cw_batch;

/* pack.c */
size_t cw_matrix_bytes(int kind, int32_t n, int32_t k);
uint8_t *cw_panel(const cw_matrix *m, int32_t panel, int32_t chunk);
void cw_pack(cw_matrix *m, int source, const void *raw, int32_t n, int32_t k, int32_t first, int32_t block,
             int32_t stride);
void cw_matrix_row(const cw_matrix *m, int32_t channel, int32_t k, float *out);

/* quantize.c */
void cw_quantize_chunk(const float *x, cw_activations *a, int32_t row, int32_t chunk);

/* gemm.c: products of `rows` (1 to CW_TILE_ROWS) rows from `row` with `panels` panels from `panel`, to
 * out[row][channel]. `fresh`: these weights are not in a near cache yet. */
void cw_gemm(const cw_matrix *m, const cw_activations *a, int32_t row, int32_t rows, int32_t panel, int32_t panels,
             int fresh, float *out, size_t out_stride);

/* wide.c: the same products for up to CW_WIDE_ROWS rows, on processors that have AMX; the same bits, sooner for more
 * than a few rows. `unpacked` is room for CW_UNPACKED bytes a chunk of the matrix. */
int cw_wide_available(void);
void cw_wide_dots(int32_t count); /* twice `count` products of tiles, CW_WIDE_TILE_OPS operations each: for the floor */
void cw_gemm_wide(const cw_matrix *m, const cw_activations *a, int32_t row, int32_t rows, int32_t panel, int32_t panels,
                  uint8_t *unpacked, float *out, size_t out_stride);

/* norm.c */
void cw_rms_norm(const float *x, const float *weight, int32_t n, float eps, float *out);
void cw_rope(float *head, const float *cos_sin, int32_t head_dim, int32_t neox);
void cw_swiglu(const float *gate, const float *up, int32_t n, float *out);

/* attention.c */
typedef struct {
    uint8_t *data; /* [layers, blocks, kv heads, record] */
    int32_t block_size, head_dim, kv_heads;
    size_t record, block_bytes, layer_bytes;
} cw_cache;
typedef struct {
    const int8_t *q;      /* [rows, heads, head_dim] */
    const float *q_scale; /* [rows, heads] */
    const int32_t *q_sum; /* [rows, heads] */
    int32_t heads;
} cw_queries;
typedef struct { /* what this thread will probably attend to next: asked for while it works */
    const int32_t *blocks;
    int32_t kv_head, keys;
} cw_upcoming;
size_t cw_cache_record(int32_t block_size, int32_t head_dim);
void cw_cache_write(const cw_cache *c, int32_t layer, int32_t block, int32_t slot, int32_t kv_head, const float *x,
                    int is_value);
void cw_quantize_query(const float *x, int32_t head_dim, int8_t *q, float *scale, int32_t *sum);
size_t cw_attention_scratch(void);
void cw_attention(const cw_cache *c, int32_t layer, int32_t kv_head, const cw_queries *q, int32_t row, int32_t rows,
                  const int32_t *positions, const int32_t *blocks, const cw_upcoming *upcoming, void *scratch,
                  cw_activations *out);

/* topk.c */
void cw_top_k(const float *logits, int32_t vocab, int32_t k, uint64_t *scratch, int32_t *ids, float *values,
              float *logsumexp);

/* Floats from one row of logits to the next: not a power of two, or 32 rows would share one set of the cache. */
static inline size_t cw_logits_stride(int32_t vocab) { return (size_t)(vocab + 63) / 64 * 64 + 80; }

/* pool.c */
typedef struct cw_pool cw_pool;
typedef void (*cw_work)(void *context, int32_t phase, int32_t item, int32_t thread);
cw_pool *cw_pool_new(int32_t threads, int32_t max_phases);
void cw_pool_run(cw_pool *pool, cw_work work, void *context, const int32_t *items, int32_t phases);
void cw_pool_free(cw_pool *pool);
#endif
