/* Matrix products of many rows on AMX tiles (Intel's Sapphire Rapids and later): sixteen rows and sixteen output
 * channels at a time. Tiles sum each group of 32 inputs in integers, as gemm.c does, and the rest is added in its order:
 * the bits are the same, so which of the two computes a row is a question of speed only.
 *
 * A panel is unpacked once for all rows of a call, to what tiles read: for each chunk two groups of 8 x 64 signed
 * bytes, then for W4 16 x (two int16 scales) and 16 x (two int16 offsets), for W8 16 + 16 float scales. */
#define _GNU_SOURCE
#include "simd.h"
#include "kernels.h"
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__has_include)
#if __has_include(<amxtileintrin.h>)
#define HAS_TILES
#endif
#endif

#ifndef HAS_TILES
int cw_wide_available(void) { return 0; }
void cw_wide_dots(int32_t count) { (void)count; }
void cw_gemm_wide(const cw_matrix *m, const cw_activations *a, int32_t row, int32_t rows, int32_t panel, int32_t panels,
                  uint8_t *unpacked, float *out, size_t out_stride) {
    (void)m, (void)a, (void)row, (void)rows, (void)panel, (void)panels, (void)unpacked, (void)out, (void)out_stride;
}
#else

enum { GROUP4 = 320, CHUNK4 = 640, CHUNK8 = 1088, AHEAD = 65536 };
enum { REQUEST_PERMISSION = 0x1023, TILE_DATA = 18 }; /* Linux: arch_prctl(ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) */

/* The tiles of a chunk's two groups; macros, since they become names of registers. */
#define SUM_0 0
#define SUM_1 1
#define INPUT_0 2
#define INPUT_1 3
#define WEIGHT_0 4
#define WEIGHT_1 5

typedef struct {
    uint8_t palette, start, reserved[14];
    uint16_t bytes[16];
    uint8_t rows[16];
} tile_shapes;

/* Whether processor and kernel let this process use tiles. To be asked once, before the first product. */
int cw_wide_available(void) {
    unsigned a, b, c, d;
    __asm__("cpuid" : "=a"(a), "=b"(b), "=c"(c), "=d"(d) : "a"(0), "c"(0));
    if (a < 7) return 0;
    __asm__("cpuid" : "=a"(a), "=b"(b), "=c"(c), "=d"(d) : "a"(7), "c"(0));
    const unsigned tiles = 1u << 24, int8 = 1u << 25;
    if (!(d & tiles) || !(d & int8)) return 0;
    return syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
}

/* Shapes belong to a thread and stay. */
static void shape_tiles(void) {
    static __thread int done;
    if (done) return;
    tile_shapes s = {.palette = 1};
    for (int i = SUM_0; i <= WEIGHT_1; i++) {
        s.rows[i] = i >= WEIGHT_0 ? 8 : CW_WIDE_TILE;
        s.bytes[i] = i == INPUT_0 || i == INPUT_1 ? 32 : 64;
    }
    __asm__ volatile("ldtilecfg %0" ::"m"(s));
    done = 1;
}

static void unpack4(const uint8_t *w, uint8_t *out) {
    const __m512i mask = _mm512_set1_epi8(15), eight = _mm512_set1_epi8(8);
    for (int g = 0; g < 2; g++, w += GROUP4, out += 512)
        for (int i = 0; i < 4; i++) {
            const __m512i both = _mm512_load_si512(w + i * 64);
            const __m512i high = _mm512_and_si512(_mm512_srli_epi16(both, 4), mask);
            _mm512_store_si512(out + i * 64, _mm512_sub_epi8(_mm512_and_si512(both, mask), eight));
            _mm512_store_si512(out + 256 + i * 64, _mm512_sub_epi8(high, eight));
        }
    const __m512i first = _mm512_load_si512(w - 2 * GROUP4 + 256), second = _mm512_load_si512(w - GROUP4 + 256);
    _mm512_store_si512(out, _mm512_mask_blend_epi16(0xaaaaaaaau, first, _mm512_slli_epi32(second, 16)));
    _mm512_store_si512(out + 64, _mm512_mask_blend_epi16(0xaaaaaaaau, _mm512_srli_epi32(first, 16), second));
}

