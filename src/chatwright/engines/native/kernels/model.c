/* Building, feeding and freeing a model: what Python calls. Sizes were checked by the caller (weights.py). */
#include "model.h"
#include <stdlib.h>
#include <string.h>

enum { PHASES_PER_LAYER = 7, OTHER_PHASES = 4 };
enum { WIDE_FROM = 16 }; /* rows for which unpacking a panel pays */
enum { SLOT_QKV, SLOT_OUTPUT, SLOT_GATE_UP, SLOT_DOWN, SLOT_EMBEDDING, SLOT_HEAD };
enum { VECTOR_ATTENTION_NORM, VECTOR_FFN_NORM, VECTOR_Q_NORM, VECTOR_K_NORM, VECTOR_FINAL_NORM, VECTOR_ROPE };

static int new_thread(cw_thread *t, const cw_config *c) {
    t->normed = aligned_alloc(64, (size_t)c->hidden * 4 + 64);
    t->tile = aligned_alloc(64, CW_WIDE_ROWS * 256 * 4);
    const int32_t attended = c->heads * c->head_dim, widest = c->hidden > c->ffn ? c->hidden : c->ffn;
    t->unpacked = aligned_alloc(64, (size_t)(attended > widest ? attended : widest) / CW_CHUNK * CW_UNPACKED);
    t->keys = malloc(((size_t)c->vocab + 64) * 8);
    t->attention = aligned_alloc(64, (cw_attention_scratch() + 63) / 64 * 64);
    if (t->attention) memset(t->attention, 0, cw_attention_scratch());
    return t->normed && t->tile && t->unpacked && t->keys && t->attention;
}

static int new_cache(cw_model *m) {
    const cw_config *c = &m->config;
    cw_cache *k = &m->cache;
    k->block_size = c->block_size;
    k->head_dim = c->head_dim;
    k->kv_heads = c->kv_heads;
    k->record = cw_cache_record(c->block_size, c->head_dim);
    k->block_bytes = k->record * (size_t)c->kv_heads;
    k->layer_bytes = k->block_bytes * (size_t)c->block_count;
    k->data = cw_map(k->layer_bytes * (size_t)c->layers);
    return k->data != NULL;
}

void cw_model_free(cw_model *m) {
    if (!m) return;
    cw_pool_free(m->pool);
    cw_release(m);
}

/* Compute products of so many rows on tiles, 0 for none: a matter of speed, never of results. */
void cw_model_wide_from(cw_model *m, int32_t rows) {
    m->wide_from = rows > 0 && cw_wide_available() ? rows : INT32_MAX;
}

/* NULL where memory or threads can't be had. */
cw_model *cw_model_new(const cw_config *config) {
    cw_model *m = calloc(1, sizeof *m);
    if (!m) return NULL;
    m->config = *config;
    cw_model_wide_from(m, WIDE_FROM);
    const int32_t phases = config->layers * PHASES_PER_LAYER + OTHER_PHASES;
    m->layer = calloc((size_t)config->layers, sizeof *m->layer);
    m->items = calloc((size_t)phases, sizeof *m->items);
    m->thread = calloc((size_t)config->threads, sizeof *m->thread);
    int good = m->layer && m->items && m->thread && new_cache(m);
    for (int32_t t = 0; good && t < config->threads; t++) good = new_thread(m->thread + t, config);
    if (good) m->pool = cw_pool_new(config->threads, phases);
    if (!good || !m->pool) {
        cw_model_free(m);
        return NULL;
    }
    return m;
}

static cw_matrix *matrix_of(cw_model *m, int32_t layer, int32_t slot) {
    cw_matrix *all[] = {&m->layer[layer].qkv,  &m->layer[layer].output, &m->layer[layer].gate_up,
                        &m->layer[layer].down, &m->embedding,           &m->head};
    return all[slot];
}

