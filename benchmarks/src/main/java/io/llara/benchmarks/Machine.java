package io.llara.benchmarks;

import io.llara.tensor.Cpu;
import io.llara.tensor.Memory;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.stream.Stream;
import org.bytedeco.javacpp.Loader;
import org.bytedeco.pytorch.global.torch;

/** The machine that results were measured on; printed above them. */
final class Machine {
  private static final Path CPU = Path.of("/proc/cpuinfo");

  private Machine() {}

  static String describe() {
    return "%s, %d cores, %d GiB, features %s; Java %s, presets %s, %s"
        .formatted(
            cpu(),
            Runtime.getRuntime().availableProcessors(),
            Memory.physicalBytes() >> 30,
            String.join(" ", Cpu.features()),
            Runtime.version().feature(),
            torch.class.getPackage().getImplementationVersion(),
            Loader.getPlatform());
  }

  static String cpu() {
    if (!Files.isReadable(CPU)) {
      return System.getProperty("os.arch");
    }
    try (Stream<String> lines = Files.lines(CPU, StandardCharsets.ISO_8859_1)) {
      return lines
          .filter(line -> line.startsWith("model name"))
          .map(line -> line.substring(line.indexOf(':') + 1).strip())
          .findFirst()
          .orElseGet(() -> System.getProperty("os.arch"));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
