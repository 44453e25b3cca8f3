/* One step: what each phase does to its items, and how many items a phase has. */
#include "model.h"
#include <string.h>

enum { NORM_1, QKV, ATTENTION, OUTPUT, NORM_2, GATE_UP, DOWN, PER_LAYER };
enum { ROWS_PER_ITEM = 8, ROW_BLOCK = 96, HEAD_WIDTH = 16 };

static int32_t ceil_div(int32_t a, int32_t b) { return (a + b - 1) / b; }
static int32_t least(int32_t a, int32_t b) { return a < b ? a : b; }

/* Cut a product over `panels` panels and `rows` rows. Few items: narrower ones, so that threads end together. */
static cw_split split(const cw_model *m, int32_t panels, int32_t width, int32_t narrowest, int32_t rows) {
    const int32_t blocks = ceil_div(rows, ROW_BLOCK), unit = rows >= m->wide_from ? CW_WIDE_TILE : 1;
    while (width > narrowest && ceil_div(panels, width) * blocks < 8 * m->config.threads) width /= 2;
    const int32_t block = rows ? ceil_div(ceil_div(rows, blocks), unit) * unit : 0;
    return (cw_split){width, ceil_div(panels, width), block, rows ? ceil_div(rows, block) : 0};
}

static int valid(const cw_model *m, const cw_batch *b) {
    const cw_config *c = &m->config;
    if (b->n_sequences < 0 || b->n_tokens < 0 || b->begins[0] != 0 || b->begins[b->n_sequences] != b->n_tokens ||
        b->block_begins[0] != 0)
        return 0;
    for (int32_t s = 0; s < b->n_sequences; s++) {
        const int32_t rows = b->begins[s + 1] - b->begins[s], owned = b->block_begins[s + 1] - b->block_begins[s];
        if (rows < 0 || owned < 0 || b->past[s] < 0 || b->past[s] > c->context - rows ||
            ceil_div(b->past[s] + rows, c->block_size) > owned)
            return 0;
        for (int32_t i = 0; i < owned; i++)
            if ((uint32_t)b->blocks[b->block_begins[s] + i] >= (uint32_t)c->block_count) return 0;
        for (int32_t r = 0; r < rows; r++)
            if (b->positions[b->begins[s] + r] != b->past[s] + r) return 0;
    }
    for (int32_t t = 0; t < b->n_tokens; t++)
        if ((uint32_t)b->tokens[t] >= (uint32_t)c->vocab) return 0;
    for (int32_t i = 0; i < b->n_sampled; i++)
        if ((uint32_t)b->sampled[i] >= (uint32_t)b->n_tokens) return 0;
    return 1;
}

/* Runs of rows that fill an attention tile. Returns their number; writes them where `run` isn't NULL. */
static int32_t cut_runs(const cw_model *m, const cw_batch *b, cw_run *run) {
    const int32_t group = m->config.heads / m->config.kv_heads, most = group < CW_QUERIES ? CW_QUERIES / group : 1;
    int32_t n = 0;
    for (int32_t s = 0; s < b->n_sequences; s++)
        for (int32_t r = b->begins[s]; r < b->begins[s + 1]; r += most, n++)
            if (run) run[n] = (cw_run){r, least(most, b->begins[s + 1] - r), s};
    return n;
}

/* Fill the number of items of each phase. Returns the number of phases, or a negative error code. */
int32_t cw_step_plan(cw_model *m) {
    const cw_batch *b = m->batch;
    const cw_config *c = &m->config;
    if (!valid(m, b)) return -CW_BAD_BATCH;
    const int32_t runs = cut_runs(m, b, NULL), rows = b->n_tokens;
    if (!cw_reserve(m, rows, b->n_sampled, runs)) return -CW_NO_MEMORY;
    m->runs = cut_runs(m, b, m->run);
    for (int32_t s = 0; s < b->n_sequences; s++)
        for (int32_t r = b->begins[s]; r < b->begins[s + 1]; r++) m->row_sequence[r] = s;
    const cw_matrix *head = m->head.data ? &m->head : &m->embedding;
    const int32_t panels = c->head_dim / CW_LANES;
    m->qkv_split = split(m, (c->heads + 2 * c->kv_heads) * panels, panels, panels, rows);
    m->output_split = split(m, c->hidden / CW_LANES, 4, 1, rows);
    m->gate_split = split(m, c->ffn / CW_LANES * 2, 8, 8, rows);
    m->down_split = m->output_split;
    m->head_split = split(m, head->panels, HEAD_WIDTH, 4, b->n_sampled);
    int32_t n = 0;
    const int32_t norms = ceil_div(rows, ROWS_PER_ITEM);
    m->items[n++] = norms;
    for (int32_t l = 0; l < c->layers; l++) {
        m->items[n++] = norms;
        m->items[n++] = m->qkv_split.panel_items * m->qkv_split.row_blocks;
        m->items[n++] = m->runs * c->kv_heads;
        m->items[n++] = m->output_split.panel_items * m->output_split.row_blocks;
        m->items[n++] = norms;
        m->items[n++] = m->gate_split.panel_items * m->gate_split.row_blocks;
        m->items[n++] = m->down_split.panel_items * m->down_split.row_blocks;
    }
    m->items[n++] = b->n_sampled;
    m->items[n++] = m->head_split.panel_items * m->head_split.row_blocks;
    m->items[n++] = b->n_sampled;
    return n;
}

