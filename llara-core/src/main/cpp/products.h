// Products of rows by a matrix that is packed for them, in eight bits or, by the matrix unit, in bfloat16. Part of kernels.cpp,
// which includes it after its own types.
//
// Weights are integers q with a scale for each group of kGroup neighbours in a row, activations likewise: x ≈ a · scale.
// The products of a group are summed as integers, and the sums of groups, times both scales, as float32. The matrix unit
// multiplies bfloat16 by bfloat16. Weights are stored that way, or dequantised a few panels at a time just before use.
//
// Instructions for it on x86 multiply unsigned bytes by signed ones, four products to a sum of 32 bits. So activations are
// stored plus kZero there, and the sum of a group begins with −kZero · Σ q. On Arm both are signed.

namespace {

using int8 = __INT8_TYPE__;
using int16 = __INT16_TYPE__;

constexpr int kGroup = 32;          // as NativeProjection.GROUP
constexpr int kQuads = kGroup / 4;  // four integers of a row are a word
#if defined(__ARM_FEATURE_DOTPROD)
constexpr int kZero = 0;            // what an activation of zero is stored as
#else
constexpr int kZero = 128;
#endif
constexpr int kLargest = 127;
constexpr int kBlockRows = 32;      // rows that weights meet while they are in registers

// How many registers wide a panel of columns is, and how many quads of it are held in registers: a group, or half of one.
constexpr int kPanelVectors = 2;
#if defined(__AVX512F__)
constexpr int kHeldQuads = kQuads;
#else
constexpr int kHeldQuads = kQuads / 2;
#endif
constexpr int kPanelColumns = kPanelVectors * kLanes;

typedef uint8 LaneBytes __attribute__((vector_size(kLanes)));
typedef int16 LaneShorts __attribute__((vector_size(kLanes * 2)));

// Adds to `first`, for each lane, the products of four bytes of activations and of weights, over kHeldQuads registers of
// weights. Where there is no instruction for that, sums of kNarrow quads are made in 16 bits, two for each lane: that is
// exact if weights of one sign that meet in such a sum add up to kMostOfOneSign at most.
#if defined(__AVX512VNNI__) || defined(__AVXVNNI__)
constexpr bool kBounded = false;
template <int kNarrow>
inline Ints products(const uint8* activations, const Words (&weights)[kHeldQuads], Ints first) {
  Ints sums[2] = {first, {}};
  for (int quad = 0; quad < kHeldQuads; quad++) {
    int32 a = loadBits<int32>(activations + 4 * quad);
    Ints& sum = sums[quad % 2];
#if defined(__AVX512VNNI__)
    sum = (Ints)_mm512_dpbusd_epi32((__m512i)sum, _mm512_set1_epi32(a), (__m512i)weights[quad]);
#else
    sum = (Ints)_mm256_dpbusd_avx_epi32((__m256i)sum, _mm256_set1_epi32(a), (__m256i)weights[quad]);
#endif
  }
  return sums[0] + sums[1];
}
#elif defined(__ARM_FEATURE_DOTPROD)
constexpr bool kBounded = false;
template <int kNarrow>
inline Ints products(const uint8* activations, const Words (&weights)[kHeldQuads], Ints first) {
  static_assert(kHeldQuads == 4, "a register of activations");
  int8x16_t a = loadBits<int8x16_t>(activations);
  int8x16x2_t w[kHeldQuads];
  for (int quad = 0; quad < kHeldQuads; quad++) w[quad] = __builtin_bit_cast(int8x16x2_t, weights[quad]);
  int32x4x2_t sums = __builtin_bit_cast(int32x4x2_t, first);
  for (int half = 0; half < 2; half++) {
    int32x4_t sum = sums.val[half];
    sum = vdotq_laneq_s32(sum, w[0].val[half], a, 0);
    sum = vdotq_laneq_s32(sum, w[1].val[half], a, 1);
    sum = vdotq_laneq_s32(sum, w[2].val[half], a, 2);
    sums.val[half] = vdotq_laneq_s32(sum, w[3].val[half], a, 3);
  }
  return __builtin_bit_cast(Ints, sums);
}
#elif defined(__AVX512BW__) || defined(__AVX2__)
constexpr bool kBounded = true;
typedef int16 Shorts __attribute__((vector_size(kLanes * 4)));
template <int kNarrow>
inline Ints products(const uint8* activations, const Words (&weights)[kHeldQuads], Ints first) {
  Ints total = first;
  for (int begin = 0; begin < kHeldQuads; begin += kNarrow) {
    Shorts narrow = {};
    for (int quad = begin; quad < begin + kNarrow; quad++) {
      int32 a = loadBits<int32>(activations + 4 * quad);
#if defined(__AVX512BW__)
      narrow += (Shorts)_mm512_maddubs_epi16(_mm512_set1_epi32(a), (__m512i)weights[quad]);
    }
    total += (Ints)_mm512_madd_epi16((__m512i)narrow, _mm512_set1_epi16(1));
#else
      narrow += (Shorts)_mm256_maddubs_epi16(_mm256_set1_epi32(a), (__m256i)weights[quad]);
    }
    total += (Ints)_mm256_madd_epi16((__m256i)narrow, _mm256_set1_epi16(1));
#endif
  }
  return total;
}
#else
constexpr bool kBounded = false;
template <int kNarrow>
inline Ints products(const uint8* activations, const Words (&weights)[kHeldQuads], Ints first) {
  Ints total = first;
  for (int quad = 0; quad < kHeldQuads; quad++) {
    for (int part = 0; part < 4; part++) {
      total += ((Ints)(weights[quad] << (24 - 8 * part)) >> 24) * (int32)activations[4 * quad + part];
    }
  }
  return total;
}
#endif