static void unpack8(const uint8_t *w, uint8_t *out) {
    const __m512i flip = _mm512_set1_epi8((char)0x80);
    for (int i = 0; i < 16; i++)
        _mm512_store_si512(out + i * 64, _mm512_xor_si512(_mm512_load_si512(w + i * 64), flip));
    for (int g = 0; g < 2; g++) {
        const __m256i *half = (const __m256i *)(const void *)(w + 1024 + g * 32);
        _mm512_store_ps(out + 1024 + g * 64, _mm512_cvtph_ps(_mm256_load_si256(half)));
    }
}

static void unpack(const cw_matrix *m, int32_t panel, uint8_t *out) {
    const uint8_t *w = cw_panel(m, panel, 0);
    const size_t step = (size_t)m->chunk_bytes * CW_QUAD;
    for (int32_t k = 0; k < m->chunks; k++, w += step, out += CW_UNPACKED) {
        for (int line = 0; line < m->chunk_bytes; line += 64)
            _mm_prefetch((const char *)w + AHEAD + line, _MM_HINT_T1);
        if (m->kind == CW_W4)
            unpack4(w, out);
        else
            unpack8(w, out);
    }
    __asm__ volatile("" ::: "memory"); /* tile loads are assembly that names no memory */
}

typedef struct {
    const uint8_t *w; /* unpacked */
    const int8_t *a;
    const int32_t *pairs;
    const float *scale;
    int32_t chunks;
} operands;

/* Both groups' sums of 16 rows and 16 channels, of chunk k. */
CW_INLINE void multiply(const operands *o, int32_t k, int32_t *sums) {
    const int8_t *a = o->a + (size_t)k * CW_CHUNK;
    const uint8_t *w = o->w + (size_t)k * CW_UNPACKED;
    const size_t stride = (size_t)o->chunks * CW_CHUNK;
    _tile_zero(SUM_0);
    _tile_zero(SUM_1);
    _tile_loadd(INPUT_0, a, stride);
    _tile_loadd(WEIGHT_0, w, 64);
    _tile_loadd(INPUT_1, a + 32, stride);
    _tile_loadd(WEIGHT_1, w + 512, 64);
    _tile_dpbssd(SUM_0, INPUT_0, WEIGHT_0);
    _tile_dpbssd(SUM_1, INPUT_1, WEIGHT_1);
    _tile_stored(SUM_0, sums, 64);
    _tile_stored(SUM_1, sums + 256, 64);
}

/* f[row] += the chunk's sums, scaled. W4: the two 16-bit sums side by side, times both scales. */
CW_INLINE void scale4(const int R, const operands *o, int32_t k, const int32_t *sums, __m512 *f) {
    const __m512i *units = (const __m512i *)(const void *)(o->w + (size_t)k * CW_UNPACKED + 1024);
    const __m512i scales = _mm512_load_si512(units), offsets = _mm512_load_si512(units + 1);
#pragma GCC unroll 16
    for (int r = 0; r < R; r++) {
        const __m512i second = _mm512_slli_epi32(_mm512_load_si512(sums + 256 + r * 16), 16);
        const __m512i both = _mm512_mask_blend_epi16(0xaaaaaaaau, _mm512_load_si512(sums + r * 16), second);
        __m512i total = _mm512_dpwssd_epi32(_mm512_setzero_si512(), both, scales);
        total = _mm512_dpwssd_epi32(total, _mm512_set1_epi32(o->pairs[r * o->chunks + k]), offsets);
        f[r] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(total), _mm512_set1_ps(o->scale[r * o->chunks + k]), f[r]);
    }
}

