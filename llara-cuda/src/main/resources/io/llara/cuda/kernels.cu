// The element-wise operations of a LLaMA layer for CUDA: each reads its rows once and writes them once, where libtorch
// runs one kernel for every elementary step. Compiled at run time by NVRTC, for the device at hand; needs no headers.
//
// A block takes a row. What lies in memory is float, bfloat16 or half; sums and functions are float. Arguments come as
// one struct of 8-byte fields, which io.llara.cuda.FusedOperations writes; strides are counted in elements.
//
// The tests compile the same file for the processor, under a shim that brings what is CUDA's (shim.cpp).

typedef unsigned char uint8;
typedef unsigned short uint16;
typedef unsigned int uint32;
typedef long long int64;

struct Bfloat16 {
  uint16 bits;
};

struct Half {
  uint16 bits;
};

#ifdef __CUDACC__
__device__ inline float halfToFloat(uint16 bits) {
  float x;
  asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(bits));
  return x;
}

__device__ inline uint16 floatToHalf(float x) {
  uint16 bits;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(x));
  return bits;
}
#endif

// As many elements as a thread loads at once.
template <class T, int kCount>
struct alignas(sizeof(T) * kCount) Chunk {
  T elements[kCount];
};

__device__ inline float toFloat(float x) { return x; }

__device__ inline float toFloat(Bfloat16 x) { return __uint_as_float(uint32(x.bits) << 16); }

__device__ inline float toFloat(Half x) { return halfToFloat(x.bits); }

__device__ inline void store(float& to, float x) { to = x; }

// Rounds to nearest, ties to even; what is not a number stays so.
__device__ inline void store(Bfloat16& to, float x) {
  uint32 bits = __float_as_uint(x);
  bool number = (bits & 0x7fffffffu) <= 0x7f800000u;
  to.bits = uint16((number ? bits + 0x7fffu + ((bits >> 16) & 1u) : bits | 0x400000u) >> 16);
}

__device__ inline void store(Half& to, float x) { to.bits = floatToHalf(x); }

// Rounds to e4m3, to nearest, ties to even; what is larger than 448 becomes that.
__device__ inline uint8 toFloat8(float x) {
  uint32 bits = __float_as_uint(x);
  uint32 sign = bits >> 24 & 0x80u;
  uint32 size = bits & 0x7fffffffu;
  if (size > 0x7f800000u) return uint8(sign | 0x7fu);
  if (size >= 0x43e00000u) return uint8(sign | 0x7eu);
  // Below 2^-6 its steps are 2^-9, as those of a float are beside 2^14: the sum rounds to them.
  if (size < 0x3c800000u) return uint8(sign | (__float_as_uint(__uint_as_float(size) + 16384.0f) - 0x46800000u));
  return uint8(sign | ((size + 0x7ffffu + (size >> 20 & 1u)) >> 20) - (120u << 3));
}

struct Sum {
  __device__ float operator()(float a, float b) const { return a + b; }
};

struct Most {
  __device__ float operator()(float a, float b) const { return b > a ? b : a; }
};

// Combines a number of each thread of a block; all of them get the result. May be called once in a kernel.
template <class Combine>
__device__ inline float overBlock(float x, Combine combine) {
  __shared__ float warps[32];
  for (int distance = 16; distance > 0; distance /= 2) x = combine(x, __shfl_xor_sync(0xffffffffu, x, distance));
  if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = x;
  __syncthreads();
  float all = warps[0];
  for (int warp = 1; warp < int(blockDim.x / 32); warp++) all = combine(all, warps[warp]);
  return all;
}

struct Norm {
  const void* residual;  // null for none
  void* x;               // becomes the sum where there is a residual
  const void* weight;
  void* normed;
  int64 width;
  int64 residualStride;
  int64 xStride;
  double eps;
  int64 wide;            // whether all rows can be taken in chunks
};

// sum = residual + x;  normed = sum / sqrt(mean(sum²) + eps) · weight
template <class T, int kCount>
__device__ inline void norm(const Norm& a) {
  using Few = Chunk<T, kCount>;
  int64 row = blockIdx.x;
  Few* x = reinterpret_cast<Few*>(static_cast<T*>(a.x) + row * a.xStride);
  const Few* residual =
      a.residual ? reinterpret_cast<const Few*>(static_cast<const T*>(a.residual) + row * a.residualStride) : nullptr;
  const Few* weight = static_cast<const Few*>(a.weight);
  Few* normed = reinterpret_cast<Few*>(static_cast<T*>(a.normed) + row * a.width);
  int64 count = a.width / kCount;
  // The second time a thread reads only what it wrote itself.
  float squares = 0;
  for (int64 i = threadIdx.x; i < count; i += blockDim.x) {
    Few sum = x[i];
    if (residual) {
      Few other = residual[i];
      for (int j = 0; j < kCount; j++) store(sum.elements[j], toFloat(sum.elements[j]) + toFloat(other.elements[j]));
      x[i] = sum;
    }
    for (int j = 0; j < kCount; j++) squares += toFloat(sum.elements[j]) * toFloat(sum.elements[j]);
  }
  float scale = rsqrtf(overBlock(squares, Sum{}) / float(a.width) + float(a.eps));
  for (int64 i = threadIdx.x; i < count; i += blockDim.x) {
    Few sum = x[i];
    Few factor = weight[i];
    Few out;
    for (int j = 0; j < kCount; j++) {
      store(out.elements[j], toFloat(sum.elements[j]) * scale * toFloat(factor.elements[j]));
    }
    normed[i] = out;
  }
}