constexpr int kMostOfOneSign = 128;
static_assert(kMostOfOneSign * (kZero + kLargest) <= 32767);

// Eight bits: quads as they are. Pairs of them are summed in 16 bits.
struct Eight {
  static constexpr bool kScaled = true;
  static constexpr int kNarrow = 2;
  static constexpr int kStored = kQuads;
  static void load(const uint32* from, Words (&quads)[kHeldQuads]) {
    for (int i = 0; i < kHeldQuads; i++) quads[i] = loadBits<Words>(from + i * kPanelColumns);
  }
};

// Four bits, each plus eight: of a byte the lower half is of one quad, the upper of the next. The sum of a whole group
// fits into 16 bits: 16 weights of −8.
struct Four {
  static constexpr bool kScaled = true;
  static constexpr int kNarrow = kHeldQuads;
  static constexpr int kStored = kQuads / 2;
  static_assert(8 * kGroup / 2 <= kMostOfOneSign);
  static void load(const uint32* from, Words (&quads)[kHeldQuads]) {
    typedef uint8 Bytes __attribute__((vector_size(kLanes * 4)));
    for (int i = 0; i < kHeldQuads / 2; i++) {
      Words both = loadBits<Words>(from + i * kPanelColumns);
      quads[2 * i] = (Words)((Bytes)(both & 0x0f0f0f0f) - 8);
      quads[2 * i + 1] = (Words)((Bytes)((both >> 4) & 0x0f0f0f0f) - 8);
    }
  }
};

// Sixteen bits: bfloat16 for the matrix unit, two of a row in a word. Not scaled.
struct Sixteen {
  static constexpr bool kScaled = false;
  static constexpr int kStored = kGroup / 2;
};

// A matrix [columns of the result, width], packed: panels of kPanelColumns columns, each by groups.
template <class B>
struct Matrix {
  int64 columns;
  int64 width;
  int64 groups;
  int64 panels;
  uint32* quads;   // [panels][groups][B::kStored][kPanelColumns]
  float* scales;   // [panels][groups][kPanelColumns]; none for Sixteen
  int16* sums;     // of the integers of a group, the same
  int64 end;

  Matrix() = default;

  Matrix(int64 memory, int64 columns, int64 width)
      : columns(columns),
        width(width),
        groups(roundUp(width, kGroup) / kGroup),
        panels(roundUp(columns, kPanelColumns) / kPanelColumns) {
    Scratch scratch{memory};
    int64 count = panels * groups * kPanelColumns;
    quads = scratch.take<uint32>(count * B::kStored);
    if (!B::kScaled) count = 0;
    scales = scratch.take<float>(count);
    sums = scratch.take<int16>(count);
    end = scratch.end;
  }

  // Where the scale of a column is, within a group.
  int64 at(int64 column, int64 group) const {
    return (column / kPanelColumns * groups + group) * kPanelColumns + column % kPanelColumns;
  }

  void put(int64 column, int64 group, float scale, const int8 (&integers)[kGroup]) {
    int64 place = at(column, group);
    int32 sum = 0;
    for (int i = 0; i < kGroup; i++) sum += integers[i];
    scales[place] = scale;
    sums[place] = (int16)sum;
    uint32* to = quads + (place - column % kPanelColumns) * B::kStored + column % kPanelColumns;
    for (int i = 0; i < B::kStored; i++) {
      uint32 word = 0;
      for (int part = 0; part < 4; part++) {
        uint32 byte = 0;
        if constexpr (B::kStored == kQuads) {
          byte = (uint8)integers[4 * i + part];
        } else {
          byte = (uint32)(integers[8 * i + part] + 8) | (uint32)(integers[8 * i + 4 + part] + 8) << 4;
        }
        word |= byte << (8 * part);
      }
      to[i * kPanelColumns] = word;
    }
  }

  // Fills the last panel up.
  void putZeros() {
    int8 zeros[kGroup] = {};
    for (int64 column = columns; column < panels * kPanelColumns; column++) {
      for (int64 group = 0; group < groups; group++) put(column, group, 0, zeros);
    }
  }
};

// The most that integers of one sign add up to among those that meet in a sum of 16 bits, of a pair of quads.
template <class E>
inline E mostOfOneSign(const E (&values)[kGroup]) {
  E most = 0;
  for (int begin = 0; begin < kGroup; begin += 8) {
    for (int half = 0; half < 4; half += 2) {
      E positive = 0, negative = 0;
      for (int i = 0; i < 4; i++) {
        E value = values[begin + half + i / 2 * 4 + i % 2];
        positive += value > 0 ? value : 0;
        negative -= value < 0 ? value : 0;
      }
      most = positive > most ? positive : most;
      most = negative > most ? negative : most;
    }
  }
  return most;
}

