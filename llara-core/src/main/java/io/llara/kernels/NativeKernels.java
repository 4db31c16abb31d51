package io.llara.kernels;

import com.google.common.collect.ImmutableSet;
import io.llara.LlaraException;
import io.llara.tensor.Cpu;
import java.io.IOException;
import java.net.URL;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.Set;
import org.bytedeco.javacpp.Loader;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Binds {@code src/main/cpp/kernels.cpp}, which the build compiles for Linux on x86, once for each
 * level of instructions, and for macOS on Arm. One is loaded: the highest that this processor has.
 *
 * <p>Methods take addresses of contiguous rows and check nothing: that is the task of {@link
 * FusedKernels}. Types are {@value #FLOAT32} and {@value #BFLOAT16}; all rows of a call are of one
 * type.
 */
final class NativeKernels {
  static final int FLOAT32 = 0;
  static final int BFLOAT16 = 1;

  /** Float32 that attention, which alone knows it, multiplies as bfloat16 where that is native. */
  static final int ROUNDED_FLOAT32 = 2;

  /** Names a level that is not to be exceeded, or {@value #NONE}. */
  static final String PROPERTY = "io.llara.kernels";

  private static final String NONE = "libtorch";
  private static final Logger LOG = LoggerFactory.getLogger(NativeKernels.class);

  /** What a library was compiled for, highest first, with what it needs in /proc/cpuinfo. */
  enum Level {
    /** The library of AVX512_BF16, which uses the matrix unit in bfloat16. */
    AMX("amx_bf16", "avx512_bf16", "avx512_vnni", "avx512f", "avx512bw", "avx512dq", "avx512vl"),
    AVX512_BF16("avx512_bf16", "avx512_vnni", "avx512f", "avx512bw", "avx512dq", "avx512vl"),
    AVX512_VNNI("avx512_vnni", "avx512f", "avx512bw", "avx512dq", "avx512vl"),
    AVX512("avx512f", "avx512bw", "avx512dq", "avx512vl"),
    AVX_VNNI("avx_vnni"),
    AVX2(),
    /**
     * Tested in an emulator of Linux on Arm alone, for whose real machines there is no libtorch
     * here: used where it is asked for.
     */
    NEON(ImmutableSet.of("asimd", "asimddp"));

    private final Set<String> features;

    /** Levels of x86, all of which need AVX2 and FMA as well. */
    Level(String... features) {
      this(ImmutableSet.<String>builder().add("avx2", "fma").add(features).build());
    }

    Level(Set<String> features) {
      this.features = features;
    }

    boolean runsHere() {
      return missing().isEmpty();
    }

    /** Returns what this processor lacks. */
    List<String> missing() {
      return features.stream().filter(feature -> !Cpu.features().contains(feature)).toList();
    }

    String resource() {
      String library = "llara-" + (this == AMX ? AVX512_BF16 : this);
      return Loader.getPlatform() + "/" + System.mapLibraryName(library);
    }

    @Override
    public String toString() {
      return name().toLowerCase(Locale.ROOT);
    }
  }

  private static boolean tried;
  private static Optional<Level> loaded = Optional.empty();

  private NativeKernels() {}

  /**
   * Loads the library if it is not loaded yet and returns its level; empty where there is none for
   * this machine. Cheap after the first call.
   *
   * @throws IllegalArgumentException if the property {@value #PROPERTY} names no level
   */
  static synchronized Optional<Level> load() {
    if (!tried) {
      loaded = highest(System.getProperty(PROPERTY)).flatMap(NativeKernels::load);
      tried = true;
    }
    return loaded;
  }

  /**
   * Returns the highest level that runs here and does not exceed a limit.
   *
   * @param limit the name of a level; null if there is no limit
   */
  static Optional<Level> highest(@Nullable String limit) {
    if (NONE.equals(limit)) {
      return Optional.empty();
    }
    List<Level> levels = List.of(Level.values());
    if (limit == null) {
      levels = levels.subList(0, Level.NEON.ordinal());
    } else {
      List<String> names = levels.stream().map(Level::toString).toList();
      int first = names.indexOf(limit);
      if (first < 0) {
        throw new IllegalArgumentException(
            "%s is %s; expected one of %s, %s"
                .formatted(PROPERTY, limit, NONE, String.join(", ", names)));
      }
      levels = levels.subList(first, levels.size());
    }
    return levels.stream().filter(Level::runsHere).findFirst();
  }

  /** Says why a level that is not loaded is not. */
  static String whyNot(Level level) {
    if (!level.runsHere()) {
      return "the processor lacks " + String.join(" ", level.missing());
    }
    String limit = System.getProperty(PROPERTY);
    if (limit == null && level == Level.NEON) {
      return "not tried on such a machine yet; -D%s=%s uses it".formatted(PROPERTY, level);
    }
    if (limit != null && highest(limit).map(top -> level.compareTo(top) < 0).orElse(true)) {
      return "-D%s=%s".formatted(PROPERTY, limit);
    }
    if (NativeKernels.class.getResource(level.resource()) == null) {
      return "not in this build";
    }
    return level == Level.AMX ? "the system does not allow it" : "its library cannot be loaded";
  }

  private static Optional<Level> load(Level level) {
    URL resource = NativeKernels.class.getResource(level.resource());
    if (resource == null) {
      LOG.debug("there is no {} in this build", level.resource());
      return Optional.empty();
    }
    try {
      LibraryResource.load(resource);
      keepFreedMemory();
      if (level == Level.AMX && enableTiles(1) == 0) {
        LOG.warn("the system does not allow this process to use AMX; bfloat16 is slower");
        return Optional.of(Level.AVX512_BF16);
      }
      return Optional.of(level);
    } catch (IOException | LlaraException | UnsatisfiedLinkError e) {
      LOG.warn("{} cannot be loaded; libtorch's kernels do its work, slower", level.resource(), e);
      return Optional.empty();
    }
  }

  /**
   * Has glibc keep freed memory for the next operation, that of the heaps of threads too: faulting
   * it in again costs up to a tenth of a pass. Other allocators do not mind. Takes the place of
   * what {@code Libtorch} does for processes without these kernels.
   */
  private static native void keepFreedMemory();

  /**
   * Asks the system for the matrix unit, for all threads of the process.
   *
   * @param wanted 0 to do without from now on
   * @return 1 if {@link #attention} in bfloat16 uses it from now on; {@link #multiply} in bfloat16
   *     works once it was
   */
  static native int enableTiles(int wanted);

  /**
   * Root mean square norm.
   *
   * @param x {@code [rows, width]}
   * @param weight {@code [width]}
   * @param out {@code [rows, width]}
   */
  static native void rmsNorm(
      int type, long x, long weight, long out, long rows, long width, float eps);

  /**
   * Rotary embedding.
   *
   * @param x {@code [rows, heads, width]}
   * @param cos {@code [rows, width]}
   * @param sin {@code [rows, width]}, of which the second half is read
   * @param out {@code [rows, heads, width]}; may be {@code x}
   */
  static native void rotary(
      int type, long x, long cos, long sin, long out, long rows, long heads, long width);

  /**
   * The gate of SwiGLU, {@code silu(open) · up}.
   *
   * @param open {@code [count]}
   * @param up {@code [count]}
   * @param out {@code [count]}; may be {@code open}
   */
  static native void gate(int type, long open, long up, long out, long count);

  /**
   * Returns how many bytes of memory attention needs beside its arguments, at addresses that are
   * multiples of 64.
   *
   * @param keys the most keys that a span has
   */
  static native long attentionScratch(int type, long keys, long width);

  /**
   * Attention over spans, by ascending query rows, for the key heads from {@code kvBegin} to before
   * {@code kvEnd} and the queries that read them; rows in none of the spans become zero.
   *
   * @param q {@code [rows, heads, width]}; the width is even
   * @param k {@code [keys, kvHeads, width]}
   * @param v {@code [keys, kvHeads, width]}
   * @param out {@code [rows, heads, width]}
   * @param normalisers what the gradient needs, float32, {@code [2, heads, rows]}; 0 if nothing is
   *     to be kept. A share of a score is {@code exp(scale · score + first) · second}
   * @param spans int64, for each span: first query row, end of its query rows, 1 if it is causal,
   *     number of its keys, number of its key ranges, and begin and end of each of these
   * @param scratch {@link #attentionScratch} bytes
   */
  static native void attention(
      int type,
      long q,
      long k,
      long v,
      long out,
      long normalisers,
      long rows,
      long heads,
      long kvHeads,
      long kvBegin,
      long kvEnd,
      long width,
      long spans,
      long spanCount,
      long scratch,
      float scale);

  /**
   * The gradients of {@link #rmsNorm}.
   *
   * @param outGradient {@code [rows, width]}
   * @param gradient takes that of {@code x}, {@code [rows, width]}
   * @param weightGradient that of the weight is added to it, float32, {@code [width]}; 0 if it is
   *     not wanted
   */
  static native void rmsNormBackward(
      int type,
      long x,
      long weight,
      long outGradient,
      long gradient,
      long weightGradient,
      long rows,
      long width,
      float eps);

  /** The gradients of {@link #gate}, all {@code [count]}. */
  static native void gateBackward(
      int type,
      long open,
      long up,
      long outGradient,
      long openGradient,
      long upGradient,
      long count);

  /** As {@link #attentionScratch}, for {@link #attentionBackward}. */
  static native long attentionBackwardScratch(int type, long keys, long width);

  /**
   * The gradients of {@link #attention}; arguments that are named as there are those of that call.
   *
   * @param outGradient {@code [rows, heads, width]}
   * @param queryGradient takes that of the queries, {@code [rows, heads, width]}
   * @param keyGradient that of the keys is added to it, float32, {@code [keys, kvHeads, width]}
   * @param valueGradient that of the values is added to it, likewise
   * @param scratch {@link #attentionBackwardScratch} bytes
   */
  static native void attentionBackward(
      int type,
      long q,
      long k,
      long v,
      long out,
      long outGradient,
      long normalisers,
      long queryGradient,
      long keyGradient,
      long valueGradient,
      long rows,
      long heads,
      long kvHeads,
      long width,
      long spans,
      long spanCount,
      long scratch,
      float scale);

  /**
   * Returns the bytes of a matrix that is packed for {@link #multiply}, at addresses that are
   * multiples of 64.
   *
   * @param bits of a weight: 4, 8, or 16 for bfloat16
   * @param columns of a product, {@code out}
   * @param width of the rows that are multiplied, {@code in}
   */
  static native long matrixBytes(int bits, long columns, long width);

  /**
   * Packs a matrix, rounded to bfloat16 or to eight bits by groups of {@value
   * NativeProjection#GROUP}.
   *
   * @param bits 8 or 16
   * @param weights {@code [columns, width]}
   * @param matrix takes {@link #matrixBytes}
   */
  static native void packWeights(
      int type, int bits, long weights, long columns, long width, long matrix);

  /**
   * Packs a matrix that is quantised. Where the processor has no instruction for eight bits, groups
   * of eight bits that it could not multiply exactly are rounded again.
   *
   * @param integers int8, {@code [columns, width]}, or four bits each plus eight, the first in the
   *     lower half of a byte
   * @param scales float32, {@code [columns, width / scaled]}
   * @param scaled how many weights share a scale: whole rows, or a multiple of {@value
   *     NativeProjection#GROUP}
   */
  static native void packIntegers(
      int bits, long integers, long scales, long scaled, long columns, long width, long matrix);

  /**
   * Computes what integers stand for, rounded once.
   *
   * @param integers as in {@link #packIntegers}
   * @param scales float32, {@code [count / scaled]}
   * @param scaled a multiple of {@value NativeProjection#GROUP}
   * @param out {@code [count]}
   */
  static native void dequantize(
      int type, int bits, long integers, long scales, long scaled, long out, long count);

  /** Returns the bytes that packed rows take, at addresses that are multiples of 64. */
  static native long activationBytes(int type, long rows, long width);

  /**
   * Packs rows: those of float32 are rounded to eight bits, by groups, whose scale is NaN if one
   * value is not finite; those of bfloat16 are kept, for tiles.
   *
   * @param x {@code [rows, width]}
   * @param activations takes {@link #activationBytes}
   */
  static native void packRows(int type, long x, long rows, long width, long activations);

  /**
   * Returns how many bytes of memory each thread needs beside the arguments of {@link #multiply},
   * at addresses that are multiples of 64.
   */
  static native long multiplyScratch(int type, int bits, long rows, long width);

  /**
   * Computes columns of {@code activations · matrixᵀ + bias + residual}. The range is rounded to
   * whole groups of {@value NativeProjection#GROUP} columns, such that adjoining ranges compute
   * every column once.
   *
   * @param type of rows, bias, residual and result; bfloat16 with the matrix unit alone
   * @param bits of the matrix; not 16 for float32
   * @param activations of {@link #packRows}
   * @param matrix of {@link #packWeights} or {@link #packIntegers}
   * @param bias {@code [columns]}, or 0
   * @param residual {@code [rows, columns]}, or 0
   * @param out {@code [rows, columns]}
   * @param scratch {@link #multiplyScratch} bytes
   */
  static native void multiply(
      int type,
      int bits,
      long activations,
      long rows,
      long matrix,
      long columns,
      long width,
      long bias,
      long residual,
      long out,
      long scratch,
      long begin,
      long end);

  /**
   * As {@link #multiply} by two matrices of one shape, and of their products {@link #gate}, in
   * float32, {@linkplain #packRows packed} for the next product.
   *
   * @param gatedRows takes {@link #activationBytes} for rows of {@code columns}
   * @param scratch twice {@link #multiplyScratch} bytes
   */
  static native void multiplyGated(
      int type,
      int bits,
      long activations,
      long rows,
      long openMatrix,
      long upMatrix,
      long columns,
      long width,
      long gatedRows,
      long scratch,
      long begin,
      long end);
}
