/* What model.c builds and step.c runs. */
#ifndef CW_MODEL_H
#define CW_MODEL_H
#include "kernels.h"

typedef struct {
    cw_matrix qkv, output, gate_up, down; /* gate_up: 4 panels of gate, 4 of up, and so on */
    float *attention_norm, *ffn_norm, *q_norm, *k_norm;
} cw_layer;

typedef struct { /* a run of rows of one sequence: what one attention item works on, for one KV head */
    int32_t row, rows, sequence;
} cw_run;

typedef struct {
    int32_t width, panel_items, row_block, row_blocks; /* how a product is cut into items */
} cw_split;

typedef struct {
    float *normed, *tile;
    uint8_t *unpacked;
    uint64_t *keys;
    void *attention;
} cw_thread;

typedef struct {
    cw_config config;
    cw_layer *layer;
    cw_matrix embedding, head; /* head.data is NULL where the embedding is tied to it */
    float *final_norm, *rope;  /* rope: [context, 2, head_dim] */
    cw_cache cache;
    cw_pool *pool;
    cw_thread *thread;
    void **arena;
    size_t *arena_bytes, arena_used;
    int32_t arenas, wide_from; /* products of so many rows are wide ones */
    /* one step */
    int32_t rows_capacity, sampled_capacity, runs, run_capacity;
    const cw_batch *batch;
    int32_t *row_sequence, *items;
    cw_run *run;
    float *x, *q_scale, *logits, *candidate_logits, *logsumexp;
    int8_t *q;
    int32_t *q_sum, *candidate_ids;
    cw_activations normed, attended, gated, sampled;
    cw_split qkv_split, output_split, gate_split, down_split, head_split;
} cw_model;

enum { CW_OK = 0, CW_BAD_BATCH = 1, CW_NO_MEMORY = 2 };

/* memory.c */
void *cw_arena(cw_model *m, size_t bytes);
void *cw_map(size_t bytes);
void cw_unmap(void *p, size_t bytes);
int cw_reserve(cw_model *m, int32_t rows, int32_t sampled, int32_t runs);
void cw_release(cw_model *m);
/* step.c */
void cw_step_work(void *context, int32_t phase, int32_t item, int32_t thread);
int32_t cw_step_plan(cw_model *m);
#endif
