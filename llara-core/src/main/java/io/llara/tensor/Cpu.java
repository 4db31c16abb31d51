package io.llara.tensor;

import com.google.common.base.Splitter;
import com.google.common.collect.ImmutableSet;
import com.google.common.collect.ImmutableSortedSet;
import io.llara.ComputeType;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Comparator;
import java.util.Locale;
import java.util.Set;
import java.util.SortedSet;
import java.util.stream.Stream;
import org.bytedeco.pytorch.global.torch.ScalarType;

/** What the processor can do, as far as it decides how this library computes. */
public final class Cpu {
  private static final Path LINUX_INFO = Path.of("/proc/cpuinfo");

  private static final Splitter WORDS = Splitter.on(' ').omitEmptyStrings();

  /** The features that matter here, by the names Linux gives them on x86 and on Arm. */
  private static final Set<String> OF_INTEREST =
      ImmutableSet.copyOf(
          WORDS.split(
              "avx2 fma avx512f avx512bw avx512dq avx512vl avx512_vnni avx512_bf16 amx_bf16 amx_int8"
                  + " avx_vnni asimd asimddp sve bf16 i8mm"));

  private static final SortedSet<String> FEATURES = read();

  private Cpu() {}

  /**
   * Returns the features found that matter here, sorted; empty where the system does not report
   * them.
   */
  public static SortedSet<String> features() {
    return FEATURES;
  }

  /**
   * Returns whether the processor multiplies bfloat16 natively; false where the system does not
   * report it.
   */
  public static boolean multipliesBfloat16() {
    return FEATURES.contains("avx512_bf16")
        || FEATURES.contains("amx_bf16")
        || FEATURES.contains("bf16");
  }

  /**
   * Returns whether the processor has a matrix unit that multiplies tiles of bfloat16 (AMX); false
   * where the system does not report it.
   */
  public static boolean multipliesTiles() {
    return FEATURES.contains("amx_bf16");
  }

  /**
   * Returns the compute type to use on this processor, for a model in a floating type: never {@code
   * AUTO}.
   *
   * @throws IllegalArgumentException if it is float16 or float8
   */
  public static ComputeType resolve(ComputeType wanted) {
    if (wanted == ComputeType.FLOAT16 || wanted == ComputeType.FLOAT8) {
      throw new IllegalArgumentException(
          "%s is for GPUs; on the processor choose float32 or bfloat16"
              .formatted(wanted.name().toLowerCase(Locale.ROOT)));
    }
    if (wanted != ComputeType.AUTO) {
      return wanted;
    }
    return multipliesBfloat16() ? ComputeType.BFLOAT16 : ComputeType.FLOAT32;
  }

  /**
   * Returns libtorch's name of the type that a compute type has between its products, {@code AUTO}
   * resolved.
   */
  public static ScalarType scalarType(ComputeType type) {
    return Tensors.scalarType(resolve(type));
  }

  private static SortedSet<String> read() {
    if (System.getProperty("os.name").startsWith("Mac")
        && System.getProperty("os.arch").equals("aarch64")) {
      return ImmutableSortedSet.of("asimd", "asimddp"); // The first of Apple's have these.
    }
    if (!Files.isReadable(LINUX_INFO)) {
      return ImmutableSortedSet.of();
    }
    try (Stream<String> lines = Files.lines(LINUX_INFO, StandardCharsets.ISO_8859_1)) {
      return lines
          .map(line -> line.toLowerCase(Locale.ROOT))
          .filter(line -> line.startsWith("flags") || line.startsWith("features"))
          .limit(1)
          .flatMap(line -> WORDS.splitToStream(line.substring(line.indexOf(':') + 1)))
          .filter(OF_INTEREST::contains)
          .collect(ImmutableSortedSet.toImmutableSortedSet(Comparator.naturalOrder()));
    } catch (IOException e) {
      return ImmutableSortedSet.of();
    }
  }
}
