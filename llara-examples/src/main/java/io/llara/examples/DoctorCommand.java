package io.llara.examples;

import io.llara.ComputeType;
import io.llara.LlaraException;
import io.llara.kernels.FusedKernels;
import io.llara.tensor.Cpu;
import io.llara.tensor.Memory;
import java.io.IOException;
import java.util.Locale;
import java.util.concurrent.Callable;
import org.bytedeco.javacpp.Loader;
import org.bytedeco.javacpp.Pointer;
import picocli.CommandLine.Command;

/** What a bug report needs: versions, processor, threads, memory, devices, native libraries. */
@Command(
    name = "doctor",
    description = {
      "Shows versions, platform, threads, memory limits, devices and native libraries.",
      "",
      "The exit code is 1 if a native library cannot be loaded.",
      ""
    })
final class DoctorCommand implements Callable<Integer> {
  private final Streams streams;

  DoctorCommand(Streams streams) {
    this.streams = streams;
  }

  @Override
  public Integer call() throws IOException {
    try (Results results = new Results(streams.out())) {
      show(results, "llara", Llara.Version.number());
      show(
          results,
          "Java",
          "%s, %s %s"
              .formatted(
                  Runtime.version(),
                  System.getProperty("java.vm.vendor"),
                  System.getProperty("java.vm.name")));
      show(results, "JavaCPP", Loader.getVersion());
      show(results, "libtorch", Loader.getVersion("org.bytedeco", "pytorch") + " (presets)");
      show(results, "OpenBLAS", Loader.getVersion("org.bytedeco", "openblas") + " (presets)");
      show(results, "tokenizers", Natives.tokenizersVersion() + " (Hugging Face, DJL)");
      platform(results);
      memory(results);
      try {
        loaded(results);
      } catch (LlaraException e) {
        show(results, "FAILED", e.getMessage());
        return Llara.CHECK_FAILED;
      }
      return Llara.OK;
    }
  }

  private static void platform(Results results) {
    show(
        results,
        "platform",
        "%s, %s %s"
            .formatted(
                Loader.getPlatform(),
                System.getProperty("os.name"),
                System.getProperty("os.version")));
    show(
        results,
        "CPU features",
        Cpu.features().isEmpty() ? "not reported by the system" : String.join(" ", Cpu.features()));
    ComputeType auto = Cpu.resolve(ComputeType.AUTO);
    show(
        results,
        "compute type",
        "auto is %s; bfloat16 is %s"
            .formatted(
                auto.name().toLowerCase(Locale.ROOT),
                Cpu.multipliesBfloat16() ? "multiplied natively" : "emulated, which is slow"));
    int processors = Runtime.getRuntime().availableProcessors();
    show(
        results,
        "lanes",
        "%d by default, of one thread each; %d processors".formatted(processors, processors));
  }

  private static void memory(Results results) {
    show(results, "Java heap", "at most " + size(Runtime.getRuntime().maxMemory()));
    show(results, "memory", size(Memory.physicalBytes()) + " in this machine or container");
  }

  private static void loaded(Results results) throws IOException {
    Natives natives = Natives.load();
    show(results, "JavaCPP memory", limit(Pointer.maxBytes()));
    show(results, "process memory", limit(Pointer.maxPhysicalBytes()));
    show(results, "oneDNN", natives.onednn());
    show(results, "CPU kernels", natives.cpuCapability());
    show(
        results,
        "fused kernels",
        FusedKernels.instructions().orElse("none for this machine; libtorch does their work"));
    show(results, "devices", natives.devices());
    for (Natives.Library library : natives.libraries()) {
      show(results, "library", "%10s  %s".formatted(size(library.bytes()), library.path()));
    }
  }

  private static void show(Results results, String key, String value) {
    results.line("%-15s %s".formatted(key, value));
  }

  private static String limit(long bytes) {
    return bytes <= 0 ? "no limit" : "at most " + size(bytes);
  }

  private static String size(long bytes) {
    return bytes >= 1L << 30
        ? String.format(Locale.ROOT, "%.1f GiB", bytes / (double) (1L << 30))
        : String.format(Locale.ROOT, "%.1f MiB", bytes / (double) (1L << 20));
  }
}
