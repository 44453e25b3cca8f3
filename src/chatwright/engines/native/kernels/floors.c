/* What this machine can do at best: the floors the benchmark compares with. */
#include "simd.h"
#include "kernels.h"
#include <stdlib.h>
#include <time.h>

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

enum { DOTS = 2000000, SLICE = 1 << 20 };
typedef struct {
    const uint8_t *data;
    int32_t sink[64];
} floor_run;

static void dot_work(void *context, int32_t phase, int32_t item, int32_t thread) {
    (void)phase, (void)item;
    __m512i v[8], x = _mm512_set1_epi8((char)thread), y = _mm512_set1_epi8(1);
    for (int j = 0; j < 8; j++) v[j] = _mm512_set1_epi32(j);
    for (int i = 0; i < DOTS; i++)
#pragma GCC unroll 8
        for (int j = 0; j < 8; j++) v[j] = _mm512_dpbusd_epi32(v[j], x, y);
    for (int j = 1; j < 8; j++) v[0] = _mm512_add_epi32(v[0], v[j]);
    ((floor_run *)context)->sink[thread] += _mm512_reduce_add_epi32(v[0]);
}

static void tile_work(void *context, int32_t phase, int32_t item, int32_t thread) {
    (void)context, (void)phase, (void)item, (void)thread;
    cw_wide_dots(DOTS);
}

static void read_work(void *context, int32_t phase, int32_t item, int32_t thread) {
    (void)phase;
    floor_run *run = context;
    const uint8_t *p = run->data + (size_t)item * SLICE;
    __m512i v[4] = {_mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512()};
    for (size_t i = 0; i < SLICE; i += 256)
        for (int j = 0; j < 4; j++) {
            _mm_prefetch((const char *)p + i + j * 64 + 4096, _MM_HINT_T0);
            v[j] = _mm512_add_epi32(v[j], _mm512_load_si512(p + i + j * 64));
        }
    run->sink[thread] +=
        _mm512_reduce_add_epi32(_mm512_add_epi32(_mm512_add_epi32(v[0], v[1]), _mm512_add_epi32(v[2], v[3])));
}

/* Billions of int8 multiply-adds times two per second, on tiles where there are any, with `threads` (at most 64) threads; negative without memory. */
double cw_floor_dot(int32_t threads) {
    floor_run run = {0};
    cw_pool *pool = cw_pool_new(threads, 1);
    if (!pool) return -1;
    const int32_t items = threads * 8, tiles = cw_wide_available();
    const double begin = now(), each = tiles ? 2 * CW_WIDE_TILE_OPS : 8 * 128;
    cw_pool_run(pool, tiles ? tile_work : dot_work, &run, &items, 1);
    const double seconds = now() - begin;
    cw_pool_free(pool);
    return (double)items * DOTS * each / seconds / 1e9;
}

/* Gigabytes read per second from `megabytes` of memory; the best of five passes. */
double cw_floor_read(int32_t threads, int32_t megabytes) {
    floor_run run = {aligned_alloc(2 << 20, (size_t)(megabytes + 2) / 2 * 2 * SLICE + (2 << 20)), {0}};
    cw_pool *pool = cw_pool_new(threads, 1);
    if (!pool || !run.data) return -1;
    for (size_t i = 0; i < (size_t)megabytes * SLICE; i += 4096)
        ((volatile uint8_t *)(uintptr_t)run.data)[i] = (uint8_t)i;
    double best = 0;
    for (int pass = 0; pass < 5; pass++) {
        const double begin = now();
        cw_pool_run(pool, read_work, &run, &megabytes, 1);
        const double rate = (double)megabytes * SLICE / (now() - begin) / 1e9;
        best = rate > best ? rate : best;
    }
    cw_pool_free(pool);
    free((void *)(uintptr_t)run.data);
    return best;
}