static void norm_row(cw_model *m, const float *x, const float *weight, cw_activations *out, int32_t row, cw_thread *t) {
    cw_rms_norm(x, weight, m->config.hidden, m->config.rms_eps, t->normed);
    for (int32_t k = 0; k < m->config.hidden / CW_CHUNK; k++) cw_quantize_chunk(t->normed + k * CW_CHUNK, out, row, k);
}

static void embed(cw_model *m, int32_t item) {
    for (int32_t r = item * ROWS_PER_ITEM; r < least((item + 1) * ROWS_PER_ITEM, m->batch->n_tokens); r++)
        cw_matrix_row(&m->embedding, m->batch->tokens[r], m->config.hidden,
                      m->x + (size_t)r * (size_t)m->config.hidden);
}

static void norm(cw_model *m, const float *weight, int32_t item, cw_thread *t) {
    for (int32_t r = item * ROWS_PER_ITEM; r < least((item + 1) * ROWS_PER_ITEM, m->batch->n_tokens); r++)
        norm_row(m, m->x + (size_t)r * (size_t)m->config.hidden, weight, &m->normed, r, t);
}

/* The next tile of rows of an item; 0 at its end. */
typedef struct {
    int32_t row, rows, end, panel, panels, fresh, wide;
} tile_walk;

static tile_walk walk(const cw_model *m, const cw_split *s, int32_t all_rows, int32_t all_panels, int32_t item) {
    const int32_t begin = item / s->panel_items * s->row_block, panel = item % s->panel_items * s->width;
    const int32_t end = least(begin + s->row_block, all_rows);
    return (tile_walk){begin, 0, end, panel, least(s->width, all_panels - panel), 1, end - begin >= m->wide_from};
}

static int next_tile(tile_walk *w) {
    w->fresh = w->rows == 0;
    w->row += w->rows;
    const int32_t left = w->end - w->row, tiles = ceil_div(left, CW_TILE_ROWS);
    w->rows = left <= 0 ? 0 : w->wide ? least(left, CW_WIDE_ROWS) : ceil_div(left, tiles);
    return w->rows > 0;
}

/* The tile's product, to out[row][channel]. */
static void multiply(const cw_matrix *x, const cw_activations *a, const tile_walk *w, cw_thread *t, float *out,
                     size_t stride) {
    if (w->wide)
        cw_gemm_wide(x, a, w->row, w->rows, w->panel, w->panels, t->unpacked, out, stride);
    else
        cw_gemm(x, a, w->row, w->rows, w->panel, w->panels, w->fresh, out, stride);
}

/* Rotate, then keep a query for attention or write a key or value into the cache. */
static void place_head(cw_model *m, const cw_layer *l, int32_t layer, int32_t row, int32_t head, float *x) {
    const cw_config *c = &m->config;
    const cw_batch *b = m->batch;
    const int32_t position = b->positions[row], is_value = head >= c->heads + c->kv_heads;
    if (!is_value) {
        if (c->qk_norm) cw_rms_norm(x, head < c->heads ? l->q_norm : l->k_norm, c->head_dim, c->rms_eps, x);
        cw_rope(x, m->rope + (size_t)position * (size_t)c->head_dim * 2, c->head_dim, c->rope_neox);
    }
    if (head < c->heads) {
        const size_t at = (size_t)row * (size_t)c->heads + (size_t)head;
        cw_quantize_query(x, c->head_dim, m->q + at * (size_t)c->head_dim, m->q_scale + at, m->q_sum + at);
        return;
    }
    const int32_t *blocks = b->blocks + b->block_begins[m->row_sequence[row]];
    cw_cache_write(&m->cache, layer, blocks[position / c->block_size], position % c->block_size,
                   (head - c->heads) % c->kv_heads, x, is_value);
}

static void project_qkv(cw_model *m, int32_t layer, int32_t item, cw_thread *t) {
    const cw_layer *l = m->layer + layer;
    const int32_t width = m->config.head_dim;
    tile_walk w = walk(m, &m->qkv_split, m->batch->n_tokens, l->qkv.panels, item);
    while (next_tile(&w)) {
        multiply(&l->qkv, &m->normed, &w, t, t->tile, (size_t)width);
        for (int32_t r = 0; r < w.rows; r++)
            place_head(m, l, layer, w.row + r, w.panel * CW_LANES / width, t->tile + r * width);
    }
}

