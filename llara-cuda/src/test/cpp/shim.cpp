// Runs kernels.cu on the processor: what CUDA brings, as far as those kernels use it. The threads of a block are
// fibers on one thread; a barrier switches to the next of them. Backwards in every other round, so that a barrier that
// is missing shows. Freestanding: no C library. For one caller at a time.

using int64_c = long long;

#define __device__
#define __global__
#define __shared__ static

namespace {

struct Index {
  unsigned x;
};

Index threadIdx;
Index blockIdx;
Index blockDim;

constexpr int kMostThreads = 256;
constexpr int kStackBytes = 32 * 1024;

struct Fiber {
  void* stack;  // where it goes on
  bool done;
};

Fiber fibers[kMostThreads];
alignas(64) char stacks[kMostThreads][kStackBytes];
void* scheduler;
float exchanged[kMostThreads];

using Kernel = void (*)(void*);
Kernel kernel;
void* kernelArguments;

}  // namespace

// Saves what the System V ABI has a callee keep, and goes on at another stack.
extern "C" void llara_shim_switch(void** from, void* to);
asm(R"(
.text
.hidden llara_shim_switch
llara_shim_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
)");

namespace {

__attribute__((noinline)) void __syncthreads() {
  Fiber& self = fibers[threadIdx.x];
  llara_shim_switch(&self.stack, scheduler);
}

float __shfl_xor_sync(unsigned, float value, int distance) {
  exchanged[threadIdx.x] = value;
  __syncthreads();
  float other = exchanged[threadIdx.x ^ unsigned(distance)];
  __syncthreads();
  return other;
}

unsigned __float_as_uint(float x) { return __builtin_bit_cast(unsigned, x); }

float __uint_as_float(unsigned bits) { return __builtin_bit_cast(float, bits); }

float halfToFloat(unsigned short bits) { return float(__builtin_bit_cast(_Float16, bits)); }

unsigned short floatToHalf(float x) { return __builtin_bit_cast(unsigned short, _Float16(x)); }

float rsqrtf(float x) { return 1.0f / __builtin_sqrtf(x); }

// 2^k · e^r with |r| <= ln 2 / 2, whose series ends below a float's last digit.
float expf(float x) {
  if (!(x > -104.0f)) return x == x ? 0.0f : x;
  if (x > 89.0f) return __builtin_inff();
  int k = int(x * 1.4426950408889634 + (x < 0 ? -0.5 : 0.5));
  double r = double(x) - k * 0.6931471805599453;
  double term = 1;
  double sum = 1;
  for (int i = 1; i < 14; i++) sum += term *= r / i;
  return float(sum * __builtin_bit_cast(double, (1023LL + k) << 52));
}

}  // namespace

#include "kernels.cu"

namespace {

void runFiber() {
  kernel(kernelArguments);
  fibers[threadIdx.x].done = true;
  for (;;) __syncthreads();
}

// A stack that a switch pops six registers from and returns into runFiber, 8 bytes off a multiple of 16 as after a
// call.
void* prepared(char* stack) {
  void** top = reinterpret_cast<void**>(stack + kStackBytes) - 8;
  for (int i = 0; i < 6; i++) top[i] = nullptr;
  top[6] = reinterpret_cast<void*>(&runFiber);
  return top;
}

// Returns whether all threads met at the same barriers.
bool runBlock(int threads) {
  for (int i = 0; i < threads; i++) fibers[i] = {prepared(stacks[i]), false};
  for (int round = 0;; round++) {
    int done = 0;
    for (int i = 0; i < threads; i++) {
      threadIdx.x = unsigned(round % 2 == 0 ? i : threads - 1 - i);
      llara_shim_switch(&scheduler, fibers[threadIdx.x].stack);
      done += fibers[threadIdx.x].done;
    }
    if (done > 0) return done == threads;
  }
}

template <class Arguments, void (*kKernel)(Arguments)>
void call(void* arguments) {
  kKernel(*static_cast<Arguments*>(arguments));
}

// In the order of ShimLauncher.KERNELS.
constexpr Kernel kKernels[] = {
    call<Norm, llara_norm_f32>,  call<Rotation, llara_rotary_f32>,  call<Gate, llara_gate_f32>,
    call<Norm, llara_norm_bf16>, call<Rotation, llara_rotary_bf16>, call<Gate, llara_gate_bf16>,
    call<Norm, llara_norm_f16>,  call<Rotation, llara_rotary_f16>,  call<Gate, llara_gate_f16>,
    call<Rounding, llara_float8_f32>, call<Rounding, llara_float8_bf16>, call<Rounding, llara_float8_f16>,
};

}  // namespace

// By the Java Native Interface's naming, without its header: environment and class are not used.
extern "C" __attribute__((visibility("default"))) bool Java_io_llara_cuda_ShimLauncher_run(
    void*, void*, int index, int64_c blocks, int threads, int64_c arguments) {
  kernel = kKernels[index];
  kernelArguments = reinterpret_cast<void*>(arguments);
  blockDim.x = unsigned(threads);
  for (int64_c block = 0; block < blocks; block++) {
    blockIdx.x = unsigned(block);
    if (!runBlock(threads)) return false;
  }
  return true;
}
