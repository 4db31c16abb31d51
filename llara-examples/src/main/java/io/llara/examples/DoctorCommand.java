package io.llara.examples;

import ai.djl.util.Utils;
import io.llara.BundledModel;
import io.llara.ComputeType;
import io.llara.LlaraException;
import io.llara.ModelLoadException;
import io.llara.io.TemporaryPath;
import io.llara.kernels.Accelerator;
import io.llara.kernels.AcceleratorProvider;
import io.llara.kernels.Accelerators;
import io.llara.kernels.FusedKernels;
import io.llara.kernels.NativeProjection;
import io.llara.tensor.Cpu;
import io.llara.tensor.Libtorch;
import io.llara.tensor.Memory;
import io.llara.tensor.NvidiaDriver;
import io.llara.tokenize.Tokenizer;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Collection;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Properties;
import java.util.TreeSet;
import java.util.stream.Stream;
import org.bytedeco.javacpp.BytePointer;
import org.bytedeco.javacpp.Loader;
import org.bytedeco.javacpp.Pointer;
import org.bytedeco.pytorch.global.torch;
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
final class DoctorCommand extends Subcommand {
  @Override
  public Integer call() throws IOException {
    try (Results results = new Results(streams().out())) {
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
      show(results, "OpenBLAS", Loader.getVersion("org.bytedeco", "openblas") + " (presets)");
      show(results, "tokenizers", tokenizersVersion() + " (Hugging Face, DJL)");
      platform(results);
      memory(results);
      try {
        loaded(results);
      } catch (LlaraException e) {
        show(results, "FAILED", String.valueOf(e.getMessage()));
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
        "auto is %s%s; bfloat16 is %s"
            .formatted(
                auto.name().toLowerCase(Locale.ROOT),
                NativeProjection.preferredForIntegers()
                    ? ", int8 for models stored in integers"
                    : "",
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
    show(results, "libtorch", Libtorch.version());
    defaultModel(results);
    show(results, "JavaCPP memory", limit(Pointer.maxBytes()));
    show(results, "process memory", limit(Pointer.maxPhysicalBytes()));
    try (BytePointer onednn = torch.get_mkldnn_version();
        BytePointer capability = torch.get_cpu_capability()) {
      show(results, "oneDNN", onednn.getString().lines().findFirst().orElse("?"));
      show(results, "CPU kernels", capability.getString());
    }
    show(
        results,
        "fused kernels",
        FusedKernels.instructions().orElse("none for this machine; libtorch does their work"));
    for (String unused : FusedKernels.unused()) {
      show(results, "", "not " + unused);
    }
    show(results, "NVIDIA driver", NvidiaDriver.version().orElse("none"));
    for (String gpu : NvidiaSmi.gpus().orElse(List.of())) {
      show(results, "GPU", gpu);
    }
    show(
        results,
        "CUDA",
        Libtorch.cudaProblem()
            .map(problem -> "cannot be used: " + problem)
            .orElseGet(() -> torch.getNumGPUs() + " devices"));
    devices(results);
    for (Path library : libraries()) {
      show(results, "library", "%10s  %s".formatted(size(Files.size(library)), library));
    }
  }

  /** Shows which kernels run on devices beside the processor. */
  private static void devices(Results results) {
    Map<String, AcceleratorProvider> providers = Accelerators.providers();
    if (providers.isEmpty()) {
      show(results, "GPU kernels", "none: io.llara:llara-cuda is not on the class path");
    }
    providers.forEach(
        (kind, provider) -> {
          provider
              .problem()
              .ifPresent(why -> show(results, "GPU kernels", kind + " not in use: " + why));
          for (int i = 0; i < provider.count(); i++) {
            Accelerator device = provider.open(i);
            device.description().forEach(line -> show(results, device.name(), line));
          }
        });
  }

  /** Loads its tokenizer, so that the tokenizer's library is. */
  private static void defaultModel(Results results) throws IOException {
    BundledModel model;
    try {
      model = BundledModel.find();
    } catch (ModelLoadException e) {
      show(results, "default model", "none: " + e.getMessage());
      return;
    }
    try (TemporaryPath folder = TemporaryPath.folder("llara-tokenizer");
        InputStream tokenizer = model.open("tokenizer.json")) {
      Files.copy(tokenizer, folder.path().resolve("tokenizer.json"));
      Tokenizer.load(folder.path()).close();
    }
    show(results, "default model", model.name());
  }

  /** Returns the version of the Hugging Face library and, after a dash, of DJL around it. */
  private static String tokenizersVersion() throws IOException {
    Properties properties = new Properties();
    try (InputStream in =
        Tokenizer.class.getResourceAsStream("/native/lib/tokenizers.properties")) {
      if (in == null) {
        return "not found";
      }
      properties.load(in);
    }
    return properties.getProperty("version", "unknown");
  }

  /** Returns the files of native code that are loaded, by path. */
  private static Collection<Path> libraries() throws IOException {
    TreeSet<Path> files = new TreeSet<>();
    Loader.getLoadedLibraries().values().stream()
        .map(Path::of)
        .filter(Files::isRegularFile)
        .forEach(files::add);
    String version = tokenizersVersion();
    try (Stream<Path> cached = Files.walk(Utils.getEngineCacheDir("tokenizers"))) {
      cached
          .filter(Files::isRegularFile)
          .filter(path -> path.resolveSibling("").getFileName().toString().startsWith(version))
          .filter(path -> path.getFileName().toString().matches("(?i).*(\\.so.*|\\.dylib|\\.dll)"))
          .forEach(files::add);
    }
    return files;
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
