// Calls every native kernel with operands that end where their memory ends, and that begin where it begins: a byte read
// or written beyond is a segmentation fault, or a report of the address sanitizer. Run by io.llara.kernels.KernelBoundsTest;
// the profile "nightly" runs it with sanitizers as well.
//
// usage: bounds MOST        lengths from 1 to MOST
//
// Prints what it is about to do and a digest of the results, and ends with 0 if all went well. Freely standing, as the kernels are; with sanitizers
// it is an ordinary program, whose memory comes from malloc.

using int8 = __INT8_TYPE__;
using uint8 = __UINT8_TYPE__;
using int16 = __INT16_TYPE__;
using uint16 = __UINT16_TYPE__;
using int32 = __INT32_TYPE__;
using uint32 = __UINT32_TYPE__;
using int64 = __INT64_TYPE__;
using uint64 = __UINT64_TYPE__;

#define KERNEL(result, name, ...) \
  extern "C" result Java_io_llara_kernels_NativeKernels_##name(void*, void*, __VA_ARGS__)

KERNEL(int32, enableTiles, int32);
KERNEL(void, rmsNorm, int32, int64, int64, int64, int64, int64, float);
KERNEL(void, rotary, int32, int64, int64, int64, int64, int64, int64, int64);
KERNEL(void, gate, int32, int64, int64, int64, int64);
KERNEL(int64, attentionScratch, int32, int64, int64);
KERNEL(void, attention, int32, int64, int64, int64, int64, int64, int64, int64, int64, int64, int64, int64, int64, int64,
       int64, float);
KERNEL(void, rmsNormBackward, int32, int64, int64, int64, int64, int64, int64, int64, float);
KERNEL(void, gateBackward, int32, int64, int64, int64, int64, int64, int64);
KERNEL(int64, attentionBackwardScratch, int32, int64, int64);
KERNEL(void, attentionBackward, int32, int64, int64, int64, int64, int64, int64, int64, int64, int64, int64, int64,
       int64, int64, int64, int64, int64, float);
KERNEL(int64, matrixBytes, int32, int64, int64);
KERNEL(void, packWeights, int32, int32, int64, int64, int64, int64);
KERNEL(void, packIntegers, int32, int64, int64, int64, int64, int64, int64);
KERNEL(void, dequantize, int32, int32, int64, int64, int64, int64, int64);
KERNEL(int64, activationBytes, int32, int64, int64);
KERNEL(void, packRows, int32, int64, int64, int64, int64);
KERNEL(int64, multiplyScratch, int32, int32, int64, int64);
KERNEL(void, multiplyGated, int32, int32, int64, int64, int64, int64, int64, int64, int64, int64, int64, int64);
KERNEL(void, multiply, int32, int32, int64, int64, int64, int64, int64, int64, int64, int64, int64, int64, int64);

#define CALL(name, ...) Java_io_llara_kernels_NativeKernels_##name(nullptr, nullptr, __VA_ARGS__)

namespace {

#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
#define SANITIZED 1
extern "C" void* malloc(unsigned long);
extern "C" void free(void*);
extern "C" long write(int, const void*, unsigned long);
extern "C" void exit(int) __attribute__((noreturn));
#else
#define SANITIZED 0
#if defined(__aarch64__)
enum SystemCall : int64 { WRITE = 64, EXIT = 94, MAP = 222, PROTECT = 226 };
inline int64 call(SystemCall number, int64 a, int64 b = 0, int64 c = 0, int64 d = 0, int64 e = 0, int64 f = 0) {
  register int64 x8 asm("x8") = number;
  register int64 x0 asm("x0") = a;
  register int64 x1 asm("x1") = b;
  register int64 x2 asm("x2") = c;
  register int64 x3 asm("x3") = d;
  register int64 x4 asm("x4") = e;
  register int64 x5 asm("x5") = f;
  asm volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
  return x0;
}
#else
enum SystemCall : int64 { WRITE = 1, EXIT = 231, MAP = 9, PROTECT = 10 };
inline int64 call(SystemCall number, int64 a, int64 b = 0, int64 c = 0, int64 d = 0, int64 e = 0, int64 f = 0) {
  register int64 r10 asm("r10") = d;
  register int64 r8 asm("r8") = e;
  register int64 r9 asm("r9") = f;
  int64 result;
  asm volatile("syscall"
               : "=a"(result)
               : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
               : "rcx", "r11", "memory");
  return result;
}
#endif
inline void write(int file, const void* text, int64 length) { call(WRITE, file, (int64)text, length); }
[[noreturn]] inline void exit(int code) {
  call(EXIT, code);
  __builtin_trap();
}
#endif

struct Line {
  char text[200];
  int length = 0;