// Rounds a group of weights to integers that can be multiplied here, and returns their scale.
inline float quantizeWeights(const float (&weights)[kGroup], int8 (&integers)[kGroup]) {
  float most = 0;
  bool finite = true;
  for (int i = 0; i < kGroup; i++) {
    float size = __builtin_fabsf(weights[i]);
    finite &= size < __builtin_inff();
    most = size > most ? size : most;
  }
  float scale = most / kLargest;
  if (kBounded) {
    float sum = mostOfOneSign(weights) / kMostOfOneSign;
    scale = sum > scale ? sum : scale;
  }
  if (!finite || !(scale > 1e-35f)) {
    for (int i = 0; i < kGroup; i++) integers[i] = 0;
    return finite ? 0 : __builtin_nanf("");
  }
  // Rounding may take a sum beyond its limit, by two at most.
  for (;; scale *= 1.004f) {
    Floats inverse = splat(1 / scale);
    int32 rounded[kGroup];
    for (int i = 0; i < kGroup; i += kLanes) {
      Floats quotients = loadBits<Floats>(weights + i) * inverse;
      Ints whole = __builtin_convertvector(__builtin_elementwise_roundeven(quotients), Ints);
      storeBits(rounded + i, whole);
      storeBits(integers + i, __builtin_convertvector(whole, LaneBytes));
    }
    if (!kBounded || mostOfOneSign(rounded) <= kMostOfOneSign) return scale;
  }
}

// weights: [columns, width].
template <class T>
void packWeights(const typename T::Stored* weights, Matrix<Eight> matrix) {
  for (int64 column = 0; column < matrix.columns; column++) {
    for (int64 group = 0; group < matrix.groups; group++) {
      int64 begin = group * kGroup;
      float values[kGroup] = {};
      forEach<T>(least(kGroup, matrix.width - begin), [&](int64 at, auto access) {
        access.template as<Float32>().store(values + at, access.load(weights + column * matrix.width + begin + at));
      });
      int8 integers[kGroup];
      float scale = quantizeWeights(values, integers);
      matrix.put(column, group, scale, integers);
    }
  }
  matrix.putZeros();
}

// integers: [columns, width] of eight bits, or of four, plus eight, two in a byte, the lower half first;
// scales: [columns, width / scaled].
template <class B>
void packIntegers(const uint8* stored, const float* scales, int64 scaled, Matrix<B> matrix) {
  for (int64 column = 0; column < matrix.columns; column++) {
    for (int64 group = 0; group < matrix.groups; group++) {
      int8 integers[kGroup] = {};
      int64 begin = group * kGroup;
      for (int64 i = 0; i < least(kGroup, matrix.width - begin); i++) {
        int64 at = column * matrix.width + begin + i;
        if constexpr (B::kStored == kQuads) {
          integers[i] = (int8)stored[at];
        } else {
          integers[i] = (int8)((stored[at / 2] >> (at % 2 * 4) & 15) - 8);
        }
      }
      float scale = scales[column * (matrix.width / scaled) + begin / scaled];
      if constexpr (kBounded && B::kStored == kQuads) {
        int32 wide[kGroup];
        float weights[kGroup];
        for (int i = 0; i < kGroup; i++) {
          wide[i] = integers[i];
          weights[i] = (float)integers[i] * scale;
        }
        if (mostOfOneSign(wide) > kMostOfOneSign) scale = quantizeWeights(weights, integers);
      }
      matrix.put(column, group, scale, integers);
    }
  }
  matrix.putZeros();
}

// A register of integers as they are stored, from the element `at` on.
template <class B>
inline Ints storedIntegers(const uint8* stored, int64 at) {
  if constexpr (B::kStored == kQuads) {
    typedef int8 SignedBytes __attribute__((vector_size(kLanes)));
    return __builtin_convertvector(loadBits<SignedBytes>(stored + at), Ints);
  } else {
    typedef uint8 Bytes __attribute__((vector_size(kLanes / 2)));
    typedef int32 Pairs __attribute__((vector_size(kLanes * 2)));
    Pairs both = __builtin_convertvector(loadBits<Bytes>(stored + at / 2), Pairs);
    return zip<0, kLanes>(both & 15, both >> 4) - 8;
  }
}

// integers and scales as in packIntegers, not packed, kGroup or a multiple of it to a scale: their products in a floating
// type, [rows, width].
template <class T, class B>
void dequantize(const uint8* stored, const float* scales, int64 scaled, typename T::Stored* out, int64 count) {
  for (int64 begin = 0; begin < count; begin += scaled, scales++) {
    Floats scale = splat(*scales);
    for (int64 at = begin; at < begin + scaled; at += kLanes) {
      T::store(out + at, __builtin_convertvector(storedIntegers<B>(stored, at), Floats) * scale);
    }
  }
}

// Calls body with the form of a number of bits.
template <class Body>
inline auto withBits(int32 bits, Body body) {
  return bits == 4 ? body(Four{}) : body(Eight{});
}