struct Rotation {
  void* x;          // [rows, heads, width], rotated in place
  const void* cos;  // [rows, width]
  const void* sin;  // [rows, width], the first half negated
  int64 heads;
  int64 width;
  int64 stride;     // from row to row of x
  int64 wide;
};

// The pair of a component i < width / 2 is i + width / 2.
template <class T, int kCount>
__device__ inline void rotary(const Rotation& a) {
  using Few = Chunk<T, kCount>;
  int64 row = blockIdx.x;
  int64 half = a.width / 2;
  int64 count = half / kCount;
  T* x = static_cast<T*>(a.x) + row * a.stride;
  const T* cos = static_cast<const T*>(a.cos) + row * a.width;
  const T* sin = static_cast<const T*>(a.sin) + row * a.width;
  for (int64 i = threadIdx.x; i < a.heads * count; i += blockDim.x) {
    int64 column = i % count * kCount;
    T* head = x + i / count * a.width + column;
    Few first = *reinterpret_cast<const Few*>(head);
    Few second = *reinterpret_cast<const Few*>(head + half);
    Few c = *reinterpret_cast<const Few*>(cos + column);
    Few s = *reinterpret_cast<const Few*>(sin + half + column);
    for (int j = 0; j < kCount; j++) {
      float p = toFloat(first.elements[j]);
      float q = toFloat(second.elements[j]);
      float along = toFloat(c.elements[j]);
      float across = toFloat(s.elements[j]);
      store(first.elements[j], p * along - q * across);
      store(second.elements[j], q * along + p * across);
    }
    *reinterpret_cast<Few*>(head) = first;
    *reinterpret_cast<Few*>(head + half) = second;
  }
}

struct Gate {
  const void* gate;
  const void* up;
  void* out;  // [rows, width]
  int64 width;
  int64 gateStride;
  int64 upStride;
  int64 wide;
};

// silu(gate) · up
template <class T, int kCount>
__device__ inline void swiGlu(const Gate& a) {
  using Few = Chunk<T, kCount>;
  int64 row = blockIdx.x;
  const Few* gate = reinterpret_cast<const Few*>(static_cast<const T*>(a.gate) + row * a.gateStride);
  const Few* up = reinterpret_cast<const Few*>(static_cast<const T*>(a.up) + row * a.upStride);
  Few* out = reinterpret_cast<Few*>(static_cast<T*>(a.out) + row * a.width);
  for (int64 i = threadIdx.x; i < a.width / kCount; i += blockDim.x) {
    Few open = gate[i];
    Few value = up[i];
    for (int j = 0; j < kCount; j++) {
      float g = toFloat(open.elements[j]);
      store(value.elements[j], g / (1.0f + expf(-g)) * toFloat(value.elements[j]));
    }
    out[i] = value;
  }
}

struct Rounding {
  const void* x;
  void* values;  // [rows, width], e4m3
  void* scales;  // [rows], float
  int64 width;
  int64 stride;  // from row to row of x
  int64 wide;
};

// values = x / scale, where scale = largest(|x|) / 448
template <class T, int kCount>
__device__ inline void float8(const Rounding& a) {
  using Few = Chunk<T, kCount>;
  using Rounded = Chunk<uint8, kCount>;
  int64 row = blockIdx.x;
  const Few* x = reinterpret_cast<const Few*>(static_cast<const T*>(a.x) + row * a.stride);
  Rounded* values = reinterpret_cast<Rounded*>(static_cast<uint8*>(a.values) + row * a.width);
  int64 count = a.width / kCount;
  float most = 1e-30f;
  for (int64 i = threadIdx.x; i < count; i += blockDim.x) {
    Few some = x[i];
    for (int j = 0; j < kCount; j++) {
      float value = toFloat(some.elements[j]);
      float size = value < 0 ? -value : value;
      most = size > most ? size : most;
    }
  }
  most = overBlock(most, Most{});
  float inverse = 448.0f / most;
  for (int64 i = threadIdx.x; i < count; i += blockDim.x) {
    Few some = x[i];
    Rounded out;
    for (int j = 0; j < kCount; j++) out.elements[j] = toFloat8(toFloat(some.elements[j]) * inverse);
    values[i] = out;
  }
  if (threadIdx.x == 0) static_cast<float*>(a.scales)[row] = most / 448.0f;
}

#define LLARA_KERNEL(name, operation, Arguments, T)  \
  extern "C" __global__ void name(Arguments a) {     \
    if (a.wide) {                                    \
      operation<T, 16 / int(sizeof(T))>(a);          \
    } else {                                         \
      operation<T, 1>(a);                            \
    }                                                \
  }

#define LLARA_KERNELS(suffix, T)                           \
  LLARA_KERNEL(llara_norm_##suffix, norm, Norm, T)         \
  LLARA_KERNEL(llara_rotary_##suffix, rotary, Rotation, T) \
  LLARA_KERNEL(llara_gate_##suffix, swiGlu, Gate, T)       \
  LLARA_KERNEL(llara_float8_##suffix, float8, Rounding, T)

LLARA_KERNELS(f32, float)
LLARA_KERNELS(bf16, Bfloat16)
LLARA_KERNELS(f16, Half)