  Line& operator<<(const char* word) {
    while (*word) text[length++] = *word++;
    return *this;
  }
  Line& operator<<(int64 number) {
    char digits[20];
    int count = 0;
    do digits[count++] = (char)('0' + number % 10);
    while (number /= 10);
    while (count) text[length++] = digits[--count];
    return *this;
  }
  void print() {
    text[length++] = '\n';
    write(1, text, length);
  }
};

[[noreturn]] void fail(const char* why) {
  (Line() << "FAILED: " << why).print();
  exit(1);
}

void require(bool holds, const char* what) {
  if (!holds) fail(what);
}

// Where operands lie: against the end of their memory, or against its beginning.
enum class Place { END, BEGIN };

// Memory between two pages that are not there, or, with the address sanitizer, as much as is asked for. Around an operand,
// within its own pages, lie bytes that must not change.
class Region {
 public:
  [[maybe_unused]] static constexpr int64 kPage = 65536;  // or less
  static constexpr int64 kBytes = 1 << 20;
  [[maybe_unused]] static constexpr uint8 kUntouched = 0xa5;
  [[maybe_unused]] static constexpr int64 kAround = 256;

  uint8* take(int64 bytes, Place where) {
    require(bytes <= kBytes, "a region is too small");
    count = bytes;
#if SANITIZED
    free(begin);
    begin = operand = (uint8*)malloc((unsigned long)(bytes ? bytes : 1));
    (void)where;
#else
    if (!begin) map();
    operand = where == Place::END ? begin + kBytes - bytes : begin;
    for (int64 i = 0; i < around(); i++) beside(where)[i] = kUntouched;
    place = where;
#endif
    return operand;
  }

  void check() const {
#if !SANITIZED
    for (int64 i = 0; i < around(); i++) require(beside(place)[i] == kUntouched, "a byte beside an operand was written");
#endif
  }

  uint64 digest(uint64 sum) const {
    for (int64 i = 0; i < count; i++) sum = (sum ^ operand[i]) * 1099511628211u;
    return sum;
  }

 private:
  uint8* begin = nullptr;
  uint8* operand = nullptr;
  int64 count = 0;
  [[maybe_unused]] Place place = Place::END;

#if !SANITIZED
  int64 around() const { return kBytes - count < kAround ? kBytes - count : kAround; }
  uint8* beside(Place where) const { return where == Place::END ? operand - around() : operand + count; }