static const int32_t *blocks_of(const cw_model *m, const cw_run *run) {
    return m->batch->blocks + m->batch->block_begins[run->sequence];
}

static void attend(cw_model *m, int32_t layer, int32_t item, cw_thread *t) {
    const cw_config *c = &m->config;
    const cw_run *run = m->run + item % m->runs; /* runs of one KV head in turn: they share its keys */
    const cw_queries q = {m->q, m->q_scale, m->q_sum, c->heads};
    const int32_t later = least(item + c->threads, m->runs * c->kv_heads - 1);
    const cw_run *next = m->run + later % m->runs;
    const cw_upcoming upcoming = {blocks_of(m, next), later / m->runs,
                                  m->batch->positions[next->row + next->rows - 1] + 1};
    cw_attention(&m->cache, layer, item / m->runs, &q, run->row, run->rows, m->batch->positions, blocks_of(m, run),
                 &upcoming, t->attention, &m->attended);
}

/* x += product: the residual. */
static void project_residual(cw_model *m, const cw_matrix *matrix, const cw_split *s, const cw_activations *a,
                             int32_t item, cw_thread *t) {
    const size_t hidden = (size_t)m->config.hidden;
    tile_walk w = walk(m, s, m->batch->n_tokens, m->config.hidden / CW_LANES, item);
    while (next_tile(&w)) {
        const int32_t width = w.panels * CW_LANES;
        multiply(matrix, a, &w, t, t->tile, (size_t)width);
        for (int32_t r = 0; r < w.rows; r++) {
            float *x = m->x + (size_t)(w.row + r) * hidden + w.panel * CW_LANES;
            for (int32_t i = 0; i < width; i++) x[i] += t->tile[r * width + i];
        }
    }
}

static void project_gate_up(cw_model *m, const cw_layer *l, int32_t item, cw_thread *t) {
    tile_walk w = walk(m, &m->gate_split, m->batch->n_tokens, l->gate_up.panels, item);
    float mixed[CW_CHUNK];
    while (next_tile(&w)) {
        multiply(&l->gate_up, &m->normed, &w, t, t->tile, 2 * CW_CHUNK);
        for (int32_t r = 0; r < w.rows; r++) {
            cw_swiglu(t->tile + r * 2 * CW_CHUNK, t->tile + (r * 2 + 1) * CW_CHUNK, CW_CHUNK, mixed);
            cw_quantize_chunk(mixed, &m->gated, w.row + r, w.panel / 8);
        }
    }
}

static void project_head(cw_model *m, int32_t item, cw_thread *t) {
    const cw_matrix *head = m->head.data ? &m->head : &m->embedding;
    const size_t stride = cw_logits_stride(m->config.vocab);
    tile_walk w = walk(m, &m->head_split, m->batch->n_sampled, head->panels, item);
    while (next_tile(&w))
        multiply(head, &m->sampled, &w, t, m->logits + (size_t)w.row * stride + w.panel * CW_LANES, stride);
}

static void finish_step(cw_model *m, int32_t phase, int32_t item, cw_thread *t) {
    const cw_config *c = &m->config;
    const size_t stride = cw_logits_stride(c->vocab), k = (size_t)c->candidates, i = (size_t)item;
    if (phase == 0)
        norm_row(m, m->x + (size_t)m->batch->sampled[item] * (size_t)c->hidden, m->final_norm, &m->sampled, item, t);
    else if (phase == 1)
        project_head(m, item, t);
    else
        cw_top_k(m->logits + i * stride, c->vocab, c->candidates, t->keys, m->candidate_ids + i * k,
                 m->candidate_logits + i * k, m->logsumexp + i);
}

void cw_step_work(void *context, int32_t phase, int32_t item, int32_t thread) {
    cw_model *m = context;
    cw_thread *t = m->thread + thread;
    if (phase == 0) {
        embed(m, item);
        return;
    }
    const int32_t layer = (phase - 1) / PER_LAYER;
    if (layer >= m->config.layers) {
        finish_step(m, phase - 1 - m->config.layers * PER_LAYER, item, t);
        return;
    }
    const cw_layer *l = m->layer + layer;
    switch ((phase - 1) % PER_LAYER) {
    case NORM_1: norm(m, l->attention_norm, item, t); break;
    case QKV: project_qkv(m, layer, item, t); break;
    case ATTENTION: attend(m, layer, item, t); break;
    case OUTPUT: project_residual(m, &l->output, &m->output_split, &m->attended, item, t); break;
    case NORM_2: norm(m, l->ffn_norm, item, t); break;
    case GATE_UP: project_gate_up(m, l, item, t); break;
    default: project_residual(m, &l->down, &m->down_split, &m->gated, item, t);
    }
}