// As withBits, and Sixteen.
template <class Body>
inline auto withForm(int32 bits, Body body) {
  return bits == 16 ? body(Sixteen{}) : withBits(bits, body);
}

// Rows of activations, quantised: blocks of kBlockRows, each by groups.
struct Activations {
  using Type = Float32;
  template <class Body>
  static auto withForm(int32 bits, Body body) {
    return withBits(bits, body);
  }

  int64 rows;
  int64 width;
  int64 groups;
  uint8* bytes;   // [blocks][groups][kBlockRows][kGroup]
  float* scales;  // [blocks][groups][kBlockRows]
  int64 end;

  Activations(int64 memory, int64 rows, int64 width) : rows(rows), width(width), groups(roundUp(width, kGroup) / kGroup) {
    Scratch scratch{memory};
    int64 count = roundUp(rows, kBlockRows) * groups;
    bytes = scratch.take<uint8>(count * kGroup);
    scales = scratch.take<float>(count);
    end = scratch.end;
  }

  int64 at(int64 row, int64 group) const {
    return (row / kBlockRows * groups + group) * kBlockRows + row % kBlockRows;
  }

  // x: [rows, width].
  void pack(const float* x) {
    int64 whole = width / kGroup;
    for (int64 row = 0; row < rows; row += kLanes, x += kLanes * width) {
      int64 count = least(kLanes, rows - row);
      for (int64 group = 0; group < whole; group++) quantize(row, count, group, x + group * kGroup, width);
      if (whole == groups) continue;
      float rest[kLanes][kGroup];
      for (int64 i = 0; i < count; i++) {
        for (int64 at = whole * kGroup; at < groups * kGroup; at += kLanes) {
          storeBits(&rest[i][at % kGroup], loadBits<Floats>(x + i * width + at, width - at));
        }
      }
      quantize(row, count, whole, rest[0], kGroup);
    }
  }

  // A group of the rows of a block: x is [count, kGroup].
  void put(int64 firstRow, int64 count, int64 group, const float* x) {
    for (int64 i = 0; i < count; i += kLanes) {
      quantize(firstRow + i, least(kLanes, count - i), group, x + i * kGroup, kGroup);
    }
  }

 private:
  // A group of kLanes rows at most, which lie `stride` apart.
  void quantize(int64 firstRow, int64 count, int64 group, const float* x, int64 stride) {
    constexpr int parts = kGroup / kLanes;
    Ints most[kLanes] = {};
    for (int64 row = 0; row < count; row++) {
      for (int i = 0; i < parts; i++) {
        // As integers the sizes of floats are in the same order, and NaN is above all of them.
        Ints size = loadBits<Ints>(x + row * stride + i * kLanes) & 0x7fffffff;
        most[row] = __builtin_elementwise_max(most[row], size);
      }
    }
    Floats largest = (Floats)mostOfEach(most);
    // What is not finite has no sign any more: the whole group is to be NaN.
    Floats finite = largest < __builtin_inff() ? largest : splat(__builtin_nanf(""));
    storeBits(scales + at(firstRow, group), finite / kLargest);
    float inverses[kLanes];
    storeBits(inverses, largest > 1e-35f ? kLargest / largest : Floats{});
    uint8* to = bytes + at(firstRow, group) * kGroup;
    for (int64 row = 0; row < count; row++, to += kGroup) {
      for (int i = 0; i < parts; i++) {
        // Added to so large a number, a quotient is rounded to an integer, in the lowest bits.
        constexpr float kIntegers = 3 << 22;
        Floats quotients = loadBits<Floats>(x + row * stride + i * kLanes);
        Ints rounded = (Ints)multiplyAdd(quotients, splat(inverses[row]), splat(kIntegers + kZero));
        storeBits(to + i * kLanes, __builtin_convertvector(rounded, LaneBytes));
      }
    }
  }

  // The largest of each row, in the order of rows: half of what is left is compared with the other half.
  static Ints mostOfEach(Ints (&rows)[kLanes]) {
    for (int half = kLanes / 2; half > 0; half /= 2) {
      for (int i = 0; i < half; i++) {
        rows[i] = __builtin_elementwise_max(zip<0, kLanes>(rows[i], rows[i + half]),
                                            zip<kLanes / 2, kLanes>(rows[i], rows[i + half]));
      }
    }
    return rows[0];
  }
};

// Prefetches into the caches from the given level of locality on: 3 is all, 2 all but the first.
template <int kLocality>
inline void prefetch(const void* from, int64 bytes) {
  for (int64 at = 0; at < bytes; at += 64) __builtin_prefetch((const uint8*)from + at, 0, kLocality);
}

typedef float PanelSums[kBlockRows][kPanelColumns];

// Where the products of rows and a panel of columns go: out [rows, columns] = products + bias + residual.
template <class T>
struct ResultRows {
  using Stored = typename T::Stored;

  Stored* out;
  const Stored* bias;      // or null
  const Stored* residual;  // or null
  int64 columns;

  void ahead(int64 row, int64 column) const {
    int64 place = row * columns + column;
    prefetch<3>(out + place, kPanelColumns * sizeof(Stored));
    if (residual) prefetch<3>(residual + place, kPanelColumns * sizeof(Stored));
  }