  void map() {
    // PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS; then PROT_READ | PROT_WRITE for what is between the pages.
    int64 all = call(MAP, 0, kBytes + 2 * kPage, 0, 0x22, -1, 0);
    require(all > 0, "mmap");
    begin = (uint8*)(all + kPage);
    require(call(PROTECT, (int64)begin, kBytes, 3) == 0, "mprotect");
  }
#endif
};

Region regions[20];
int used;
Place place;
uint32 state;
uint64 digestOfAll;

uint32 next() {
  state = state * 1664525 + 1013904223;
  return state >> 8;
}

int64 bytes(int64 count) { return (int64)regions[used++].take(count, place); }

// Numbers from −1 to 1, of a type: 0 is float32, 1 bfloat16.
int64 numbers(int32 type, int64 count) {
  int64 address = bytes(count * (type ? 2 : 4));
  for (int64 i = 0; i < count; i++) {
    float value = (float)next() / (1 << 23) - 1;
    uint32 bits;
    __builtin_memcpy(&bits, &value, 4);
    if (type) {
      ((uint16*)address)[i] = (uint16)(bits >> 16);
    } else {
      __builtin_memcpy((void*)(address + 4 * i), &bits, 4);
    }
  }
  return address;
}

int64 anyBytes(int64 count) {
  int64 address = bytes(count);
  for (int64 i = 0; i < count; i++) ((uint8*)address)[i] = (uint8)next();
  return address;
}

int64 zeros(int64 count) {
  int64 address = bytes(count);
  for (int64 i = 0; i < count; i++) ((volatile uint8*)address)[i] = 0;
  return address;
}

int64 copy(const int64* values, int64 count) {
  int64 address = bytes(count * 8);
  for (int64 i = 0; i < count; i++) ((volatile int64*)address)[i] = values[i];
  return address;
}

// Runs something at both places: what it returns, and the bytes of its operands, must be the same.
template <class Body>
void atBothPlaces(Body body) {
  uint64 digests[2];
  for (int i = 0; i < 2; i++) {
    place = i ? Place::BEGIN : Place::END;
    used = 0;
    state = 1;
    int keep = body();
    uint64 digest = 14695981039346656037u;
    for (int r = 0; r < used; r++) {
      regions[r].check();
      if (r < keep) digest = regions[r].digest(digest);
    }
    digests[i] = digest;
  }
  require(digests[0] == digests[1], "the result depends on where operands lie");
  digestOfAll = (digestOfAll ^ digests[0]) * 1099511628211u;
}

void elementwise(int32 type, int64 rows, int64 width) {
  atBothPlaces([&] {
    int64 x = numbers(type, rows * width), weight = numbers(type, width), gradient = numbers(type, rows * width);
    int64 out = numbers(type, rows * width), weightGradient = numbers(0, width), none = numbers(type, rows * width);
    CALL(rmsNorm, type, x, weight, out, rows, width, 1e-5f);
    CALL(rmsNormBackward, type, x, weight, gradient, out, weightGradient, rows, width, 1e-5f);
    CALL(rmsNormBackward, type, x, weight, gradient, none, 0, rows, width, 1e-5f);
    return used;
  });
  atBothPlaces([&] {
    int64 count = rows * width;
    int64 open = numbers(type, count), up = numbers(type, count), gradient = numbers(type, count);
    int64 out = numbers(type, count), openGradient = numbers(type, count), upGradient = numbers(type, count);
    CALL(gate, type, open, up, out, count);
    CALL(gateBackward, type, open, up, gradient, openGradient, upGradient, count);
    CALL(gate, type, open, up, open, count);
    return used;
  });
  if (width % 2 == 0) {
    atBothPlaces([&] {
      int64 heads = 1 + width % 3;
      int64 x = numbers(type, rows * heads * width), cos = numbers(type, rows * width), sin = numbers(type, rows * width);
      int64 out = numbers(type, rows * heads * width);
      CALL(rotary, type, x, cos, sin, out, rows, heads, width);
      return used;
    });
  }
}

// A prompt of some tokens, and one of which the last rows alone are asked for; between and after them rows in no span.
void attention(int32 type, int64 tokens, int64 width) {
  atBothPlaces([&] {
    int64 asked = (tokens + 2) / 3, heads = 2, kvHeads = 1, keys = 2 * tokens, rows = tokens + 1 + asked + 1;
    const int64 encoded[] = {0,          tokens,             1, tokens, 1, 0, tokens,  //
                             tokens + 1, tokens + 1 + asked, 1, tokens, 2, 0, tokens / 2, tokens + tokens / 2, 2 * tokens};
    // Half of the second prompt's keys are the first one's.
    int64 query = rows * heads * width, key = keys * kvHeads * width;
    int64 q = numbers(type, query), k = numbers(type, key), v = numbers(type, key), out = numbers(type, query);
    int64 normalisers = zeros(4 * 2 * heads * rows), gradient = numbers(type, query), queryGradient = numbers(type, query);
    int64 keyGradient = numbers(0, key), valueGradient = numbers(0, key), ofRounded = numbers(0, query);
    int64 spans = copy(encoded, 16);
    int results = used;
    float scale = 0.3f;
    int64 scratch = bytes(CALL(attentionScratch, type, tokens, width));
    CALL(attention, type, q, k, v, out, 0, rows, heads, kvHeads, 0, kvHeads, width, spans, 2, scratch, scale);
    CALL(attention, type, q, k, v, out, normalisers, rows, heads, kvHeads, 0, kvHeads, width, spans, 2, scratch, scale);
    if (type == 0) {
      int64 rounded = bytes(CALL(attentionScratch, 2, tokens, width));
      CALL(attention, 2, q, k, v, ofRounded, 0, rows, heads, kvHeads, 0, kvHeads, width, spans, 2, rounded, scale);
    }
    scratch = bytes(CALL(attentionBackwardScratch, type, tokens, width));
    CALL(attentionBackward, type, q, k, v, out, gradient, normalisers, queryGradient, keyGradient, valueGradient, rows,
         heads, kvHeads, width, spans, 2, scratch, scale);
    return results;
  });
}

// Of rows of a type; bfloat16 by the matrix unit.
void products(int32 type, int64 rows, int64 width, int64 columns) {
  for (int32 form = 0; form < 4; form++) {  // float32, bfloat16, eight bits, four bits
    int32 bits = form == 3 ? 4 : form == 2 || type == 0 ? 8 : 16;
    if (bits == 4 && width % 2) continue;
    atBothPlaces([&] {
      int64 x = numbers(type, rows * width), bias = numbers(type, columns), residual = numbers(type, rows * columns);
      int64 out = numbers(type, rows * columns);
      int64 stored = form < 2 ? numbers(form, columns * width) : anyBytes(columns * width * bits / 8);
      int64 scales = numbers(0, columns), weights = numbers(0, width * columns);
      int results = used;
      int64 matrix = zeros(CALL(matrixBytes, bits, columns, width));
      int64 activations = zeros(CALL(activationBytes, type, rows, width));
      int32 back = type ? 16 : 8;
      int64 down = zeros(CALL(matrixBytes, back, width, columns));
      CALL(packWeights, 0, back, weights, width, columns, down);
      int64 scratch = bytes(2 * CALL(multiplyScratch, type, bits, rows, width));
      if (form < 2) {
        CALL(packWeights, form, bits, stored, columns, width, matrix);
      } else {
        CALL(packIntegers, bits, stored, scales, width, columns, width, matrix);
      }
      CALL(packRows, type, x, rows, width, activations);
      int64 half = columns / 2;
      CALL(multiply, type, bits, activations, rows, matrix, columns, width, 0, 0, out, scratch, 0, columns);
      CALL(multiply, type, bits, activations, rows, matrix, columns, width, bias, residual, out, scratch, 0, half);
      CALL(multiply, type, bits, activations, rows, matrix, columns, width, bias, residual, out, scratch, half, columns);
      int64 gated = zeros(CALL(activationBytes, type, rows, columns));
      CALL(multiplyGated, type, bits, activations, rows, matrix, matrix, columns, width, gated, scratch, 0, half);
      CALL(multiplyGated, type, bits, activations, rows, matrix, matrix, columns, width, gated, scratch, half, columns);
      CALL(multiply, type, back, gated, rows, down, width, columns, 0, 0, x, scratch, 0, width);
      return results;
    });
  }
}

void products(int32 type, int64 length) {
  products(type, length, 40, 19);
  products(type, 3, length, 9);
  products(type, 2, 33, length);
}

void dequantized(int64 groups) {
  for (int32 bits = 4; bits <= 8; bits += 4) {
    for (int32 type = 0; type < 2; type++) {
      atBothPlaces([&] {
        int64 count = 32 * groups;
        int64 out = numbers(type, count);
        int results = used;
        int64 stored = anyBytes(count * bits / 8), scales = numbers(0, groups);
        CALL(dequantize, type, bits, stored, scales, 32, out, count);
        CALL(dequantize, type, bits, stored, scales, count, out, count);
        return results;
      });
    }
  }
}

int run(int64 most) {
  for (int64 length = 1; length <= most; length++) {
    (Line() << "length " << length).print();
    for (int32 type = 0; type < 2; type++) {
      for (int64 rows = 1; rows <= 3; rows += 2) elementwise(type, rows, length);
      constexpr int64 widths[] = {2, 16, 18, 64};
      for (int64 width : widths) attention(type, length, width);
      if (length % 2 == 0) attention(type, 13, length);
      // By the matrix unit, where there is one.
      if (CALL(enableTiles, 1)) {
        for (int64 width = 32; width <= 128; width += 32) attention(type, length, width);
        if (type) {
          products(type, length);
          if (length % 16 == 1) {
            products(type, 32 + length, 40, 300);
          }
        }
        CALL(enableTiles, 0);
      }
    }
    products(0, length);
    dequantized(length);
  }
  (Line() << "digest " << (int64)(digestOfAll >> 1)).print();
  (Line() << "passed").print();
  return 0;
}

int64 number(const char* text) {
  int64 value = 0;
  for (; *text; text++) value = value * 10 + (*text - '0');
  return value;
}

}  // namespace

#if SANITIZED
// Freely standing, so that its name has to be said to be C.
extern "C" int main(int count, char** words) {
  require(count == 2, "usage: bounds MOST");
  return run(number(words[1]));
}
#else
// Called by the compiler for loops that it recognises.
extern "C" __attribute__((no_builtin("memset"))) void* memset(void* to, int value, unsigned long count) {
  for (unsigned long i = 0; i < count; i++) ((uint8*)to)[i] = (uint8)value;
  return to;
}
extern "C" __attribute__((no_builtin("memcpy"))) void* memcpy(void* to, const void* from, unsigned long count) {
  for (unsigned long i = 0; i < count; i++) ((uint8*)to)[i] = ((const uint8*)from)[i];
  return to;
}

extern "C" __attribute__((used)) void start(int64* stack) {
  require(stack[0] == 2, "usage: bounds MOST");
  exit(run(number((const char*)stack[2])));
}

#if defined(__aarch64__)
asm(".globl _start\n_start:\n  mov x0, sp\n  bl start\n");
#else
asm(".globl _start\n_start:\n  mov %rsp, %rdi\n  and $-16, %rsp\n  call start\n");
#endif
#endif
