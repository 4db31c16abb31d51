// The operations of a LLaMA layer that surround its matrix products, for x86 and Arm processors: root mean square norm, rotary
// embedding, the gate of SwiGLU, and attention; and their gradients. Matrix products are in products.h.
// Bound by io.llara.kernels.NativeKernels, which says what arguments mean; their callers have checked them. Lengths and strides
// are counted in elements, scratch memory in bytes.
//
// Each operation reads its rows once and writes them once; attention keeps a few rows of scores in the cache. That is
// what libtorch's operators, one elementary step each, cannot do. Compiled once for each level of instructions, freely
// standing: no C library, no headers of a system.

#if defined(__aarch64__)
#include <arm_neon.h>
#else
#include <immintrin.h>
#endif

namespace {

using int32 = __INT32_TYPE__;
using int64 = __INT64_TYPE__;
using uint8 = __UINT8_TYPE__;
using uint16 = __UINT16_TYPE__;
using uint32 = __UINT32_TYPE__;

// How many float32 a register holds, and how many registers wide a tile of products is: with kTileRows rows of
// accumulators there are enough left for one row of the right factor and an element of the left one. On Arm, two of its 32
// registers stand for one.
#if defined(__AVX512F__)
constexpr int kLanes = 16;
constexpr int kTileVectors = 4;
#else
constexpr int kLanes = 8;
constexpr int kTileVectors = 2;
#endif
constexpr int kTileRows = 6;

typedef float Floats __attribute__((vector_size(kLanes * 4)));
typedef int32 Ints __attribute__((vector_size(kLanes * 4)));
typedef uint32 Words __attribute__((vector_size(kLanes * 4)));
typedef uint16 Halves __attribute__((vector_size(kLanes * 2)));

template <class V>
inline V loadBits(const void* from) {
  V value;
  __builtin_memcpy_inline(&value, from, sizeof(V));
  return value;
}

template <class V>
inline void storeBits(void* to, V value) {
  __builtin_memcpy_inline(to, &value, sizeof(V));
}

// Loads the first `count` elements of a register, less than all; the others are zero. What handles the ends of rows is called, not
// inlined: it stands in every operation, and would take most of the time to compile.
template <class V, class E>
__attribute__((noinline)) V loadPart(const E* from, int64 count) {
  E some[sizeof(V) / sizeof(E)] = {};
  for (int64 i = 0; i < count; i++) some[i] = from[i];
  return loadBits<V>(some);
}

// Loads the first `count` elements of a register, or all if there are more; the others are zero.
template <class V, class E>
inline V loadBits(const E* from, int64 count) {
  return count >= (int64)(sizeof(V) / sizeof(E)) ? loadBits<V>(from) : loadPart<V>(from, count);
}

inline Floats splat(float value) { return value - Floats{}; }

inline Floats multiplyAdd(Floats a, Floats b, Floats c) { return __builtin_elementwise_fma(a, b, c); }

inline float sum(Floats x) {
  float total = 0;
  for (int i = 0; i < kLanes; i++) total += x[i];
  return total;
}

inline float largest(Floats x) {
  float most = x[0];
  for (int i = 1; i < kLanes; i++) most = x[i] > most ? x[i] : most;
  return most;
}

inline int64 roundUp(int64 count, int64 multiple) { return (count + multiple - 1) / multiple * multiple; }

inline int64 least(int64 a, int64 b) { return a < b ? a : b; }

// A type as it lies in memory. Computing is done in float32.
struct Float32 {
  using Stored = float;
  static Floats load(const Stored* from) { return loadBits<Floats>(from); }
  static void store(Stored* to, Floats x) { storeBits(to, x); }
};

struct BFloat16 {
  using Stored = uint16;
  static Floats load(const Stored* from) {
    return (Floats)(__builtin_convertvector(loadBits<Halves>(from), Words) << 16);
  }
  // To nearest, ties to even; NaN stays NaN.
  static void store(Stored* to, Floats x) {
#if defined(__AVX512BF16__)
    storeBits(to, _mm512_cvtneps_pbh(x));
#else
    Words bits = (Words)x;
    Words rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    Words quiet = (bits >> 16) | 0x40;
    storeBits(to, __builtin_convertvector(x == x ? rounded : quiet, Halves));
#endif
  }
};

// The first count < kLanes elements of a register; the others are zero.
template <class T>
__attribute__((noinline)) Floats loadSome(const typename T::Stored* from, int count) {
  typename T::Stored some[kLanes] = {};
  for (int i = 0; i < count; i++) some[i] = from[i];
  return T::load(some);
}

template <class T>
__attribute__((noinline)) void storeSome(typename T::Stored* to, Floats x, int count) {
  typename T::Stored some[kLanes];
  T::store(some, x);
  for (int i = 0; i < count; i++) to[i] = some[i];
}

// How a register is filled from memory: wholly, or in part.
template <class T>
struct Whole {
  template <class Other>
  static Whole<Other> as() {
    return {};
  }
  static Floats load(const typename T::Stored* from) { return T::load(from); }
  static void store(typename T::Stored* to, Floats x) { T::store(to, x); }
};

template <class T>
struct Some {
  int count;
  template <class Other>
  Some<Other> as() const {
    return {count};
  }
  Floats load(const typename T::Stored* from) const { return loadSome<T>(from, count); }
  void store(typename T::Stored* to, Floats x) const { storeSome<T>(to, x, count); }
};

// Calls body(index, access) for count elements, a register at a time; the last may be a part of one.
template <class T, class Body>
inline void forEach(int64 count, Body body) {
  int64 i = 0;
  for (; i + kLanes <= count; i += kLanes) body(i, Whole<T>{});
  if (i < count) body(i, Some<T>{(int)(count - i)});
}

// e to the power of x, to two units in the last place; x is clamped to [-87, 88]. The exponent is split into a power of
// two and a remainder within ±ln 2 / 2, for which there is a polynomial fitted to the relative error.
inline Floats exponential(Floats x) {
  x = x < -87.0f ? splat(-87.0f) : x;
  x = x > 88.0f ? splat(88.0f) : x;
  Floats n = __builtin_elementwise_roundeven(x * 1.44269504089f);
  // ln 2 in two parts, the first of so few bits that its multiples are exact.
  Floats r = multiplyAdd(n, splat(-0.693145752f), x);
  r = multiplyAdd(n, splat(-1.42860677e-6f), r);
  Floats p = splat(1.383683530e-3f);
  p = multiplyAdd(p, r, splat(8.374824055e-3f));
  p = multiplyAdd(p, r, splat(4.166822620e-2f));
  p = multiplyAdd(p, r, splat(1.666642007e-1f));
  p = multiplyAdd(p, r, splat(4.999999208e-1f));
  p = multiplyAdd(p, r, splat(1.000000036f));
  p = multiplyAdd(p, r, splat(1.0f));
  Ints power = (__builtin_convertvector(n, Ints) + 127) << 23;
  return p * (Floats)power;
}

// Adds up body(index, access), two factors of a product, over count elements. Four sums at once: one alone would wait for
// each addition.
template <class T, class Body>
inline float sumOfProducts(int64 count, Body body) {
  Floats sums[4] = {};
  int64 i = 0;
  for (; i + 4 * kLanes <= count; i += 4 * kLanes) {
    for (int part = 0; part < 4; part++) {
      auto [a, b] = body(i + part * kLanes, Whole<T>{});
      sums[part] = multiplyAdd(a, b, sums[part]);
    }
  }
  forEach<T>(count - i, [&](int64 rest, auto access) {
    auto [a, b] = body(i + rest, access);
    sums[0] = multiplyAdd(a, b, sums[0]);
  });
  return sum((sums[0] + sums[1]) + (sums[2] + sums[3]));
}

struct Factors {
  Floats a;
  Floats b;
};

template <class T>
float inverseRootMeanSquare(const typename T::Stored* x, int64 width, float eps) {
  float squares = sumOfProducts<T>(width, [&](int64 at, auto access) {
    Floats v = access.load(x + at);
    return Factors{v, v};
  });
  return 1.0f / __builtin_elementwise_sqrt(squares / (float)width + eps);
}

template <class T>
void rmsNorm(const typename T::Stored* x, const typename T::Stored* weight, typename T::Stored* out, int64 rows,
             int64 width, float eps) {
  for (int64 row = 0; row < rows; row++, x += width, out += width) {
    Floats scale = splat(inverseRootMeanSquare<T>(x, width, eps));
    forEach<T>(width, [&](int64 at, auto access) {
      access.store(out + at, access.load(x + at) * scale * access.load(weight + at));
    });
  }
}

// With g = weight · outGradient and s the inverse of the root mean square: s · g − x · s³ · mean(g · x), and for the
// weight the sum of outGradient · x · s over the rows, in float32; not computed if null.
template <class T>
void rmsNormBackward(const typename T::Stored* x, const typename T::Stored* weight,
                     const typename T::Stored* outGradient, typename T::Stored* gradient, float* weightGradient,
                     int64 rows, int64 width, float eps) {
  for (int64 row = 0; row < rows; row++, x += width, outGradient += width, gradient += width) {
    float scale = inverseRootMeanSquare<T>(x, width, eps);
    float along = sumOfProducts<T>(width, [&](int64 at, auto access) {
      return Factors{access.load(outGradient + at) * access.load(weight + at), access.load(x + at)};
    });
    Floats s = splat(scale);
    Floats back = splat(-scale * scale * scale * (along / (float)width));
    forEach<T>(width, [&](int64 at, auto access) {
      Floats v = access.load(x + at);
      Floats g = access.load(outGradient + at);
      access.store(gradient + at, multiplyAdd(back, v, g * access.load(weight + at) * s));
      if (weightGradient) {
        // The rows of float32 are as many elements; `access` knows how many are left.
        auto floats = access.template as<Float32>();
        floats.store(weightGradient + at, multiplyAdd(g, v * s, floats.load(weightGradient + at)));
      }
    });
  }
}

template <class T>
void rotary(const typename T::Stored* x, const typename T::Stored* cos, const typename T::Stored* sin,
            typename T::Stored* out, int64 rows, int64 heads, int64 width) {
  int64 half = width / 2;
  for (int64 row = 0; row < rows; row++, cos += width, sin += width) {
    for (int64 head = 0; head < heads; head++, x += width, out += width) {
      forEach<T>(half, [&](int64 at, auto access) {
        Floats first = access.load(x + at);
        Floats second = access.load(x + half + at);
        Floats c = access.load(cos + at);
        Floats s = access.load(sin + half + at);
        access.store(out + at, first * c - second * s);
        access.store(out + half + at, second * c + first * s);
      });
    }
  }
}

// The gate of SwiGLU, silu(open) · up.
inline Floats gated(Floats open, Floats up) { return open / (exponential(-open) + 1.0f) * up; }

template <class T>
void gate(const typename T::Stored* open, const typename T::Stored* up, typename T::Stored* out, int64 count) {
  forEach<T>(count, [&](int64 at, auto access) {
    access.store(out + at, gated(access.load(open + at), access.load(up + at)));
  });
}

// With σ the logistic function: silu(g) = g σ(g), and its derivative σ(g) + silu(g) (1 − σ(g)).
template <class T>
void gateBackward(const typename T::Stored* open, const typename T::Stored* up, const typename T::Stored* outGradient,
                  typename T::Stored* openGradient, typename T::Stored* upGradient, int64 count) {
  forEach<T>(count, [&](int64 at, auto access) {
    Floats g = access.load(open + at);
    Floats gradient = access.load(outGradient + at);
    Floats logistic = 1.0f / (exponential(-g) + 1.0f);
    Floats silu = g * logistic;
    access.store(openGradient + at, gradient * access.load(up + at) * multiplyAdd(silu, 1.0f - logistic, logistic));
    access.store(upGradient + at, gradient * silu);
  });
}

// ---- attention
//
// Matrices are multiplied tile by tile: kTileRows rows of the left factor, as they lie, by a panel of the right one,
// which was packed: the columns of a panel side by side for each step of the inner dimension. A step is one float32, or,
// where the processor multiplies them natively, a pair of bfloat16: 32 bits in any case.

template <class T, T... I>
struct Sequence {};
template <int N>
using Indices = __make_integer_seq<Sequence, int, N>;

// Interleaves the elements of two registers from element `First` of each on; N in all.
template <int First, int N, class V, int... I>
inline auto zip(V a, V b, Sequence<int, I...>) {
  constexpr int count = sizeof(V) / sizeof(a[0]);
  return __builtin_shufflevector(a, b, (First + I / 2 + I % 2 * count)...);
}
template <int First, int N, class V>
inline auto zip(V a, V b) {
  return zip<First, N>(a, b, Indices<N>{});
}

// Turns rows into columns. Each step takes the first and second half of the rows in turn.
inline void transpose(Words (&rows)[kLanes]) {
  for (int done = 1; done < kLanes; done *= 2) {
    Words next[kLanes];
    for (int i = 0; i < kLanes / 2; i++) {
      next[2 * i] = zip<0, kLanes>(rows[i], rows[i + kLanes / 2]);
      next[2 * i + 1] = zip<kLanes / 2, kLanes>(rows[i], rows[i + kLanes / 2]);
    }
    for (int i = 0; i < kLanes; i++) rows[i] = next[i];
  }
}

template <class T>
struct Singles {
  using Stored = typename T::Stored;
  using Packed = float;
  static constexpr int kStep = 1;
  // One register of steps of a row, of which `count` elements are there.
  static Words steps(const Stored* from, int64 count) {
    return (Words)(count >= kLanes ? T::load(from) : loadSome<T>(from, (int)count));
  }
  // A register of columns of kStep rows, each column a step; `counts` says how many elements each row has.
  static Words columns(const Stored* const (&rows)[kStep], const int64 (&counts)[kStep], int64 at) {
    return steps(rows[0] + at, counts[0] - at);
  }
  static Floats right(const Packed* panel) { return loadBits<Floats>(panel); }
  struct Left {
    Floats value;
  };
  static Left left(const Packed* from) { return {splat(*from)}; }
  static Floats multiply(Left a, Floats b, Floats sum) { return multiplyAdd(a.value, b, sum); }
  static void narrow(Packed* to, Floats x) { storeBits(to, x); }
};

#if defined(__AVX512BF16__)
struct Pairs {
  using Stored = uint16;
  using Packed = uint16;
  static constexpr int kStep = 2;
  static Words steps(const Stored* from, int64 count) { return loadBits<Words>(from, count); }
  static Words columns(const Stored* const (&rows)[kStep], const int64 (&counts)[kStep], int64 at) {
    return (Words)zip<0, 2 * kLanes>(loadBits<Halves>(rows[0] + at, counts[0] - at),
                                     loadBits<Halves>(rows[1] + at, counts[1] - at));
  }
  static __m512bh right(const Packed* panel) { return loadBits<__m512bh>(panel); }
  static __m512bh left(const Packed* from) { return (__m512bh)_mm512_set1_epi32(loadBits<int32>(from)); }
  static Floats multiply(__m512bh a, __m512bh b, Floats sum) { return _mm512_dpbf16_ps(sum, a, b); }
  static void narrow(Packed* to, Floats x) { BFloat16::store(to, x); }
};

// Rounds to bfloat16, elements of both in turn.
inline Words inTurn(Floats first, Floats second) {
  typedef uint16 Both __attribute__((vector_size(kLanes * 4)));
  constexpr Both kOrder = {0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
                           8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
  return (Words)_mm512_permutexvar_epi16((__m512i)kOrder, (__m512i)_mm512_cvtne2ps_pbh((__m512)second, (__m512)first));
}

// float32 that is multiplied as bfloat16.
struct Rounded : Float32 {};

struct RoundedPairs : Pairs {
  using Stored = float;
  static Words steps(const Stored* from, int64 count) {
    return (Words)_mm512_cvtne2ps_pbh((__m512)loadBits<Floats>(from + kLanes, count - kLanes),
                                      (__m512)loadBits<Floats>(from, count));
  }
  static Words columns(const Stored* const (&rows)[kStep], const int64 (&counts)[kStep], int64 at) {
    return inTurn(loadBits<Floats>(rows[0] + at, counts[0] - at), loadBits<Floats>(rows[1] + at, counts[1] - at));
  }
};
#endif

// What a type is multiplied as.
template <class T>
struct Products {
  using Type = Singles<T>;
};
#if defined(__AVX512BF16__)
template <>
struct Products<BFloat16> {
  using Type = Pairs;
};
template <>
struct Products<Rounded> {
  using Type = RoundedPairs;
};
#endif

constexpr int kPanel = kTileVectors * kLanes;

// The first columns of a panel of `width` columns: sums [R, C · kLanes] = left [R, inner] · right [inner, …].
template <class P, int R, int C>
inline void tile(const typename P::Packed* left, int64 leftStride, const typename P::Packed* panel, int64 width,
                 int64 inner, Floats (&sums)[R][C]) {
  for (int row = 0; row < R; row++) {
    for (int column = 0; column < C; column++) sums[row][column] = Floats{};
  }
  for (int64 k = 0; k < inner; k += P::kStep) {
    decltype(P::right(panel)) right[C];
    for (int column = 0; column < C; column++) right[column] = P::right(panel + column * kLanes * P::kStep);
    for (int row = 0; row < R; row++) {
      auto a = P::left(left + row * leftStride + k);
      for (int column = 0; column < C; column++) {
        sums[row][column] = P::multiply(a, right[column], sums[row][column]);
      }
    }
    panel += width * P::kStep;
  }
}

// Calls body with a compile-time count of vectors, 1 … kTileVectors.
template <int N>
struct Count {
  static constexpr int value = N;
};
template <int N = kTileVectors, class Body>
inline void withVectors(int64 vectors, Body body) {
  if constexpr (N > 1) {
    if (vectors < N) return withVectors<N - 1>(vectors, body);
  }
  body(Count<N>{});
}

// Packs the transpose of a matrix, panels over its rows: [width][kPanel] each, with zeros to fill up the last register.
//
// `rows` says where each of `count` rows is.
template <class T>
void packColumns(const typename T::Stored* from, int64 stride, const int64* rows, int64 count, int64 width,
                 typename Products<T>::Type::Packed* packed) {
  using P = typename Products<T>::Type;
  int64 padded = roundUp(count, kLanes);
  for (int64 row = 0; row < padded; row += kLanes) {
    int64 begin = row / kPanel * kPanel;
    int64 panelWidth = least(kPanel, padded - begin);
    typename P::Packed* to = packed + begin * width + (row - begin) * P::kStep;
    for (int64 i = 0; i < width; i += kLanes * P::kStep) {
      Words block[kLanes];
      for (int64 j = 0; j < kLanes; j++) {
        block[j] = row + j < count ? P::steps(from + rows[row + j] * stride + i, width - i) : Words{};
      }
      transpose(block);
      for (int64 j = 0; j < least(kLanes, (width - i) / P::kStep); j++, to += panelWidth * P::kStep) {
        storeBits(to, block[j]);
      }
    }
  }
}

// Packs a matrix, panels over its columns: a multiple of so many rows, [padded rows][kPanel].
template <class T>
void packRows(const typename T::Stored* from, int64 stride, const int64* rows, int64 count, int64 width,
              typename Products<T>::Type::Packed* packed, int64 multiple = kLanes) {
  using P = typename Products<T>::Type;
  int64 padded = roundUp(count, multiple);
  int64 paddedWidth = roundUp(width, kLanes);
  for (int64 begin = 0; begin < paddedWidth; begin += kPanel) {
    int64 end = least(begin + kPanel, paddedWidth);
    typename P::Packed* to = packed + begin * padded;
    for (int64 row = 0; row < count; row += P::kStep) {
      const typename T::Stored* parts[P::kStep];
      int64 counts[P::kStep];
      for (int64 part = 0; part < P::kStep; part++) {
        bool there = row + part < count;
        parts[part] = from + (there ? rows[row + part] * stride : 0);
        counts[part] = there ? width : 0;
      }
      for (int64 at = begin; at < end; at += kLanes, to += kLanes * P::kStep) {
        storeBits(to, P::columns(parts, counts, at));
      }
    }
  }
}

// What makes a share of a score, exp(scale · score + shift) · factor, for each query row; kept for the gradient, or null.
struct Normaliser {
  float* shifts;
  float* factors;
};

inline Ints laneNumbers() {
  static constexpr auto numbers = [] {
    struct {
      int32 at[kLanes];
    } n{};
    for (int i = 0; i < kLanes; i++) n.at[i] = i;
    return n;
  }();
  return loadBits<Ints>(numbers.at);
}

// Takes arrays out of memory, or counts how much they need.
struct Scratch {
  int64 end;

  template <class E>
  E* take(int64 count) {
    E* begin = (E*)end;
    end += roundUp(count * sizeof(E), 64);
    return begin;
  }
};

// Replaces a row of scores by shares not yet divided by their sum, exp(scale · score + shift), zero where nothing is seen.
// The shares may lie in the scores' place.
struct Shares {
  float shift;
  float total;
};
template <class P>
inline Shares softmax(const float* score, typename P::Packed* share, int64 visible, int64 columns, float scale) {
  int64 whole = visible / kLanes * kLanes;
  auto seen = laneNumbers() < (int32)(visible - whole);
  Floats most = splat(-__builtin_inff());
  for (int64 i = 0; i < whole; i += kLanes) {
    Floats s = loadBits<Floats>(score + i);
    most = s > most ? s : most;
  }
  if (whole < visible) {
    Floats s = loadBits<Floats>(score + whole);
    most = (seen & (s > most)) ? s : most;
  }
  // Scores are scaled here, where it is one operation with the subtraction.
  float shift = -largest(most) * scale;
  Floats shifts = splat(shift);
  Floats factor = splat(scale);
  Floats total = {};
  for (int64 i = 0; i < whole; i += kLanes) {
    Floats e = exponential(multiplyAdd(loadBits<Floats>(score + i), factor, shifts));
    total += e;
    P::narrow(share + i, e);
  }
  if (whole < visible) {
    Floats e = exponential(multiplyAdd(loadBits<Floats>(score + whole), factor, shifts));
    e = seen ? e : Floats{};
    total += e;
    P::narrow(share + whole, e);
    whole += kLanes;
  }
  for (int64 i = whole; i < columns; i += kLanes) P::narrow(share + i, Floats{});
  return {shift, sum(total)};
}

// One key head of one span, packed, and what its queries need for a few rows.
template <class T>
struct Head {
  using P = typename Products<T>::Type;
  using Stored = typename T::Stored;
  using Packed = typename P::Packed;

  int64 width;  // of a head
  int64 keys;   // of the span
  int64 paddedWidth;
  int64 paddedKeys;
  int64* rows;           // where the keys are, [keys]
  Packed* packedKeys;    // panels over the keys, [width][kPanel]
  Packed* packedValues;  // panels over the width, [paddedKeys][kPanel]
  Packed* queries;       // where they have to be converted, [kTileRows][paddedWidth]
  float* scores;         // [kTileRows][paddedKeys]
  Packed* shares;        // scores as they are multiplied; in their place where that is of the same size
  int64 end;             // of the scratch memory

  struct Use {};  // what has to be around its work
  static constexpr int64 kRows = kTileRows;
  static constexpr bool kConverts = sizeof(Packed) != sizeof(Stored);
  static constexpr bool kNarrows = sizeof(Packed) != sizeof(float);

  Head(int64 scratch, int64 keys, int64 width)
      : width(width), keys(keys), paddedWidth(roundUp(width, kLanes)), paddedKeys(roundUp(keys, kLanes)) {
    Scratch memory{scratch};
    rows = memory.take<int64>(keys);
    packedKeys = memory.take<Packed>(width * paddedKeys);
    packedValues = memory.take<Packed>(paddedKeys * paddedWidth);
    queries = memory.take<Packed>(kConverts ? kTileRows * paddedWidth : 0);
    scores = memory.take<float>(kTileRows * paddedKeys);
    shares = kNarrows ? memory.take<Packed>(kTileRows * paddedKeys) : (Packed*)scores;
    end = memory.end;
  }

  static int64 scratchBytes(int64 keys, int64 width) { return Head(0, keys, width).end; }

  void pack(const Stored* k, const Stored* v, int64 stride) {
    packColumns<T>(k, stride, rows, keys, width, packedKeys);
    packRows<T>(v, stride, rows, keys, width, packedValues);
  }

  // R query rows; row r sees the first firstVisible + r · causal keys.
  template <int R>
  void attend(const Stored* q, int64 queryStride, Stored* out, Normaliser normaliser, int64 firstVisible, bool causal,
              float scale) {
    const Packed* left;
    int64 leftStride;
    if constexpr (kConverts) {
      for (int row = 0; row < R; row++) {
        forEach<T>(width, [&](int64 at, auto access) {
          P::narrow(queries + row * paddedWidth + at, access.load(q + row * queryStride + at));
        });
      }
      left = queries;
      leftStride = paddedWidth;
    } else {
      left = q;
      leftStride = queryStride;
    }
    int64 visible = firstVisible + (causal ? R - 1 : 0);
    int64 columns = roundUp(visible, kLanes);
    for (int64 begin = 0; begin < columns; begin += kPanel) {
      withVectors(least(kPanel, columns - begin) / kLanes, [&](auto vectors) {
        constexpr int C = decltype(vectors)::value;
        Floats sums[R][C];
        tile<P, R, C>(left, leftStride, packedKeys + begin * width, least(kPanel, paddedKeys - begin), width, sums);
        for (int row = 0; row < R; row++) {
          for (int column = 0; column < C; column++) {
            storeBits(scores + row * paddedKeys + begin + column * kLanes, sums[row][column]);
          }
        }
      });
    }
    float inverse[R];
    for (int row = 0; row < R; row++) {
      auto [shift, total] = softmax<P>(scores + row * paddedKeys, shares + row * paddedKeys,
                                       firstVisible + (causal ? row : 0), columns, scale);
      inverse[row] = 1 / total;
      if (normaliser.shifts) {
        normaliser.shifts[row] = shift;
        normaliser.factors[row] = inverse[row];
      }
    }
    for (int64 begin = 0; begin < paddedWidth; begin += kPanel) {
      withVectors(least(kPanel, paddedWidth - begin) / kLanes, [&](auto vectors) {
        constexpr int C = decltype(vectors)::value;
        Floats sums[R][C];
        tile<P, R, C>(shares, paddedKeys, packedValues + begin * paddedKeys, C * kLanes, roundUp(visible, P::kStep),
                      sums);
        for (int row = 0; row < R; row++) {
          for (int column = 0; column < C; column++) {
            int64 at = begin + column * kLanes;
            Floats mixed = sums[row][column] * inverse[row];
            if (at + kLanes <= width) {
              T::store(out + row * queryStride + at, mixed);
            } else {
              storeSome<T>(out + row * queryStride + at, mixed, (int)(width - at));
            }
          }
        }
      });
    }
  }

  template <int R = kTileRows>
  void attendRows(int64 rows, const Stored* q, int64 queryStride, Stored* out, Normaliser normaliser,
                  int64 firstVisible, bool causal, float scale) {
    if constexpr (R > 1) {
      if (rows < R) {
        return attendRows<R - 1>(rows, q, queryStride, out, normaliser, firstVisible, causal, scale);
      }
    }
    attend<R>(q, queryStride, out, normaliser, firstVisible, causal, scale);
  }
};

#if defined(__AVX512BF16__)
#define TILES __attribute__((target("amx-tile,amx-bf16")))

// Whether this process may use the matrix unit; see enableTiles.
bool tilesEnabled = false;

constexpr int64 kTile = 16;       // rows of a tile, and its columns of 32 bits: floats, or pairs
constexpr int64 kTileInner = 32;  // bfloat16 of a row that it holds

// How tiles are shaped, as the processor loads it.
struct alignas(64) TileShapes {
  uint8 palette = 0;
  uint8 startRow = 0;
  uint8 reserved[14] = {};
  uint16 rowBytes[16] = {};
  uint8 rows[16] = {};
};

// Has all eight tiles shaped alike while it lives, and then as before: oneDNN takes them as it left them.
struct ShapedTiles {
  TileShapes before;

  TILES ShapedTiles() {
    _tile_storeconfig(&before);
    TileShapes own;
    own.palette = 1;
    for (int i = 0; i < 8; i++) {
      own.rowBytes[i] = 64;
      own.rows[i] = kTile;
    }
    _tile_loadconfig(&own);
  }

  TILES ~ShapedTiles() { before.palette ? _tile_loadconfig(&before) : _tile_release(); }
};

// sums [2 · kTile, C · kTile] = left [2 · kTile, inner] · right [inner, …], whose panel has `panelWidth` columns.
template <int C>
TILES inline void multiplyTiles(const uint16* left, int64 leftStride, const uint16* right, int64 panelWidth, int64 inner,
                                float* sums, int64 sumStride) {
  _tile_zero(0);
  _tile_zero(2);
  if constexpr (C == 2) {
    _tile_zero(1);
    _tile_zero(3);
  }
  for (int64 k = 0; k < inner; k += kTileInner, right += kTileInner * panelWidth) {
    _tile_loadd(4, left + k, leftStride * 2);
    _tile_loadd(5, left + kTile * leftStride + k, leftStride * 2);
    _tile_loadd(6, right, panelWidth * 4);
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(2, 5, 6);
    if constexpr (C == 2) {
      _tile_loadd(7, right + 2 * kTile, panelWidth * 4);
      _tile_dpbf16ps(1, 4, 7);
      _tile_dpbf16ps(3, 5, 7);
    }
  }
  _tile_stored(0, sums, sumStride * 4);
  _tile_stored(2, sums + kTile * sumStride, sumStride * 4);
  if constexpr (C == 2) {
    _tile_stored(1, sums + kTile, sumStride * 4);
    _tile_stored(3, sums + kTile * sumStride + kTile, sumStride * 4);
  }
}

// As packRows; the panels end with rows of zeros, so that tiles can take whole blocks.
inline void packTileRows(const uint16* from, int64 stride, const int64* rows, int64 count, int64 width,
                         uint16* packed) {
  packRows<BFloat16>(from, stride, rows, count, width, packed, kTileInner);
  int64 padded = roundUp(count, kTileInner);
  for (int64 begin = 0; begin < width; begin += kPanel) {
    int64 panelWidth = least(kPanel, width - begin);
    uint16* panel = packed + begin * padded;
    for (int64 i = roundUp(count, 2) * panelWidth; i < padded * panelWidth; i++) panel[i] = 0;
  }
}

// sums [2 · kTile, columns] = left [2 · kTile, inner] · right, of panels over `width` columns that have `rightRows` rows
// each; the first `columns` of them, a multiple of kTile.
TILES inline void multiplyTiles(const uint16* left, int64 leftStride, const uint16* right, int64 rightRows, int64 width,
                                int64 inner, int64 columns, float* sums, int64 sumStride) {
  for (int64 column = 0; column < columns; column += 2 * kTile) {
    int64 begin = column / kPanel * kPanel;
    const uint16* from = right + begin * rightRows + (column - begin) * 2;
    int64 panelWidth = least(kPanel, width - begin);
    if (column + kTile < columns) {
      multiplyTiles<2>(left, leftStride, from, panelWidth, inner, sums + column, sumStride);
    } else {
      multiplyTiles<1>(left, leftStride, from, panelWidth, inner, sums + column, sumStride);
    }
  }
}

// As Head, in bfloat16 and by tiles: 32 query rows at a time. Tiles read whole blocks: of queries, so that these are
// copied, and of shares and values, so that both end with zeros.
struct TileHead {
  using T = BFloat16;
  using Use = ShapedTiles;
  static constexpr int64 kRows = 2 * kTile;

  int64 width;
  int64 keys;
  int64 columns;         // keys that are packed
  int64 paddedKeys;      // a row of scores
  int64* rows;
  uint16* packedKeys;    // panels over the keys
  uint16* packedValues;  // panels over the width, [paddedKeys][kPanel]
  uint16* queries;       // [kRows][width]
  float* scores;         // [kRows][paddedKeys]
  uint16* shares;        // the same
  float* mixed;          // values by shares, [kRows][width]
  int64 end;

  // With fewer keys than this, much of a block is empty.
  static constexpr int64 kLeastKeys = 64;

  static bool suits(int64 keys, int64 width) {
    return tilesEnabled && keys >= kLeastKeys && width % kTileInner == 0;
  }

  TileHead(int64 scratch, int64 keys, int64 width)
      : width(width), keys(keys), columns(roundUp(keys, kTile)), paddedKeys(roundUp(keys, kTileInner)) {
    Scratch memory{scratch};
    rows = memory.take<int64>(keys);
    packedKeys = memory.take<uint16>(width * columns);
    packedValues = memory.take<uint16>(paddedKeys * width);
    queries = memory.take<uint16>(kRows * width);
    scores = memory.take<float>(kRows * paddedKeys);
    shares = memory.take<uint16>(kRows * paddedKeys);
    mixed = memory.take<float>(kRows * width);
    end = memory.end;
  }

  static int64 scratchBytes(int64 keys, int64 width) { return TileHead(0, keys, width).end; }

  void pack(const uint16* k, const uint16* v, int64 stride) {
    packColumns<T>(k, stride, rows, keys, width, packedKeys);
    packTileRows(v, stride, rows, keys, width, packedValues);
  }

  TILES void attendRows(int64 count, const uint16* q, int64 queryStride, uint16* out, Normaliser normaliser,
                        int64 firstVisible, bool causal, float scale) {
    for (int64 row = 0; row < count; row++) {
      for (int64 i = 0; i < width; i += kLanes) {
        storeBits(queries + row * width + i, loadBits<Halves>(q + row * queryStride + i));
      }
    }
    int64 visible = firstVisible + (causal ? count - 1 : 0);
    multiplyTiles(queries, width, packedKeys, width, columns, width, roundUp(visible, kTile), scores, paddedKeys);
    int64 inner = roundUp(visible, kTileInner);
    float inverse[kRows];
    for (int64 row = 0; row < count; row++) {
      auto [shift, total] = softmax<Pairs>(scores + row * paddedKeys, shares + row * paddedKeys,
                                           firstVisible + (causal ? row : 0), inner, scale);
      inverse[row] = 1 / total;
      if (normaliser.shifts) {
        normaliser.shifts[row] = shift;
        normaliser.factors[row] = inverse[row];
      }
    }
    multiplyTiles(shares, paddedKeys, packedValues, paddedKeys, width, inner, width, mixed, width);
    for (int64 row = 0; row < count; row++) {
      for (int64 i = 0; i < width; i += kLanes) {
        T::store(out + row * queryStride + i, loadBits<Floats>(mixed + row * width + i) * inverse[row]);
      }
    }
  }
};
#endif

template <class T>
void zero(typename T::Stored* rows, int64 count, int64 stride, int64 width) {
  for (int64 row = 0; row < count; row++, rows += stride) {
    for (int64 i = 0; i < width; i++) rows[i] = 0;
  }
}

// Spans as they are encoded; see NativeKernels.attention.
struct Span {
  int64 queryBegin;
  int64 queryEnd;
  bool causal;
  int64 keys;
  int64 rangeCount;
  const int64* ranges;

  static Span next(const int64*& encoded) {
    Span span{encoded[0], encoded[1], encoded[2] != 0, encoded[3], encoded[4], encoded + 5};
    encoded += 5 + 2 * span.rangeCount;
    return span;
  }

  void listKeys(int64* rows) const {
    for (int64 range = 0; range < rangeCount; range++) {
      for (int64 row = ranges[2 * range]; row < ranges[2 * range + 1]; row++) *rows++ = row;
    }
  }

  int64 visible(int64 query) const { return causal ? keys - (queryEnd - 1 - query) : keys; }
};

// The shape of a call; queries and keys lie as [rows, heads, width].
struct AttentionShape {
  int64 rows;
  int64 heads;
  int64 kvHeads;
  int64 width;
  float scale;

  int64 queryStride() const { return heads * width; }
  int64 keyStride() const { return kvHeads * width; }
  int64 groups() const { return heads / kvHeads; }
};

// The key heads kvBegin … kvEnd of a span and their queries, by a kind of Head. Normalisers are kept if there is a place for
// them: shifts, then factors, [heads, rows] each.
template <class T, class H>
void attendSpan(const Span& span, const typename T::Stored* q, const typename T::Stored* k,
                const typename T::Stored* v, typename T::Stored* out, float* normalisers,
                const AttentionShape& shape, int64 kvBegin, int64 kvEnd, int64 scratch) {
  [[maybe_unused]] typename H::Use use;
  int64 width = shape.width;
  int64 queryStride = shape.queryStride();
  int64 groups = shape.groups();
  H head(scratch, span.keys, width);
  span.listKeys(head.rows);
  for (int64 kvHead = kvBegin; kvHead < kvEnd; kvHead++) {
    head.pack(k + kvHead * width, v + kvHead * width, shape.keyStride());
    for (int64 h = kvHead * groups; h < (kvHead + 1) * groups; h++) {
      for (int64 begin = span.queryBegin; begin < span.queryEnd; begin += H::kRows) {
        int64 at = begin * queryStride + h * width;
        float* shifts = normalisers ? normalisers + h * shape.rows + begin : nullptr;
        Normaliser normaliser{shifts, shifts ? shifts + shape.heads * shape.rows : nullptr};
        head.attendRows(least(H::kRows, span.queryEnd - begin), q + at, queryStride, out + at, normaliser,
                        span.visible(begin), span.causal, shape.scale);
      }
    }
  }
}

template <class H>
struct Kind {
  using Type = H;
};

struct TileHead;
struct TileGradient;

// Calls body with the kind of Head, or of HeadGradient, for a type and a span: the same whatever other spans there are.
template <class T, class Plain, class Tiled, class Body>
inline auto withKind([[maybe_unused]] int64 keys, [[maybe_unused]] int64 width, Body body) {
#if defined(__AVX512BF16__)
  if constexpr (__is_same(T, BFloat16)) {
    if (TileHead::suits(keys, width)) return body(Kind<Tiled>{});
  }
#endif
  return body(Kind<Plain>{});
}

// Scratch memory for spans of so many keys and of fewer, of either kind.
template <class T, class Plain, class Tiled>
int64 scratchOfKinds(int64 keys, int64 width) {
  int64 bytes = withKind<T, Plain, Tiled>(
      keys, width, [&](auto kind) { return decltype(kind)::Type::scratchBytes(keys, width); });
#if defined(__AVX512BF16__)
  int64 ofShort = Plain::scratchBytes(least(keys, TileHead::kLeastKeys), width);
  bytes = bytes > ofShort ? bytes : ofShort;
#endif
  return bytes;
}

template <class T>
void attention(const typename T::Stored* q, const typename T::Stored* k, const typename T::Stored* v,
               typename T::Stored* out, float* normalisers, const AttentionShape& shape, int64 kvBegin, int64 kvEnd,
               const int64* spans, int64 spanCount, int64 scratch) {
  int64 queryStride = shape.queryStride();
  int64 groups = shape.groups();
  typename T::Stored* own = out + kvBegin * groups * shape.width;
  int64 ownWidth = (kvEnd - kvBegin) * groups * shape.width;
  int64 covered = 0;
  for (int64 i = 0; i < spanCount; i++) {
    Span span = Span::next(spans);
    zero<T>(own + covered * queryStride, span.queryBegin - covered, queryStride, ownWidth);
    covered = span.queryEnd;
    withKind<T, Head<T>, TileHead>(span.keys, shape.width, [&](auto kind) {
      attendSpan<T, typename decltype(kind)::Type>(span, q, k, v, out, normalisers, shape, kvBegin, kvEnd, scratch);
    });
  }
  zero<T>(own + covered * queryStride, shape.rows - covered, queryStride, ownWidth);
}

// The gradient of one key head of one span, a panel of queries at a time. Scores stand as [keys, queries] here: what
// normalises them is then a register for some queries, and shares and their gradients are the left factors of the
// gradients of values and keys. With O the output and P the shares of a query,
//   dV = Pᵀ dO,  dS = P ∘ (dO Vᵀ − rowsum(dO ∘ O)) · scale,  dQ = dS K,  dK = dSᵀ Q
// (FlashAttention, arXiv 2205.14135, appendix B).
template <class T>
struct HeadGradient {
  struct Use {};
  using P = typename Products<T>::Type;
  using Stored = typename T::Stored;
  using Packed = typename P::Packed;

  int64 width;
  int64 keys;
  int64 paddedWidth;
  int64 paddedKeys;
  int64* rows;               // where the keys are, [keys]
  int64* queryRows;          // 0, 1, …, [kPanel]
  Packed* keyRows;           // left factors, [paddedKeys][paddedWidth]
  Packed* valueRows;         // the same
  Packed* packedKeys;        // panels over the width
  Packed* queryColumns;      // one panel over the queries
  Packed* gradientColumns;   // of the output, the same
  Packed* packedQueries;     // panels over the width
  Packed* packedGradients;   // the same
  Packed* shares;            // [paddedKeys][kPanel]
  Packed* scoreGradients;    // the same
  float* scoreFloats;        // before they were narrowed
  Packed* scoreColumns;      // gradients of scores, [kPanel][paddedKeys]
  float* along;              // rowsum(dO ∘ O), [kPanel]
  int64 end;

  HeadGradient(int64 scratch, int64 keys, int64 width)
      : width(width), keys(keys), paddedWidth(roundUp(width, kLanes)), paddedKeys(roundUp(keys, kLanes)) {
    Scratch memory{scratch};
    rows = memory.take<int64>(keys);
    queryRows = memory.take<int64>(kPanel);
    keyRows = memory.take<Packed>(paddedKeys * paddedWidth);
    valueRows = memory.take<Packed>(paddedKeys * paddedWidth);
    packedKeys = memory.take<Packed>(paddedKeys * paddedWidth);
    queryColumns = memory.take<Packed>(kPanel * width);
    gradientColumns = memory.take<Packed>(kPanel * width);
    packedQueries = memory.take<Packed>(kPanel * paddedWidth);
    packedGradients = memory.take<Packed>(kPanel * paddedWidth);
    shares = memory.take<Packed>(paddedKeys * kPanel);
    scoreGradients = memory.take<Packed>(paddedKeys * kPanel);
    scoreFloats = memory.take<float>(paddedKeys * kPanel);
    scoreColumns = memory.take<Packed>(kPanel * paddedKeys);
    along = memory.take<float>(kPanel);
    end = memory.end;
  }

  static int64 scratchBytes(int64 keys, int64 width) { return HeadGradient(0, keys, width).end; }

  void pack(const Stored* k, const Stored* v, int64 stride) {
    for (int64 key = 0; key < keys; key++) {
      forEach<T>(width, [&](int64 at, auto access) {
        P::narrow(keyRows + key * paddedWidth + at, access.load(k + rows[key] * stride + at));
        P::narrow(valueRows + key * paddedWidth + at, access.load(v + rows[key] * stride + at));
      });
    }
    packRows<T>(k, stride, rows, keys, width, packedKeys);
    for (int64 i = 0; i < kPanel; i++) queryRows[i] = i;
  }

  // `queries` ≤ kPanel query rows of one head; the first sees firstVisible keys, others one more each if causal.
  // Gradients of keys and values are added to, [·, stride] in float32.
  void differentiate(const Stored* q, const Stored* out, const Stored* outGradient, Stored* queryGradient,
                     int64 queryStride, int64 queries, Normaliser normaliser, int64 firstVisible, bool causal,
                     float scale, float* keyGradient, float* valueGradient, int64 keyStride) {
    packColumns<T>(q, queryStride, queryRows, queries, width, queryColumns);
    packColumns<T>(outGradient, queryStride, queryRows, queries, width, gradientColumns);
    packRows<T>(q, queryStride, queryRows, queries, width, packedQueries);
    packRows<T>(outGradient, queryStride, queryRows, queries, width, packedGradients);
    for (int64 row = 0; row < queries; row++) {
      along[row] = sumOfProducts<T>(width, [&](int64 at, auto access) {
        return Factors{access.load(out + row * queryStride + at), access.load(outGradient + row * queryStride + at)};
      });
    }
    int64 visible = firstVisible + (causal ? queries - 1 : 0);
    withVectors(roundUp(queries, kLanes) / kLanes, [&](auto vectors) {
      constexpr int C = decltype(vectors)::value;
      Floats shifts[C], factors[C], sums[C];
      Ints firstKeys[C];  // which a query does not see
      for (int column = 0; column < C; column++) {
        int64 at = column * kLanes;
        shifts[column] = loadBits<Floats>(normaliser.shifts + at, queries - at);
        // Zero for queries that are not there.
        factors[column] = loadBits<Floats>(normaliser.factors + at, queries - at);
        sums[column] = loadBits<Floats>(along + at, queries - at);
        firstKeys[column] = (int32)firstVisible + (causal ? laneNumbers() + (int32)at : Ints{});
      }
      forTiles(visible, [&](int64 key, auto tileRows) {
        constexpr int R = decltype(tileRows)::value;
        Floats scores[R][C];
        Floats shareGradients[R][C];
        tile<P, R, C>(keyRows + key * paddedWidth, paddedWidth, queryColumns, C * kLanes, width, scores);
        tile<P, R, C>(valueRows + key * paddedWidth, paddedWidth, gradientColumns, C * kLanes, width, shareGradients);
        for (int row = 0; row < R; row++) {
          for (int column = 0; column < C; column++) {
            int64 at = (key + row) * kPanel + column * kLanes;
            Floats share = exponential(multiplyAdd(scores[row][column], splat(scale), shifts[column]));
            share = (int32)(key + row) < firstKeys[column] ? share * factors[column] : Floats{};
            Floats gradient = share * (shareGradients[row][column] - sums[column]) * scale;
            P::narrow(shares + at, share);
            P::narrow(scoreGradients + at, gradient);
            storeBits(scoreFloats + at, gradient);
          }
        }
      });
      for (int64 key = visible; key < roundUp(visible, kLanes); key++) {
        for (int column = 0; column < C; column++) storeBits(scoreFloats + key * kPanel + column * kLanes, Floats{});
      }
      for (int64 key = 0; key < visible; key += kLanes) {
        for (int column = 0; column < C; column++) {
          Words block[kLanes];
          for (int i = 0; i < kLanes; i++) block[i] = loadBits<Words>(scoreFloats + (key + i) * kPanel + column * kLanes);
          transpose(block);
          for (int i = 0; i < kLanes; i++) {
            P::narrow(scoreColumns + (column * kLanes + i) * paddedKeys + key, (Floats)block[i]);
          }
        }
      }
    });
    addProducts(shares, packedGradients, queries, visible, valueGradient, keyStride);
    addProducts(scoreGradients, packedQueries, queries, visible, keyGradient, keyStride);
    products(scoreColumns, paddedKeys, packedKeys, paddedKeys, visible, queries,
             [&](int64 row, int64 at, Floats x, int64 count) {
               Stored* to = queryGradient + row * queryStride + at;
               count < kLanes ? storeSome<T>(to, x, (int)count) : T::store(to, x);
             });
  }

 private:
  // Calls body(row, R) for the tiles of so many rows.
  template <class Body>
  static void forTiles(int64 count, Body body) {
    int64 row = 0;
    for (; row + kTileRows <= count; row += kTileRows) body(row, Count<kTileRows>{});
    for (; row < count; row++) body(row, Count<1>{});
  }

  // left [rows, inner] · right [inner, width]; calls body(row, column, register, elements of it that count).
  template <class Body>
  void products(const Packed* left, int64 leftStride, const Packed* right, int64 paddedInner, int64 inner,
                int64 rowCount, Body body) {
    for (int64 begin = 0; begin < paddedWidth; begin += kPanel) {
      withVectors(least(kPanel, paddedWidth - begin) / kLanes, [&](auto vectors) {
        constexpr int C = decltype(vectors)::value;
        forTiles(rowCount, [&](int64 first, auto tileRows) {
          constexpr int R = decltype(tileRows)::value;
          Floats sums[R][C];
          tile<P, R, C>(left + first * leftStride, leftStride, right + begin * paddedInner, C * kLanes,
                        roundUp(inner, P::kStep), sums);
          for (int row = 0; row < R; row++) {
            for (int column = 0; column < C; column++) {
              int64 at = begin + column * kLanes;
              if (at < width) body(first + row, at, sums[row][column], least(kLanes, width - at));
            }
          }
        });
      });
    }
  }

  // Adds to the gradients of the visible keys what the queries of a panel give them.
  void addProducts(const Packed* left, const Packed* right, int64 queries, int64 visible, float* sums, int64 stride) {
    products(left, kPanel, right, roundUp(queries, kLanes), queries, visible,
             [&](int64 key, int64 at, Floats x, int64 count) {
               float* to = sums + rows[key] * stride + at;
               if (count < kLanes) {
                 storeSome<Float32>(to, loadSome<Float32>(to, (int)count) + x, (int)count);
               } else {
                 storeBits(to, loadBits<Floats>(to) + x);
               }
             });
  }
};

#if defined(__AVX512BF16__)
// As HeadGradient, in bfloat16 and by tiles.
struct TileGradient {
  using T = BFloat16;
  using Use = ShapedTiles;
  static constexpr int64 kBlock = 2 * kTile;

  int64 width;
  int64 keys;
  int64 paddedKeys;
  int64* rows;
  int64* queryRows;
  uint16* keyRows;
  uint16* valueRows;
  uint16* packedKeys;
  uint16* queryColumns;
  uint16* gradientColumns;
  uint16* packedQueries;
  uint16* packedGradients;
  uint16* shares;
  uint16* scoreGradients;
  float* scoreFloats;
  uint16* scoreColumns;
  float* along;
  float* scores;          // of a block of keys, [kBlock][kPanel]
  float* shareGradients;  // the same
  float* sums;            // products, [kBlock][width]
  int64 end;

  TileGradient(int64 scratch, int64 keys, int64 width)
      : width(width), keys(keys), paddedKeys(roundUp(keys, kTileInner)) {
    Scratch memory{scratch};
    rows = memory.take<int64>(keys);
    queryRows = memory.take<int64>(kPanel);
    keyRows = memory.take<uint16>(paddedKeys * width);
    valueRows = memory.take<uint16>(paddedKeys * width);
    packedKeys = memory.take<uint16>(paddedKeys * width);
    queryColumns = memory.take<uint16>(kPanel * width);
    gradientColumns = memory.take<uint16>(kPanel * width);
    packedQueries = memory.take<uint16>(kPanel * width);
    packedGradients = memory.take<uint16>(kPanel * width);
    shares = memory.take<uint16>(paddedKeys * kPanel);
    scoreGradients = memory.take<uint16>(paddedKeys * kPanel);
    scoreFloats = memory.take<float>(paddedKeys * kPanel);
    scoreColumns = memory.take<uint16>(kPanel * paddedKeys);
    along = memory.take<float>(kPanel);
    scores = memory.take<float>(kBlock * kPanel);
    shareGradients = memory.take<float>(kBlock * kPanel);
    sums = memory.take<float>(kBlock * width);
    end = memory.end;
  }

  static int64 scratchBytes(int64 keys, int64 width) { return TileGradient(0, keys, width).end; }

  void pack(const uint16* k, const uint16* v, int64 stride) {
    for (int64 key = 0; key < keys; key++) {
      for (int64 i = 0; i < width; i += kLanes) {
        storeBits(keyRows + key * width + i, loadBits<Halves>(k + rows[key] * stride + i));
        storeBits(valueRows + key * width + i, loadBits<Halves>(v + rows[key] * stride + i));
      }
    }
    packTileRows(k, stride, rows, keys, width, packedKeys);
    for (int64 i = 0; i < kPanel; i++) queryRows[i] = i;
  }

  TILES void differentiate(const uint16* q, const uint16* out, const uint16* outGradient, uint16* queryGradient,
                           int64 queryStride, int64 queries, Normaliser normaliser, int64 firstVisible, bool causal,
                           float scale, float* keyGradient, float* valueGradient, int64 keyStride) {
    packColumns<T>(q, queryStride, queryRows, queries, width, queryColumns);
    packColumns<T>(outGradient, queryStride, queryRows, queries, width, gradientColumns);
    packTileRows(q, queryStride, queryRows, queries, width, packedQueries);
    packTileRows(outGradient, queryStride, queryRows, queries, width, packedGradients);
    for (int64 row = 0; row < queries; row++) {
      along[row] = sumOfProducts<T>(width, [&](int64 at, auto access) {
        return Factors{access.load(out + row * queryStride + at), access.load(outGradient + row * queryStride + at)};
      });
    }
    int64 visible = firstVisible + (causal ? queries - 1 : 0);
    int64 columns = roundUp(queries, kTile);
    int64 paddedVisible = roundUp(visible, kTileInner);
    for (int64 key = 0; key < visible; key += kBlock) {
      multiplyTiles(keyRows + key * width, width, queryColumns, width, columns, width, columns, scores, kPanel);
      multiplyTiles(valueRows + key * width, width, gradientColumns, width, columns, width, columns, shareGradients,
                    kPanel);
      differentiateScores(key, least(kBlock, visible - key), queries, normaliser, firstVisible, causal, scale);
    }
    for (int64 key = 0; key < paddedVisible; key += kLanes) {
      for (int64 column = 0; column < columns; column += kLanes) {
        Words block[kLanes];
        for (int i = 0; i < kLanes; i++) {
          block[i] = key + i < visible ? loadBits<Words>(scoreFloats + (key + i) * kPanel + column) : Words{};
        }
        transpose(block);
        for (int i = 0; i < kLanes; i++) T::store(scoreColumns + (column + i) * paddedKeys + key, (Floats)block[i]);
      }
    }
    addProducts(shares, packedGradients, queries, visible, valueGradient, keyStride);
    addProducts(scoreGradients, packedQueries, queries, visible, keyGradient, keyStride);
    for (int64 query = 0; query < queries; query += kBlock) {
      multiplyTiles(scoreColumns + query * paddedKeys, paddedKeys, packedKeys, paddedKeys, width, paddedVisible, width,
                    sums, width);
      for (int64 row = 0; row < least(kBlock, queries - query); row++) {
        for (int64 i = 0; i < width; i += kLanes) {
          T::store(queryGradient + (query + row) * queryStride + i, loadBits<Floats>(sums + row * width + i));
        }
      }
    }
  }

 private:
  // Shares and the gradients of scores of some keys, [keys, queries].
  void differentiateScores(int64 key, int64 count, int64 queries, Normaliser normaliser, int64 firstVisible, bool causal,
                           float scale) {
    // Products with them take queries by blocks: those that are not there have zeros.
    for (int64 column = 0; column < roundUp(queries, kTileInner); column += kLanes) {
      int64 left = queries - column > 0 ? queries - column : 0;
      Floats shift = loadBits<Floats>(normaliser.shifts + column, left);
      Floats factor = loadBits<Floats>(normaliser.factors + column, left);
      Floats mean = loadBits<Floats>(along + column, left);
      Ints firstKey = (int32)firstVisible + (causal ? laneNumbers() + (int32)column : Ints{});
      for (int64 row = 0; row < count; row++) {
        int64 at = (key + row) * kPanel + column;
        Floats share{};
        Floats gradient{};
        if (left > 0) {
          share = exponential(multiplyAdd(loadBits<Floats>(scores + row * kPanel + column), splat(scale), shift));
          share = (int32)(key + row) < firstKey ? share * factor : Floats{};
          gradient = share * (loadBits<Floats>(shareGradients + row * kPanel + column) - mean) * scale;
        }
        T::store(shares + at, share);
        T::store(scoreGradients + at, gradient);
        storeBits(scoreFloats + at, gradient);
      }
    }
  }

  TILES void addProducts(const uint16* left, const uint16* right, int64 queries, int64 visible, float* to,
                         int64 stride) {
    int64 inner = roundUp(queries, kTileInner);
    for (int64 key = 0; key < visible; key += kBlock) {
      multiplyTiles(left + key * kPanel, kPanel, right, inner, width, inner, width, sums, width);
      for (int64 row = 0; row < least(kBlock, visible - key); row++) {
        float* own = to + rows[key + row] * stride;
        for (int64 i = 0; i < width; i += kLanes) {
          storeBits(own + i, loadBits<Floats>(own + i) + loadBits<Floats>(sums + row * width + i));
        }
      }
    }
  }
};
#endif

// A span of attentionBackward, by a kind of HeadGradient.
template <class T, class H>
void differentiateSpan(const Span& span, const typename T::Stored* q, const typename T::Stored* k,
                       const typename T::Stored* v, const typename T::Stored* out,
                       const typename T::Stored* outGradient, float* normalisers, typename T::Stored* queryGradient,
                       float* keyGradient, float* valueGradient, const AttentionShape& shape, int64 scratch) {
  [[maybe_unused]] typename H::Use use;
  int64 width = shape.width;
  int64 queryStride = shape.queryStride();
  int64 keyStride = shape.keyStride();
  H head(scratch, span.keys, width);
  span.listKeys(head.rows);
  for (int64 kvHead = 0; kvHead < shape.kvHeads; kvHead++) {
    head.pack(k + kvHead * width, v + kvHead * width, keyStride);
    for (int64 h = kvHead * shape.groups(); h < (kvHead + 1) * shape.groups(); h++) {
      for (int64 begin = span.queryBegin; begin < span.queryEnd; begin += kPanel) {
        int64 at = begin * queryStride + h * width;
        float* shifts = normalisers + h * shape.rows + begin;
        head.differentiate(q + at, out + at, outGradient + at, queryGradient + at, queryStride,
                           least(kPanel, span.queryEnd - begin), {shifts, shifts + shape.heads * shape.rows},
                           span.visible(begin), span.causal, shape.scale, keyGradient + kvHead * width,
                           valueGradient + kvHead * width, keyStride);
      }
    }
  }
}

// Gradients of keys and values are added to float32; those of queries are written, zero for rows that no span covers.
template <class T>
void attentionBackward(const typename T::Stored* q, const typename T::Stored* k, const typename T::Stored* v,
                       const typename T::Stored* out, const typename T::Stored* outGradient, float* normalisers,
                       typename T::Stored* queryGradient, float* keyGradient, float* valueGradient,
                       const AttentionShape& shape, const int64* spans, int64 spanCount, int64 scratch) {
  int64 queryStride = shape.queryStride();
  int64 covered = 0;
  for (int64 i = 0; i < spanCount; i++) {
    Span span = Span::next(spans);
    zero<T>(queryGradient + covered * queryStride, span.queryBegin - covered, queryStride, queryStride);
    covered = span.queryEnd;
    withKind<T, HeadGradient<T>, TileGradient>(span.keys, shape.width, [&](auto kind) {
      differentiateSpan<T, typename decltype(kind)::Type>(span, q, k, v, out, outGradient, normalisers, queryGradient,
                                                          keyGradient, valueGradient, shape, scratch);
    });
  }
  zero<T>(queryGradient + covered * queryStride, shape.rows - covered, queryStride, queryStride);
}

// Calls body with the type of a code: 0 is float32, 1 bfloat16.
template <class Body>
inline auto withType(int32 type, Body body) {
  return type == 0 ? body(Float32{}) : body(BFloat16{});
}

// As withType, and 2 is float32 that may be rounded to bfloat16.
template <class Body>
inline auto withAttentionType(int32 type, Body body) {
#if defined(__AVX512BF16__)
  if (type == 2) return body(Rounded{});
#endif
  return withType(type == 2 ? 0 : type, body);
}

}  // namespace

// The Java Native Interface's naming, without its header: environment and class are not used.
#define EXPORT extern "C" __attribute__((visibility("default")))
#define NAME(name) Java_io_llara_kernels_NativeKernels_##name

// Asks the system for the matrix unit, for all threads of the process, and returns 1 if bfloat16 is multiplied by it from
// now on. With `wanted` 0 it does not any more.
EXPORT int32 NAME(enableTiles)(void*, void*, int32 wanted) {
#if defined(__AVX512BF16__)
  int64 result = 158;  // arch_prctl(ARCH_REQ_XCOMP_PERM, XTILEDATA)
  asm volatile("syscall" : "+a"(result) : "D"((int64)0x1023), "S"((int64)18) : "rcx", "r11", "memory");
  tilesEnabled = wanted && result == 0;
  return tilesEnabled;
#else
  (void)wanted;
  return 0;
#endif
}

#if defined(__linux__)
extern "C" __attribute__((weak)) int32 mallopt(int32 parameter, int32 value);
#endif

// Has glibc, where that is the allocator, keep what is freed. Each thread's memory comes from heaps of 64 MiB, and without padding
// at its end the last one is given back and mapped anew as often as a block no longer fits into the one before.
EXPORT void NAME(keepFreedMemory)(void*, void*) {
#if defined(__linux__)
  if (!mallopt) return;
  constexpr int32 kHeap = 64 << 20, kTrimThreshold = -1, kTopPad = -2, kMapThreshold = -3;
  mallopt(kTopPad, kHeap);
  mallopt(kTrimThreshold, 2 * kHeap);
  mallopt(kMapThreshold, kHeap / 2);
#endif
}

EXPORT void NAME(rmsNorm)(void*, void*, int32 type, int64 x, int64 weight, int64 out, int64 rows, int64 width,
                          float eps) {
  withType(type, [&](auto t) {
    using T = decltype(t);
    using Stored = typename T::Stored;
    rmsNorm<T>((const Stored*)x, (const Stored*)weight, (Stored*)out, rows, width, eps);
  });
}

EXPORT void NAME(rotary)(void*, void*, int32 type, int64 x, int64 cos, int64 sin, int64 out, int64 rows, int64 heads,
                         int64 width) {
  withType(type, [&](auto t) {
    using T = decltype(t);
    using Stored = typename T::Stored;
    rotary<T>((const Stored*)x, (const Stored*)cos, (const Stored*)sin, (Stored*)out, rows, heads, width);
  });
}

EXPORT void NAME(gate)(void*, void*, int32 type, int64 open, int64 up, int64 out, int64 count) {
  withType(type, [&](auto t) {
    using T = decltype(t);
    using Stored = typename T::Stored;
    gate<T>((const Stored*)open, (const Stored*)up, (Stored*)out, count);
  });
}

EXPORT int64 NAME(attentionScratch)(void*, void*, int32 type, int64 keys, int64 width) {
  return withAttentionType(type, [&](auto t) { return scratchOfKinds<decltype(t), Head<decltype(t)>, TileHead>(keys, width); });
}

EXPORT void NAME(attention)(void*, void*, int32 type, int64 q, int64 k, int64 v, int64 out, int64 normalisers,
                            int64 rows, int64 heads, int64 kvHeads, int64 kvBegin, int64 kvEnd, int64 width,
                            int64 spans, int64 spanCount, int64 scratch, float scale) {
  withAttentionType(type, [&](auto t) {
    using T = decltype(t);
    using Stored = typename T::Stored;
    attention<T>((const Stored*)q, (const Stored*)k, (const Stored*)v, (Stored*)out, (float*)normalisers,
                 {rows, heads, kvHeads, width, scale}, kvBegin, kvEnd, (const int64*)spans, spanCount, scratch);
  });
}

EXPORT void NAME(rmsNormBackward)(void*, void*, int32 type, int64 x, int64 weight, int64 outGradient, int64 gradient,
                                  int64 weightGradient, int64 rows, int64 width, float eps) {
  withType(type, [&](auto t) {
    using T = decltype(t);
    using Stored = typename T::Stored;
    rmsNormBackward<T>((const Stored*)x, (const Stored*)weight, (const Stored*)outGradient, (Stored*)gradient,
                       (float*)weightGradient, rows, width, eps);
  });
}

EXPORT void NAME(gateBackward)(void*, void*, int32 type, int64 open, int64 up, int64 outGradient, int64 openGradient,
                               int64 upGradient, int64 count) {
  withType(type, [&](auto t) {
    using T = decltype(t);
    using Stored = typename T::Stored;
    gateBackward<T>((const Stored*)open, (const Stored*)up, (const Stored*)outGradient, (Stored*)openGradient,
                    (Stored*)upGradient, count);
  });
}

EXPORT int64 NAME(attentionBackwardScratch)(void*, void*, int32 type, int64 keys, int64 width) {
  return withType(type, [&](auto t) { return scratchOfKinds<decltype(t), HeadGradient<decltype(t)>, TileGradient>(keys, width); });
}

EXPORT void NAME(attentionBackward)(void*, void*, int32 type, int64 q, int64 k, int64 v, int64 out, int64 outGradient,
                                    int64 normalisers, int64 queryGradient, int64 keyGradient, int64 valueGradient,
                                    int64 rows, int64 heads, int64 kvHeads, int64 width, int64 spans, int64 spanCount,
                                    int64 scratch, float scale) {
  withType(type, [&](auto t) {
    using T = decltype(t);
    using Stored = typename T::Stored;
    attentionBackward<T>((const Stored*)q, (const Stored*)k, (const Stored*)v, (const Stored*)out,
                         (const Stored*)outGradient, (float*)normalisers, (Stored*)queryGradient, (float*)keyGradient,
                         (float*)valueGradient, {rows, heads, kvHeads, width, scale}, (const int64*)spans, spanCount,
                         scratch);
  });
}

#include "products.h"