  void take(const PanelSums (&sums)[1], int64 firstRow, int64 count, int64 column) {
    for (int64 row = 0; row < count; row++) {
      int64 place = (firstRow + row) * columns + column;
      forEach<T>(least(kPanelColumns, columns - column), [&](int64 at, auto access) {
        Floats sum = loadBits<Floats>(&sums[0][row][at]);
        if (bias) sum += access.load(bias + column + at);
        if (residual) sum += access.load(residual + place + at);
        access.store(out + place + at, sum);
      });
    }
  }
};

// Or the gate of SwiGLU over two products, packed for the next product.
template <class P>
struct GatedRows {
  P packed;
  float group[kBlockRows][kGroup];

  explicit GatedRows(const P& packed) : packed(packed) {}

  void ahead(int64, int64) const {}

  // A group at a time is packed. Columns that there are not have products of zero.
  void take(const PanelSums (&sums)[2], int64 firstRow, int64 count, int64 column) {
    int64 begin = column % kGroup, end = begin + kPanelColumns;
    bool last = column + kPanelColumns >= packed.width;
    for (int64 row = 0; row < count; row++) {
      for (int64 at = 0; at < kPanelColumns; at += kLanes) {
        Floats open = loadBits<Floats>(&sums[0][row][at]);
        storeBits(&group[row][begin + at], gated(open, loadBits<Floats>(&sums[1][row][at])));
      }
      for (int64 at = end; last && at < kGroup; at += kLanes) storeBits(&group[row][at], Floats{});
    }
    if (last || end == kGroup) packed.put(firstRow, count, column / kGroup, group[0]);
  }
};

// sums = `rows` rows, from firstRow on, · a panel. Calls ahead(group) before each group.
template <class B, class Ahead>
inline void multiplyPanel(const Activations& activations, int64 firstRow, int64 rows, const Matrix<B>& matrix,
                          int64 panel, PanelSums& sums, Ahead ahead) {
  for (int64 row = 0; row < rows; row++) {
    for (int vector = 0; vector < kPanelVectors; vector++) storeBits(&sums[row][vector * kLanes], Floats{});
  }
  for (int64 group = 0; group < matrix.groups; group++) {
    ahead(group);
    int64 place = matrix.at(panel * kPanelColumns, group);
    const uint8* bytes = activations.bytes + activations.at(firstRow, group) * kGroup;
    const float* rowScales = activations.scales + activations.at(firstRow, group);
    Ints part[kBlockRows][kPanelVectors];
    Words quads[kPanelVectors][kHeldQuads];
    Ints first[kPanelVectors];
    Floats scales[kPanelVectors];
    const uint32* stored = matrix.quads + place * B::kStored;
    for (int vector = 0; vector < kPanelVectors; vector++) {
      B::load(stored + vector * kLanes, quads[vector]);
      first[vector] =
          __builtin_convertvector(loadBits<LaneShorts>(matrix.sums + place + vector * kLanes), Ints) * -kZero;
      scales[vector] = loadBits<Floats>(matrix.scales + place + vector * kLanes);
    }
    if constexpr (kHeldQuads < kQuads) {
      for (int64 row = 0; row < rows; row++) {
        for (int vector = 0; vector < kPanelVectors; vector++) {
          part[row][vector] = products<B::kNarrow>(bytes + row * kGroup, quads[vector], first[vector]);
        }
      }
      for (int vector = 0; vector < kPanelVectors; vector++) {
        B::load(stored + kPanelColumns * B::kStored / 2 + vector * kLanes, quads[vector]);
      }
      bytes += kGroup / 2;
    }
    // Where it begins within a line of code costs up to a twentieth.
    [[clang::code_align(64)]] for (int64 row = 0; row < rows; row++) {
      Floats rowScale = splat(rowScales[row]);
      for (int vector = 0; vector < kPanelVectors; vector++) {
        Ints sum = products<B::kNarrow>(bytes + row * kGroup, quads[vector],
                                        kHeldQuads < kQuads ? part[row][vector] : first[vector]);
        float* to = &sums[row][vector * kLanes];
        storeBits(to, multiplyAdd(__builtin_convertvector(sum, Floats), rowScale * scales[vector], loadBits<Floats>(to)));
      }
    }
  }
}

// Gives `to` the products of rows with each of N matrices of one shape, the panels from panelBegin to before panelEnd.
template <class B, int N, class To>
void multiply(const Activations& activations, const Matrix<B> (&matrices)[N], uint32*, int64 panelBegin, int64 panelEnd,
              To to) {
  for (int64 firstRow = 0; firstRow < activations.rows; firstRow += kBlockRows) {
    int64 rows = least(kBlockRows, activations.rows - firstRow);
    for (int64 panel = panelBegin; panel < panelEnd; panel++) {
      int64 column = panel * kPanelColumns;
      alignas(64) PanelSums sums[N];
      for (int i = 0; i < N; i++) {
        const Matrix<B>& matrix = matrices[i];
        multiplyPanel(activations, firstRow, rows, matrix, panel, sums[i], [&](int64 group) {
          // The next weights, for which few rows would wait, and the place of results.
          if (panel + 1 < panelEnd) {
            int64 next = matrix.at(column + kPanelColumns, group);
            prefetch<3>(matrix.quads + next * B::kStored, kPanelColumns * B::kStored * 4);
            prefetch<3>(matrix.scales + next, kPanelColumns * 4);
            prefetch<3>(matrix.sums + next, kPanelColumns * 2);
          }
          for (int64 row = group; row < rows; row += matrix.groups) to.ahead(firstRow + row, column);
        });
      }
      to.take(sums, firstRow, rows, column);
    }
  }
}

