package io.llara.tensor;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Map;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** The NVIDIA driver as the kernel tells of it: nothing of CUDA needs to be loaded. */
public final class NvidiaDriver {
  /** The oldest drivers with which a major version of CUDA works (CUDA's release notes, Linux). */
  private static final Map<String, String> OLDEST = Map.of("12", "525.60.13", "13", "580.65.06");

  private static final Path KERNEL = Path.of("/proc/driver/nvidia/version");
  private static final Pattern VERSION =
      Pattern.compile("(?m)^NVRM version:.*?\\s(\\d+(?:\\.\\d+)+)");

  private NvidiaDriver() {}

  /** Returns the driver's version, such as {@code 580.65.06}; empty if none is loaded. */
  public static Optional<String> version() {
    return version(KERNEL);
  }

  static Optional<String> version(Path file) {
    try {
      Matcher matcher = VERSION.matcher(Files.readString(file, StandardCharsets.UTF_8));
      return matcher.find() ? Optional.of(matcher.group(1)) : Optional.empty();
    } catch (IOException e) {
      return Optional.empty();
    }
  }

  /**
   * Says why libraries that were loaded find no device.
   *
   * @param version of the driver
   * @param cuda the version of CUDA that they were built for
   */
  static String problem(Optional<String> version, String cuda) {
    if (version.isEmpty()) {
      return "there is no NVIDIA driver: the kernel has loaded none (%s)".formatted(KERNEL);
    }
    String oldest = OLDEST.get(cuda.split("\\.", 2)[0]);
    if (oldest != null && Arrays.compare(numbers(version.get()), numbers(oldest)) < 0) {
      return "the NVIDIA driver %s is too old for CUDA %s: it needs %s or newer"
          .formatted(version.get(), cuda, oldest);
    }
    return "the NVIDIA driver %s shows no device: in a container libcuda.so.1 or the device may be missing, or CUDA_VISIBLE_DEVICES hides it"
        .formatted(version.get());
  }

  private static int[] numbers(String version) {
    return Arrays.stream(version.split("\\.")).mapToInt(Integer::parseInt).toArray();
  }
}