CW_INLINE void scale8(const int R, const operands *o, int32_t k, const int32_t *sums, __m512 *f) {
    const float *units = (const float *)(const void *)(o->w + (size_t)k * CW_UNPACKED + 1024);
    const __m512 first = _mm512_load_ps(units), second = _mm512_load_ps(units + 16);
#pragma GCC unroll 16
    for (int r = 0; r < R; r++) {
        __m512 sum = _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_load_si512(sums + r * 16)), first);
        sum = _mm512_fmadd_ps(_mm512_cvtepi32_ps(_mm512_load_si512(sums + 256 + r * 16)), second, sum);
        f[r] = _mm512_fmadd_ps(sum, _mm512_set1_ps(o->scale[r * o->chunks + k]), f[r]);
    }
}

CW_INLINE void tile(const int R, const int kind, const operands *o, const cw_matrix *m, int32_t panel, int32_t rows,
                    float *out, size_t stride) {
    int32_t sums[512] __attribute__((aligned(64)));
    __m512 f[CW_WIDE_TILE];
#pragma GCC unroll 16
    for (int r = 0; r < R; r++) f[r] = _mm512_setzero_ps();
    for (int32_t k = 0; k < o->chunks; k++) {
        multiply(o, k, sums);
        if (kind == CW_W4)
            scale4(R, o, k, sums, f);
        else
            scale8(R, o, k, sums, f);
    }
    const __m512 unit = _mm512_loadu_ps(m->unit + panel * CW_LANES);
    const __m512 bias = m->bias ? _mm512_loadu_ps(m->bias + panel * CW_LANES) : _mm512_setzero_ps();
#pragma GCC unroll 16
    for (int r = 0; r < R; r++)
        if (r < rows) _mm512_storeu_ps(out + r * stride, _mm512_fmadd_ps(f[r], unit, bias));
}

void cw_wide_dots(int32_t count) {
    shape_tiles();
    for (int32_t i = 0; i < count; i++) {
        _tile_dpbssd(SUM_0, INPUT_0, WEIGHT_0);
        _tile_dpbssd(SUM_1, INPUT_1, WEIGHT_1);
    }
}

#define TILE(R)                                                                                                        \
    static void w4_##R(const operands *o, const cw_matrix *m, int32_t panel, int32_t rows, float *out, size_t s) {     \
        tile(R, CW_W4, o, m, panel, rows, out, s);                                                                     \
    }                                                                                                                  \
    static void w8_##R(const operands *o, const cw_matrix *m, int32_t panel, int32_t rows, float *out, size_t s) {     \
        tile(R, CW_W8, o, m, panel, rows, out, s);                                                                     \
    }
TILE(4) TILE(8) TILE(12) TILE(16)

    typedef void (*tile_function)(const operands *, const cw_matrix *, int32_t, int32_t, float *, size_t);
static const tile_function by_rows[2][4] = {{w4_4, w4_8, w4_12, w4_16}, {w8_4, w8_8, w8_12, w8_16}};

void cw_gemm_wide(const cw_matrix *m, const cw_activations *a, int32_t row, int32_t rows, int32_t panel, int32_t panels,
                  uint8_t *unpacked, float *out, size_t out_stride) {
    shape_tiles();
    for (int32_t p = 0; p < panels; p++) {
        unpack(m, panel + p, unpacked);
        for (int32_t r = 0; r < rows; r += CW_WIDE_TILE) {
            const int32_t here = rows - r < CW_WIDE_TILE ? rows - r : CW_WIDE_TILE;
            const size_t at = (size_t)(row + r) * (size_t)a->chunks;
            const operands o = {unpacked, a->q + at * CW_CHUNK, a->pairs + at, a->scale + at, m->chunks};
            by_rows[m->kind][(here + 3) / 4 - 1](&o, m, panel + p, here, out + r * out_stride + p * CW_LANES,
                                                 out_stride);
        }
    }
}
#endif