#if defined(__AVX512BF16__)
static_assert(kBlockRows == 2 * kTile);
constexpr int64 kPanelPairs = kPanelColumns * kGroup / 2;  // words of a group of a panel

// Rows of activations in bfloat16, as tiles: blocks of kTile rows, each by groups; the last ones are filled up with zeros.
struct TileRows {
  using Type = BFloat16;
  template <class Body>
  static auto withForm(int32 bits, Body body) {
    return ::withForm(bits, body);
  }

  int64 rows;
  int64 width;
  int64 groups;
  uint16* tiles;  // [blocks][groups][kTile][kGroup]
  int64 end;

  static_assert(kGroup == kTileInner && kPanelColumns == 2 * kTile);

  TileRows(int64 memory, int64 rows, int64 width) : rows(rows), width(width), groups(roundUp(width, kGroup) / kGroup) {
    Scratch scratch{memory};
    tiles = scratch.take<uint16>(roundUp(rows, kTile) * groups * kGroup);
    end = scratch.end;
  }

  // x: [rows, width].
  void pack(const uint16* x) {
    typedef uint16 Row __attribute__((vector_size(kGroup * 2)));
    for (int64 row = 0; row < roundUp(rows, kTile); row++) {
      for (int64 group = 0; group < groups; group++) {
        int64 begin = group * kGroup;
        storeBits(at(row, group), row < rows ? loadBits<Row>(x + row * width + begin, width - begin) : Row{});
      }
    }
  }

  // A group of the rows of a block: x is [count, kGroup].
  void put(int64 firstRow, int64 count, int64 group, const float* x) {
    for (int64 row = 0; row < roundUp(count, kTile); row++) {
      for (int64 i = 0; i < kGroup; i += kLanes) {
        BFloat16::store(at(firstRow + row, group) + i, row < count ? loadBits<Floats>(x + row * kGroup + i) : Floats{});
      }
    }
  }

 private:
  uint16* at(int64 row, int64 group) const {
    return tiles + (row / kTile * groups + group) * kTile * kGroup + row % kTile * kGroup;
  }
};

// weights: [columns, width].
template <class T>
void packPairs(const typename T::Stored* weights, const Matrix<Sixteen>& matrix) {
  uint32* to = matrix.quads;
  for (int64 panel = 0; panel < matrix.panels; panel++) {
    for (int64 begin = 0; begin < matrix.groups * kGroup; begin += kGroup, to += kPanelPairs) {
      for (int64 vector = 0; vector < kPanelVectors; vector++) {
        Words pairs[kTile] = {};
        for (int64 i = 0; i < kTile; i++) {
          int64 column = panel * kPanelColumns + vector * kTile + i;
          if (column >= matrix.columns) break;
          const typename T::Stored* from = weights + column * matrix.width + begin;
          int64 count = least(kGroup, matrix.width - begin);
          if constexpr (sizeof(*from) == sizeof(uint16)) {
            pairs[i] = loadBits<Words>(from, count);
          } else {
            uint16 rounded[kGroup] = {};
            forEach<T>(count, [&](int64 at, auto access) {
              access.template as<BFloat16>().store(rounded + at, access.load(from + at));
            });
            pairs[i] = loadBits<Words>(rounded);
          }
        }
        transpose(pairs);
        for (int64 i = 0; i < kTile; i++) storeBits(to + i * kPanelColumns + vector * kTile, pairs[i]);
      }
    }
  }
}

// A group of a panel in bfloat16, as Matrix<Sixteen> has it.
template <class B>
inline void expandGroup(const uint32* stored, const float* scales, uint32* pairs) {
  for (int vector = 0; vector < kPanelVectors; vector++) {
    Floats scale = loadBits<Floats>(scales + vector * kLanes);
    Words quads[kHeldQuads];
    B::load(stored + vector * kLanes, quads);
    for (int quad = 0; quad < kQuads; quad++) {
      Floats weights[4];
      for (int i = 0; i < 4; i++) {
        weights[i] = __builtin_convertvector((Ints)(quads[quad] << (24 - 8 * i)) >> 24, Floats) * scale;
      }
      uint32* to = pairs + 2 * quad * kPanelColumns + vector * kLanes;
      storeBits(to, inTurn(weights[0], weights[1]));
      storeBits(to + kPanelColumns, inTurn(weights[2], weights[3]));
    }
  }
}

