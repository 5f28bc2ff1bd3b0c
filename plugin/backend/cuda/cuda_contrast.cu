/* One layer of CSD's L_con and its gradients: the distances, their ratio, then, as the gradient of a ratio needs both, the signs.
 *
 * A thread has one element of the map, of all images and negatives: the first negatives stay in registers while it walks over the images, so
 * that each map is read once. Differences are f32, sums pairs of f32; the gradient's signs are added up in the CPU's order. */
#include "cuda_device.h"
#include "cuda_reduce.h"

#define THREADS DUKD_CUDA_CONTRAST_THREADS
#define KEPT    16 /* negatives in registers */
#define EPSILON 1e-7

using dukd_element::mixed;

/* Where element e of image 0 lies. */
static __device__ __forceinline__ int64_t element_at(const dukd_cuda_view &v, const dukd_cuda_contrast &p,
                                                     uint32_t e) {
    uint32_t w = e;
    uint32_t r = dukd_cuda_split(&p.by_w, &w);
    const uint32_t c = dukd_cuda_split(&p.by_h, &r);
    return dukd_index(v, 0, c, r, w);
}

static __device__ __forceinline__ float load_image(const dukd_cuda_view &v, int64_t at, int64_t n) {
    return mixed::load(v.data, v.type, at + n * v.stride[0]);
}

static __device__ __forceinline__ void load_kept(float kept[KEPT], const dukd_cuda_contrast &p, int64_t at) {
#pragma unroll
    for (int k = 0; k < KEPT; k++) kept[k] = k < p.negative_n ? load_image(p.negatives, at, k) : 0.0f;
}

/* Two blocks: see contrast_gradient. */
static __global__ void __launch_bounds__(THREADS, 2) contrast_distances(const dukd_cuda_contrast p) {
    const uint32_t e = blockIdx.x * THREADS + threadIdx.x;
    dukd_cuda_pair sum[2] = {}; /* to the teacher, to the negatives */
    if (e < static_cast<uint32_t>(p.c * p.h * p.w)) {
        const int64_t s_at = element_at(p.student, p, e), t_at = element_at(p.teacher, p, e),
                      z_at = element_at(p.negatives, p, e);
        float kept[KEPT];
        load_kept(kept, p, z_at);
        for (int64_t n = 0; n < p.n; n++) {
            const float x = load_image(p.student, s_at, n);
            dukd_add(&sum[0], fabsf(x - load_image(p.teacher, t_at, n)));
#pragma unroll
            for (int k = 0; k < KEPT; k++) {
                if (k < p.negative_n) dukd_add(&sum[1], fabsf(x - kept[k]));
            }
            for (int64_t k = KEPT; k < p.negative_n; k++)
                dukd_add(&sum[1], fabsf(x - load_image(p.negatives, z_at, k)));
        }
    }
    if (!dukd_sums_of_block<THREADS>(sum)) return;
    p.partial[blockIdx.x] = sum[0];
    p.partial[gridDim.x + blockIdx.x] = sum[1];
}

/* One block: each thread adds every THREADS-th of the partial sums. */
static __global__ void __launch_bounds__(THREADS) contrast_ratio(const dukd_cuda_contrast p, int64_t blocks) {
    double sum[2] = {0.0, 0.0};
    for (int64_t i = threadIdx.x; i < blocks; i += THREADS) {
        sum[0] += dukd_value_of(p.partial[i]);
        sum[1] += dukd_value_of(p.partial[blocks + i]);
    }
    if (!dukd_sums_of_block<THREADS>(sum)) return;
    const double elements = static_cast<double>(p.n) * static_cast<double>(p.c * p.h * p.w);
    const double images = static_cast<double>(p.negative_n);
    const double teacher = sum[0] / elements, negatives = sum[1] / (elements * images) + EPSILON;
    const double ratio = teacher / negatives;
    const double factor = p.factor * (p.scale != nullptr ? static_cast<double>(*p.scale) : 1.0);
    p.slope[0] = static_cast<float>(factor / (negatives * elements));
    p.slope[1] = static_cast<float>(-factor * ratio / (negatives * elements * images));
    if (p.mean != nullptr) *p.mean = p.add != 0 ? *p.mean + p.weight * ratio : p.weight * ratio;
}

/* Two blocks: left to itself, nvcc saves registers for sm_120 until it spills. */
static __global__ void __launch_bounds__(THREADS, 2) contrast_gradient(const dukd_cuda_contrast p) {
    const uint32_t e = blockIdx.x * THREADS + threadIdx.x;
    if (e >= static_cast<uint32_t>(p.c * p.h * p.w)) return;
    const int64_t s_at = element_at(p.student, p, e), t_at = element_at(p.teacher, p, e),
                  z_at = element_at(p.negatives, p, e), gs_at = element_at(p.grad_student, p, e),
                  gt_at = element_at(p.grad_teacher, p, e);
    const float to_teacher = p.slope[0], to_negative = p.slope[1];
    const bool of_student = p.grad_student.data != nullptr;
    float kept[KEPT];
    load_kept(kept, p, z_at);
    for (int64_t n = 0; n < p.n; n++) {
        const float x = load_image(p.student, s_at, n), y = load_image(p.teacher, t_at, n);
        if (p.grad_teacher.data != nullptr) {
            mixed::store(p.grad_teacher.data, p.grad_teacher.type, gt_at + n * p.grad_teacher.stride[0],
                         dukd_signed(to_teacher, y - x));
        }
        if (!of_student) continue;
        float g = 0.0f;
#pragma unroll
        for (int k = 0; k < KEPT; k++) {
            if (k < p.negative_n) g += dukd_signed(to_negative, x - kept[k]);
        }
        for (int64_t k = KEPT; k < p.negative_n; k++)
            g += dukd_signed(to_negative, x - load_image(p.negatives, z_at, k));
        g += dukd_signed(to_teacher, x - y);
        mixed::store(p.grad_student.data, p.grad_student.type, gs_at + n * p.grad_student.stride[0], g);
    }
}

extern "C" int dukd_cuda_launch_contrast(const dukd_cuda_contrast *p, void *stream) {
    const int64_t blocks = (p->c * p->h * p->w - 1) / THREADS + 1;
    const dim3 grid(static_cast<unsigned>(blocks)), block(THREADS);
    dukd_cuda_contrast q = *p;
    q.by_w = dukd_cuda_divider_of(p->w);
    q.by_h = dukd_cuda_divider_of(p->h);
    DUKD_LAUNCH(contrast_distances, grid, block, 0, stream, q);
    int status = static_cast<int>(cudaGetLastError());
    if (status != 0) return status;
    DUKD_LAUNCH(contrast_ratio, dim3(1), block, 0, stream, q, blocks);
    status = static_cast<int>(cudaGetLastError());
    if (status != 0 || (p->grad_student.data == nullptr && p->grad_teacher.data == nullptr)) return status;
    DUKD_LAUNCH(contrast_gradient, grid, block, 0, stream, q);
    return static_cast<int>(cudaGetLastError());
}

extern "C" int dukd_cuda_load_contrast(void) {
    cudaFuncAttributes a;
    int status = static_cast<int>(cudaFuncGetAttributes(&a, contrast_distances));
    if (status == 0) status = static_cast<int>(cudaFuncGetAttributes(&a, contrast_ratio));
    if (status == 0) status = static_cast<int>(cudaFuncGetAttributes(&a, contrast_gradient));
    return status;
}