/* Make room for an [n, k] matrix. Returns CW_OK or CW_NO_MEMORY. */
int cw_model_matrix(cw_model *m, int32_t layer, int32_t slot, int32_t kind, int32_t n, int32_t k, int32_t with_bias) {
    cw_matrix *x = matrix_of(m, layer, slot);
    x->kind = kind;
    x->panels = (n + 63) / 64 * 4;
    x->chunks = (k + CW_CHUNK - 1) / CW_CHUNK;
    x->chunk_bytes = (int32_t)(cw_matrix_bytes(kind, 64, CW_CHUNK) / CW_QUAD);
    const size_t bytes = (size_t)x->panels * CW_LANES * 4;
    x->data = cw_arena(m, cw_matrix_bytes(kind, n, k));
    x->unit = cw_arena(m, bytes);
    x->bias = with_bias ? cw_arena(m, bytes) : NULL;
    if (!x->data || !x->unit || (with_bias && !x->bias)) return CW_NO_MEMORY;
    for (int32_t i = 0; i < x->panels * CW_LANES; i++) x->unit[i] = 1.0f;
    return CW_OK;
}

/* Pack n rows into the matrix: row r goes to panel first + (r / 16 / block) * stride + r / 16 % block. */
void cw_model_pack(cw_model *m, int32_t layer, int32_t slot, int32_t source, const void *raw, int32_t n, int32_t k,
                   int32_t first, int32_t block, int32_t stride) {
    cw_pack(matrix_of(m, layer, slot), source, raw, n, k, first, block, stride);
}

void cw_model_bias(cw_model *m, int32_t layer, int32_t slot, const float *bias, int32_t n, int32_t first) {
    memcpy(matrix_of(m, layer, slot)->bias + first * CW_LANES, bias, (size_t)n * 4);
}

int cw_model_vector(cw_model *m, int32_t layer, int32_t which, const float *x, int64_t n) {
    cw_layer *l = m->layer + layer;
    float **all[] = {&l->attention_norm, &l->ffn_norm, &l->q_norm, &l->k_norm, &m->final_norm, &m->rope};
    *all[which] = cw_arena(m, (size_t)n * 4);
    if (!*all[which]) return CW_NO_MEMORY;
    memcpy(*all[which], x, (size_t)n * 4);
    return CW_OK;
}

void cw_model_row(const cw_model *m, int32_t layer, int32_t slot, int32_t channel, float *out) {
    const cw_matrix *x = matrix_of((cw_model *)(uintptr_t)m, layer, slot);
    cw_matrix_row(x, channel, x->chunks * CW_CHUNK, out);
}

typedef struct {
    float *logits, *candidate_logits, *logsumexp;
    int32_t *candidate_ids;
} cw_outputs;

/* Run one step. Returns CW_OK, CW_BAD_BATCH (an index out of range; nothing was written) or CW_NO_MEMORY. */
int cw_model_step(cw_model *m, const cw_batch *batch, cw_outputs *out) {
    m->batch = batch;
    const int32_t phases = cw_step_plan(m);
    if (phases < 0) return -phases;
    cw_pool_run(m->pool, cw_step_work, m, m->items, phases);
    *out = (cw_outputs){m->logits, m->candidate_logits, m->logsumexp, m->candidate_ids};
    return CW_OK;
}

static uint8_t *block_of(const cw_model *m, int32_t layer, int32_t block) {
    return m->cache.data + (size_t)layer * m->cache.layer_bytes + (size_t)block * m->cache.block_bytes;
}

size_t cw_model_block_bytes(const cw_model *m) { return m->cache.block_bytes * (size_t)m->config.layers; }

void cw_model_copy_block(cw_model *m, int32_t source, int32_t target) {
    for (int32_t l = 0; l < m->config.layers; l++)
        memmove(block_of(m, l, target), block_of(m, l, source), m->cache.block_bytes);
}

void cw_model_export_block(const cw_model *m, int32_t block, uint8_t *out) {
    for (int32_t l = 0; l < m->config.layers; l++)
        memcpy(out + (size_t)l * m->cache.block_bytes, block_of(m, l, block), m->cache.block_bytes);
}

void cw_model_import_block(cw_model *m, int32_t block, const uint8_t *data) {
    for (int32_t l = 0; l < m->config.layers; l++)
        memcpy(block_of(m, l, block), data + (size_t)l * m->cache.block_bytes, m->cache.block_bytes);
}