// sums [R · kTile, kPanelColumns] = rows, from the block `left` on, · a panel.
template <int R>
TILES inline void multiplyPanel(const uint16* left, int64 blockStride, const uint32* panel, int64 groups, float* sums) {
  constexpr int64 kStride = kPanelColumns * 4;
  _tile_zero(0);
  _tile_zero(1);
  if constexpr (R == 2) {
    _tile_zero(2);
    _tile_zero(3);
  }
  for (int64 group = 0; group < groups; group++, left += kTile * kGroup, panel += kPanelPairs) {
    _tile_loadd(4, left, kGroup * 2);
    _tile_loadd(6, panel, kStride);
    _tile_dpbf16ps(0, 4, 6);
    _tile_loadd(7, panel + kTile, kStride);
    _tile_dpbf16ps(1, 4, 7);
    if constexpr (R == 2) {
      _tile_loadd(5, left + blockStride, kGroup * 2);
      _tile_dpbf16ps(2, 5, 6);
      _tile_dpbf16ps(3, 5, 7);
    }
  }
  _tile_stored(0, sums, kStride);
  _tile_stored(1, sums + kTile, kStride);
  if constexpr (R == 2) {
    _tile_stored(2, sums + kTile * kPanelColumns, kStride);
    _tile_stored(3, sums + kTile * kPanelColumns + kTile, kStride);
  }
}

// Cache blocking: each block of rows is multiplied by all panels before the next block; within it, a few panels at a time meet
// all of its rows. Every block of rows expands the panels again.
constexpr int64 kMostPanels = 8;
constexpr int64 kCachedPanelElements = 1 << 18;
constexpr int64 kCachedRowElements = 3 << 18;

inline int64 panelsAtOnce(int64 rows, int64 width) {
  int64 panels = rows <= 2 * kTile ? 1 : kCachedPanelElements / (kPanelColumns * width);
  return panels < 1 ? 1 : least(panels, kMostPanels);
}

inline int64 rowsAtOnce(int64 rows, int64 width) {
  int64 blocks = rows * width / kCachedRowElements + 1;
  return roundUp((rows + blocks - 1) / blocks, 2 * kTile);
}

// Memory for expanded panels of a matrix.
template <class B>
int64 expandedBytes(int64 rows, int64 width) {
  if (!B::kScaled) return 0;
  return panelsAtOnce(rows, width) * (roundUp(width, kGroup) / kGroup) * kPanelPairs * 4;
}

// Returns the panels from begin to before end in bfloat16.
template <class B>
const uint32* expandPanels(const Matrix<B>& matrix, int64 begin, int64 end, uint32* expanded) {
  if constexpr (!B::kScaled) {
    return matrix.quads + begin * matrix.groups * kPanelPairs;
  } else {
    uint32* to = expanded;
    for (int64 at = begin * matrix.groups; at < end * matrix.groups; at++, to += kPanelPairs) {
      expandGroup<B>(matrix.quads + at * kPanelColumns * B::kStored, matrix.scales + at * kPanelColumns, to);
    }
    return expanded;
  }
}

template <class B>
inline void prefetchPanel(const Matrix<B>& matrix, int64 panel) {
  int64 count = matrix.groups * kPanelColumns;
  prefetch<2>(matrix.quads + panel * count * B::kStored, count * B::kStored * 4);
  if (B::kScaled) prefetch<2>(matrix.scales + panel * count, count * 4);
}

// The products of `count` rows, from `row` on, and a panel.
inline void multiplyPanel(const TileRows& activations, int64 row, int64 count, const uint32* panel, PanelSums& sums) {
  int64 block = activations.groups * kTile * kGroup;
  const uint16* left = activations.tiles + row / kTile * block;
  if (count > kTile) {
    multiplyPanel<2>(left, block, panel, activations.groups, sums[0]);
  } else {
    multiplyPanel<1>(left, block, panel, activations.groups, sums[0]);
  }
}

// As above, in bfloat16. `expanded` is memory for panels of N matrices.
template <class B, int N, class To>
void multiply(const TileRows& activations, const Matrix<B> (&matrices)[N], uint32* expanded, int64 panelBegin,
              int64 panelEnd, To to) {
  ShapedTiles shaped;
  const Matrix<B>& first = matrices[0];
  const int64 panelWords = first.groups * kPanelPairs;
  const int64 rowStep = rowsAtOnce(activations.rows, first.width);
  const int64 panelStep = panelsAtOnce(activations.rows, first.width);
  for (int64 rowBegin = 0; rowBegin < activations.rows; rowBegin += rowStep) {
    int64 rowEnd = least(rowBegin + rowStep, activations.rows);
    for (int64 begin = panelBegin; begin < panelEnd; begin += panelStep) {
      int64 end = least(begin + panelStep, panelEnd);
      const uint32* panels[N];
      for (int i = 0; i < N; i++) {
        panels[i] = expandPanels(matrices[i], begin, end, B::kScaled ? expanded + i * panelStep * panelWords : nullptr);
      }
      for (int i = 0; i < N && activations.rows <= 2 * kTile && end < panelEnd; i++) prefetchPanel(matrices[i], end);
      for (int64 row = rowBegin; row < rowEnd; row += 2 * kTile) {
        int64 count = least(2 * kTile, rowEnd - row);
        for (int64 panel = begin; panel < end; panel++) {
          alignas(64) PanelSums sums[N];
          for (int i = 0; i < N; i++) {
            multiplyPanel(activations, row, count, panels[i] + (panel - begin) * panelWords, sums[i]);
          }
          to.take(sums, row, count, panel * kPanelColumns);
        }
      }
    }
  }
}
#endif

