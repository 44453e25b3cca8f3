/* Activations to int8 in chunks of 64 with one scale (symmetric, largest magnitude to 127). */
#include "simd.h"
#include "kernels.h"

void cw_quantize_chunk(const float *x, cw_activations *a, int32_t row, int32_t chunk) {
    __m512 v[4], top = _mm512_setzero_ps();
    for (int i = 0; i < 4; i++) {
        v[i] = _mm512_loadu_ps(x + i * 16);
        top = _mm512_max_ps(top, _mm512_abs_ps(v[i]));
    }
    const float largest = _mm512_reduce_max_ps(top);
    const size_t at = (size_t)row * a->chunks + chunk;
    const __m512 inverse = _mm512_set1_ps(largest > 1e-30f ? 127.0f / largest : 0.0f);
    a->scale[at] = largest / 127.0f;
    uint32_t pair = 0;
    for (int group = 0; group < 2; group++) {
        __m512i low = _mm512_cvtps_epi32(_mm512_mul_ps(v[group * 2], inverse));
        __m512i high = _mm512_cvtps_epi32(_mm512_mul_ps(v[group * 2 + 1], inverse));
        int8_t *q = a->q + at * CW_CHUNK + group * 32;
        _mm_storeu_si128((__m128i *)q, cw_to_int8(low));
        _mm_storeu_si128((__m128i *)(q + 16), cw_to_int8(high));
        const int32_t sum = _mm512_reduce_add_epi32(_mm512_add_epi32(low, high));
        a->sums4[at * 2 + group] = (int32_t)((uint32_t)sum << 16) + 32768 - 8 * sum;
        a->sums8[at * 2 + group] = -128 * sum;
        pair |= ((uint32_t)sum & 0xffff) << (16 * group);
    }
    a->pairs[at] = (int32_t)pair;
}
