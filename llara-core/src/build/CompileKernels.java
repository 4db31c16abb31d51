import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import java.util.zip.ZipEntry;
import java.util.zip.ZipFile;

/**
 * Compiles kernels.cpp to a library for each level of instructions, with the clang that Bytedeco's
 * presets for LLVM carry: a build needs no compiler of the system's. Run by Maven, from source.
 *
 * <pre>{@code
 * java CompileKernels.java JAR VERSION SOURCE WORK OUTPUT
 * }</pre>
 */
final class CompileKernels {
  private static final String IN_JAR = "org/bytedeco/llvm/linux-x86_64/";

  /** This file: what it says here decides what comes out. */
  private static final Path SELF = Path.of("src/build/CompileKernels.java");

  private static final List<String> AVX512 =
      List.of("-mavx2", "-mfma", "-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl");

  /** By the names of io.llara.kernels.NativeKernels.Level. */
  private static final Map<String, List<String>> LEVELS =
      Map.of(
          "avx2", List.of("-mavx2", "-mfma"),
          "avx512", AVX512,
          "avx512_bf16", Stream.concat(AVX512.stream(), Stream.of("-mavx512bf16")).toList());

  private static final List<String> FLAGS =
      List.of(
          "--target=x86_64-linux-gnu",
          "-std=c++20",
          "-O3",
          "-mprefer-vector-width=512",
          "-ffreestanding",
          "-fno-exceptions",
          "-fno-rtti",
          "-fno-math-errno",
          "-ffp-contract=off",
          "-fvisibility=hidden",
          "-fPIC",
          "-Wall",
          "-Wextra",
          "-Werror",
          "-nostdlib",
          "-nostdinc++",
          "-shared",
          "-Wl,--no-undefined,--strip-all");

  private CompileKernels() {}

  public static void main(String[] args) throws IOException, InterruptedException {
    Path jar = Path.of(args[0]);
    String version = args[1].substring(0, args[1].lastIndexOf('.', args[1].indexOf('-')));
    Path source = Path.of(args[2]);
    Path work = Path.of(args[3]);
    Path output = Path.of(args[4]);
    Map<Path, List<String>> outdated = new LinkedHashMap<>();
    for (Map.Entry<String, List<String>> level : LEVELS.entrySet()) {
      Path library = output.resolve("libllara-" + level.getKey() + ".so");
      if (!isNewer(library, source) || !isNewer(library, SELF)) {
        outdated.put(library, level.getValue());
      }
    }
    if (outdated.isEmpty()) {
      return;
    }
    unpack(jar, version, work);
    Files.createDirectories(output);
    Map<Path, Process> compilers = new LinkedHashMap<>();
    for (Map.Entry<Path, List<String>> library : outdated.entrySet()) {
      compilers.put(library.getKey(), compile(work, source, library.getKey(), library.getValue()));
    }
    boolean failed = false;
    for (Map.Entry<Path, Process> compiler : compilers.entrySet()) {
      if (compiler.getValue().waitFor() != 0) {
        System.err.println(
            compiler.getKey()
                + " could not be made; -P '!fused-kernels' builds without them");
        failed = true;
      }
    }
    System.exit(failed ? 1 : 0);
  }

  private static boolean isNewer(Path library, Path source) throws IOException {
    return Files.exists(library)
        && Files.getLastModifiedTime(library).compareTo(Files.getLastModifiedTime(source)) > 0;
  }

  private static Process compile(Path work, Path source, Path library, List<String> level)
      throws IOException {
    List<String> command = new ArrayList<>();
    command.add(work.resolve("bin/clang++").toString());
    command.addAll(FLAGS);
    command.addAll(level);
    command.add("--ld-path=" + work.resolve("bin/ld.lld"));
    command.addAll(List.of("-o", library.toString(), source.toString()));
    return new ProcessBuilder(command).inheritIO().start();
  }

  /** Takes clang, its linker and its headers out of the jar, to where they look for each other. */
  private static void unpack(Path jar, String version, Path work) throws IOException {
    Map<String, String> places =
        Map.of(
            "clang", "bin/clang++",
            "lld", "bin/ld.lld",
            "libLLVM.so", "lib/libLLVM.so." + version,
            "libclang-cpp.so", "lib/libclang-cpp.so." + version);
    try (ZipFile zip = new ZipFile(jar.toFile())) {
      for (ZipEntry entry : Collections.list(zip.entries())) {
        if (!entry.isDirectory() && entry.getName().startsWith(IN_JAR)) {
          String name = entry.getName().substring(IN_JAR.length());
          String place = name.startsWith("lib/clang/") ? name : places.get(name);
          if (place != null) {
            Path to = work.resolve(place);
            Files.createDirectories(to.getParent());
            try (InputStream in = zip.getInputStream(entry)) {
              Files.copy(in, to, StandardCopyOption.REPLACE_EXISTING);
            }
            if (place.startsWith("bin/") && !to.toFile().setExecutable(true)) {
              throw new IOException(to + " cannot be made executable");
            }
          }
        }
      }
    }
  }
}