// Calls body with memory for packed rows of a type.
template <class Body>
inline auto withPacked([[maybe_unused]] int32 type, int64 memory, int64 rows, int64 width, Body body) {
#if defined(__AVX512BF16__)
  if (type) return body(TileRows(memory, rows, width));
#endif
  return body(Activations(memory, rows, width));
}

// Multiplies packed rows of a type by N matrices, the columns from begin to before end, whole groups of them; to(rows) says where
// the products go.
template <int N, class To>
void multiplyPacked(int32 type, int32 bits, int64 activations, int64 rows, const int64 (&memory)[N], int64 columns,
                    int64 width, int64 scratch, int64 begin, int64 end, To to) {
  withPacked(type, activations, rows, width, [&](auto packed) {
    decltype(packed)::withForm(bits, [&](auto b) {
      Matrix<decltype(b)> matrices[N];
      for (int i = 0; i < N; i++) matrices[i] = {memory[i], columns, width};
      auto panel = [&](int64 column) {
        int64 groups = roundUp(columns, kGroup) / kGroup;
        return least(groups * column / columns * (kGroup / kPanelColumns), matrices[0].panels);
      };
      multiply(packed, matrices, (uint32*)scratch, panel(begin), panel(end), to(packed));
    });
  });
}

}  // namespace

EXPORT int64 NAME(matrixBytes)(void*, void*, int32 bits, int64 columns, int64 width) {
  return withForm(bits, [&](auto b) { return Matrix<decltype(b)>(0, columns, width).end; });
}

EXPORT void NAME(packWeights)(void*, void*, int32 type, int32 bits, int64 weights, int64 columns, int64 width,
                              int64 matrix) {
  withType(type, [&](auto t) {
    using T = decltype(t);
    auto from = (const typename T::Stored*)weights;
#if defined(__AVX512BF16__)
    if (bits == 16) return packPairs<T>(from, Matrix<Sixteen>(matrix, columns, width));
#else
    (void)bits;
#endif
    packWeights<T>(from, Matrix<Eight>(matrix, columns, width));
  });
}

EXPORT void NAME(packIntegers)(void*, void*, int32 bits, int64 integers, int64 scales, int64 scaled, int64 columns,
                               int64 width, int64 matrix) {
  withBits(bits, [&](auto b) {
    packIntegers((const uint8*)integers, (const float*)scales, scaled, Matrix<decltype(b)>(matrix, columns, width));
  });
}

EXPORT void NAME(dequantize)(void*, void*, int32 type, int32 bits, int64 integers, int64 scales, int64 scaled,
                             int64 out, int64 count) {
  withType(type, [&](auto t) {
    using T = decltype(t);
    withBits(bits, [&](auto b) {
      dequantize<T, decltype(b)>((const uint8*)integers, (const float*)scales, scaled, (typename T::Stored*)out, count);
    });
  });
}

EXPORT int64 NAME(activationBytes)(void*, void*, int32 type, int64 rows, int64 width) {
  return withPacked(type, 0, rows, width, [](auto packed) { return packed.end; });
}

EXPORT void NAME(packRows)(void*, void*, int32 type, int64 x, int64 rows, int64 width, int64 activations) {
  withPacked(type, activations, rows, width, [&](auto packed) {
    packed.pack((const typename decltype(packed)::Type::Stored*)x);
  });
}

EXPORT int64 NAME(multiplyScratch)(void*, void*, int32 type, int32 bits, int64 rows, int64 width) {
#if defined(__AVX512BF16__)
  if (type) return withForm(bits, [&](auto b) { return expandedBytes<decltype(b)>(rows, width); });
#else
  (void)type, (void)bits, (void)rows, (void)width;
#endif
  return 0;
}

EXPORT void NAME(multiply)(void*, void*, int32 type, int32 bits, int64 activations, int64 rows, int64 matrix,
                           int64 columns, int64 width, int64 bias, int64 residual, int64 out, int64 scratch,
                           int64 begin, int64 end) {
  multiplyPacked<1>(type, bits, activations, rows, {matrix}, columns, width, scratch, begin, end, [&](auto packed) {
    using T = typename decltype(packed)::Type;
    using Stored = typename T::Stored;
    return ResultRows<T>{(Stored*)out, (const Stored*)bias, (const Stored*)residual, columns};
  });
}

EXPORT void NAME(multiplyGated)(void*, void*, int32 type, int32 bits, int64 activations, int64 rows, int64 openMatrix,
                                int64 upMatrix, int64 columns, int64 width, int64 gatedRows, int64 scratch,
                                int64 begin, int64 end) {
  multiplyPacked<2>(type, bits, activations, rows, {openMatrix, upMatrix}, columns, width, scratch, begin, end,
                    [&](auto packed) { return GatedRows(decltype(packed)(gatedRows, rows, columns)); });
}
