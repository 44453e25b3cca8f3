/* Memory of a model: an arena of huge pages for weights, buffers that grow with the largest step. */
#define _GNU_SOURCE
#include "model.h"
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { ARENA = 64 << 20, HUGE = 2 << 20 };

/* Zeroed, aligned to 2 MiB where the kernel gives huge pages: streaming weights is what one stream waits for. */
void *cw_map(size_t bytes) {
    const size_t all = bytes + HUGE;
    uint8_t *p = mmap(NULL, all, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) return NULL;
    uint8_t *aligned = (uint8_t *)(((uintptr_t)p + HUGE - 1) / HUGE * HUGE);
    if (aligned > p) munmap(p, (size_t)(aligned - p));
    if (aligned + bytes < p + all)
        munmap((uint8_t *)(((uintptr_t)aligned + bytes + 4095) / 4096 * 4096),
               (size_t)(p + all - aligned - bytes) / 4096 * 4096);
    madvise(aligned, bytes, MADV_HUGEPAGE);
    return aligned;
}

void cw_unmap(void *p, size_t bytes) {
    if (p) munmap(p, bytes);
}

void *cw_arena(cw_model *m, size_t bytes) {
    bytes = (bytes + 4095) / 4096 * 4096 + 4096; /* a page of slack: prefetches and vector tails run past the end */
    if (!m->arenas || m->arena_used + bytes > m->arena_bytes[m->arenas - 1]) {
        const size_t size = bytes > ARENA ? (bytes + HUGE - 1) / HUGE * HUGE : ARENA;
        void **arena = realloc(m->arena, sizeof *arena * (size_t)(m->arenas + 1));
        if (arena) m->arena = arena;
        size_t *sizes = realloc(m->arena_bytes, sizeof *sizes * (size_t)(m->arenas + 1));
        if (sizes) m->arena_bytes = sizes;
        void *p = arena && sizes ? cw_map(size) : NULL;
        if (!p) return NULL;
        m->arena[m->arenas] = p;
        m->arena_bytes[m->arenas++] = size;
        m->arena_used = 0;
    }
    void *p = (uint8_t *)m->arena[m->arenas - 1] + m->arena_used;
    m->arena_used += bytes;
    return p;
}

static int grow(void *slot, size_t bytes) {
    void **p = slot;
    free(*p);
    *p = aligned_alloc(64, (bytes + 127) / 64 * 64);
    if (*p) memset(*p, 0, bytes);
    return *p != NULL;
}

static int grow_activations(cw_activations *a, int32_t rows, int32_t columns) {
    a->chunks = columns / CW_CHUNK;
    const size_t n = (size_t)(rows + CW_WIDE_TILE) * (size_t)a->chunks;
    return grow(&a->q, n * CW_CHUNK) && grow(&a->sums4, n * 8) && grow(&a->sums8, n * 8) && grow(&a->pairs, n * 4) &&
           grow(&a->scale, n * 4);
}

static int grow_rows(cw_model *m, int32_t rows) {
    const cw_config *c = &m->config;
    const size_t n = (size_t)rows, heads = n * (size_t)c->heads;
    return grow(&m->x, n * (size_t)c->hidden * 4) && grow(&m->q, heads * (size_t)c->head_dim) &&
           grow(&m->q_scale, heads * 4) && grow(&m->q_sum, heads * 4) && grow(&m->row_sequence, n * 4) &&
           grow_activations(&m->normed, rows, c->hidden) &&
           grow_activations(&m->attended, rows, c->heads * c->head_dim) && grow_activations(&m->gated, rows, c->ffn);
}

static int grow_sampled(cw_model *m, int32_t rows) {
    const size_t n = (size_t)rows, k = (size_t)m->config.candidates;
    return grow(&m->logits, n * cw_logits_stride(m->config.vocab) * 4) && grow(&m->candidate_ids, n * k * 4) &&
           grow(&m->candidate_logits, n * k * 4) && grow(&m->logsumexp, n * 4) &&
           grow_activations(&m->sampled, rows, m->config.hidden);
}

/* Make room for a step of this size. Returns 0 without memory; then the next step asks again. */
int cw_reserve(cw_model *m, int32_t rows, int32_t sampled, int32_t runs) {
    if (rows > m->rows_capacity) {
        m->rows_capacity = 0;
        if (!grow_rows(m, rows)) return 0;
        m->rows_capacity = rows;
    }
    if (sampled > m->sampled_capacity) {
        m->sampled_capacity = 0;
        if (!grow_sampled(m, sampled)) return 0;
        m->sampled_capacity = sampled;
    }
    if (runs > m->run_capacity) {
        m->run_capacity = 0;
        if (!grow(&m->run, sizeof(cw_run) * (size_t)runs)) return 0;
        m->run_capacity = runs;
    }
    return 1;
}

static void free_activations(cw_activations *a) {
    free(a->q);
    free(a->sums4);
    free(a->sums8);
    free(a->pairs);
    free(a->scale);
}

void cw_release(cw_model *m) {
    for (int32_t t = 0; m->thread && t < m->config.threads; t++) {
        free(m->thread[t].normed);
        free(m->thread[t].tile);
        free(m->thread[t].unpacked);
        free(m->thread[t].keys);
        free(m->thread[t].attention);
    }
    void *owned[] = {m->thread,   m->layer,   m->items,         m->x,
                     m->q,        m->q_scale, m->q_sum,         m->row_sequence,
                     m->run,      m->logits,  m->candidate_ids, m->candidate_logits,
                     m->logsumexp};
    for (size_t i = 0; i < sizeof owned / sizeof *owned; i++) free(owned[i]);
    cw_activations *all[] = {&m->normed, &m->attended, &m->gated, &m->sampled};
    for (int i = 0; i < 4; i++) free_activations(all[i]);
    for (int32_t i = 0; i < m->arenas; i++) cw_unmap(m->arena[i], m->arena_bytes[i]);
    free(m->arena);
    free(m->arena_bytes);
    cw_unmap(m->cache.data, m->cache.layer_bytes * (size_t)m->config.layers);
    free(m);
}
