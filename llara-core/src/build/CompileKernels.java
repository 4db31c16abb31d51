import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.Collections;
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
 * java CompileKernels.java JAR VERSION WORK LIBRARIES PROGRAMS [sanitize]
 * java CompileKernels.java JAR VERSION WORK LIBRARIES library NAME SOURCE FLAG...
 * }</pre>
 *
 * <p>And, for each library, a program that tests it: bounds.cpp says how. Or, in the second form,
 * one library of another source, for any x86 processor.
 */
final class CompileKernels {
  private static final String IN_JAR = "org/bytedeco/llvm/linux-x86_64/";

  /** This file: what it says here decides what comes out. */
  private static final Path SELF = Path.of("src/build/CompileKernels.java");

  private static final Path KERNELS = Path.of("src/main/cpp/kernels.cpp");

  /** What kernels.cpp includes. */
  private static final Path INT8 = Path.of("src/main/cpp/int8.h");

  private static final Path BOUNDS = Path.of("src/test/cpp/bounds.cpp");

  private static final List<String> AVX512 =
      List.of("-mavx2", "-mfma", "-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl");

  /** By the names of io.llara.kernels.NativeKernels.Level. */
  private static final Map<String, List<String>> LEVELS =
      Map.of(
          "avx2", List.of("-mavx2", "-mfma"),
          "avx_vnni", List.of("-mavx2", "-mfma", "-mavxvnni"),
          "avx512", AVX512,
          "avx512_vnni", Stream.concat(AVX512.stream(), Stream.of("-mavx512vnni")).toList(),
          "avx512_bf16",
              Stream.concat(AVX512.stream(), Stream.of("-mavx512vnni", "-mavx512bf16")).toList());

  private static final List<String> FLAGS =
      List.of(
          "--target=x86_64-linux-gnu",
          "-std=c++20",
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
          "-nostdinc++");

  private static final List<String> LIBRARY =
      List.of("-O3", "-nostdlib", "-shared", "-Wl,--no-undefined,--strip-all");

  /** A program without a C library; the system's loader finds the kernels for it. */
  private static final List<String> PROGRAM =
      List.of(
          "-O1",
          "-nostdlib",
          "-pie",
          "-Wl,--no-undefined,--dynamic-linker=/lib64/ld-linux-x86-64.so.2");

  private static final List<String> SANITIZERS =
      List.of(
          "-O1",
          "-g",
          "-fsanitize=address,undefined",
          "-fsanitize-trap=undefined",
          "-fno-omit-frame-pointer",
          "-Wno-unused-command-line-argument",
          "-c");

  private final Path work;
  private final Path libraries;
  private final Path programs;

  private CompileKernels(Path work, Path libraries, Path programs) {
    this.work = work;
    this.libraries = libraries;
    this.programs = programs;
  }

  public static void main(String[] args) throws IOException, InterruptedException {
    Path jar = Path.of(args[0]);
    String version = args[1].substring(0, args[1].lastIndexOf('.', args[1].indexOf('-')));
    if (args[4].equals("library")) {
      compileOther(jar, version, args);
      return;
    }
    CompileKernels build =
        new CompileKernels(Path.of(args[2]), Path.of(args[3]).toAbsolutePath(), Path.of(args[4]));
    if (args.length > 5 && args[5].equals("sanitize")) {
      build.sanitize();
      return;
    }
    List<String> libraries = LEVELS.keySet().stream().filter(build::libraryIsOld).toList();
    List<String> programs = LEVELS.keySet().stream().filter(build::programIsOld).toList();
    if (libraries.isEmpty() && programs.isEmpty()) {
      return;
    }
    unpack(jar, version, build.work);
    run(libraries.stream().map(build::library).toList());
    run(programs.stream().map(build::program).toList());
  }

  private static void compileOther(Path jar, String version, String[] args)
      throws IOException, InterruptedException {
    Path work = Path.of(args[2]);
    Path made = Path.of(args[3], args[5]);
    Path source = Path.of(args[6]);
    Path self = work.resolve("../..").resolve(SELF);
    List<Path> sources = new ArrayList<>(List.of(self, Path.of("pom.xml")));
    sources.addAll(files(source.getParent()));
    List<String> flags = List.of(args).subList(7, args.length);
    for (String flag : flags) {
      if (flag.startsWith("-I")) {
        sources.addAll(files(Path.of(flag.substring(2))));
      }
    }
    if (sources.stream().noneMatch(file -> isOlder(made, file))) {
      return;
    }
    if (isOlder(work.resolve("bin/clang++"), jar)) {
      unpack(jar, version, work);
    }
    List<String> arguments = new ArrayList<>(flags);
    arguments.addAll(List.of(source.toString(), "-o", made.toString()));
    run(List.of(clang(work, List.of(), LIBRARY, arguments)));
  }

  private static List<Path> files(Path folder) throws IOException {
    try (Stream<Path> files = Files.list(folder)) {
      return files.toList();
    }
  }

  private boolean libraryIsOld(String level) {
    Path library = library(libraries, level);
    return isOlder(library, KERNELS) || isOlder(library, INT8) || isOlder(library, SELF);
  }

  private boolean programIsOld(String level) {
    Path program = programs.resolve("bounds-" + level);
    return isOlder(program, BOUNDS) || isOlder(program, library(libraries, level));
  }

  private static Path library(Path folder, String level) {
    return folder.resolve("libllara-" + level + ".so");
  }

  private static boolean isOlder(Path made, Path source) {
    try {
      return !Files.exists(made)
          || Files.getLastModifiedTime(made).compareTo(Files.getLastModifiedTime(source)) <= 0;
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private List<String> library(String level) {
    return clang(
        level, LIBRARY, "-o", library(libraries, level).toString(), KERNELS.toString());
  }

  /** Its libraries have no names but those of their files. */
  private List<String> program(String level) {
    return clang(
        level,
        PROGRAM,
        "-o",
        programs.resolve("bounds-" + level).toString(),
        BOUNDS.toString(),
        "-L" + libraries,
        "-l:" + library(Path.of(""), level),
        "-Wl,-rpath," + libraries);
  }

  private List<String> clang(String level, List<String> flags, String... arguments) {
    return clang(work, LEVELS.get(level), flags, List.of(arguments));
  }

  private static List<String> clang(
      Path work, List<String> instructions, List<String> flags, List<String> arguments) {
    List<String> command = new ArrayList<>();
    command.add(work.resolve("bin/clang++").toString());
    command.addAll(FLAGS);
    command.addAll(instructions);
    command.addAll(flags);
    command.add("--ld-path=" + work.resolve("bin/ld.lld"));
    command.addAll(arguments);
    return command;
  }

  /**
   * Compiles the kernels and the program that calls them with the address and undefined-behaviour
   * sanitizers, and runs it. Their run-time library is that of the system's C++ compiler.
   */
  private void sanitize() throws IOException, InterruptedException {
    if (!Files.exists(work.resolve("bin"))
        || Stream.of(System.getenv("PATH").split(":")).noneMatch(CompileKernels::hasCompiler)) {
      System.err.println("SKIPPED: kernels with sanitizers: no kernels, or no c++ to link with");
      return;
    }
    String kernels = programs.resolve("kernels.o").toString();
    String bounds = programs.resolve("bounds.o").toString();
    String program = programs.resolve("bounds-sanitized").toString();
    Files.createDirectories(programs);
    run(
        List.of(
            clang("avx2", SANITIZERS, "-o", kernels, KERNELS.toString()),
            clang("avx2", SANITIZERS, "-o", bounds, BOUNDS.toString())));
    run(List.of(List.of("c++", "-fsanitize=address", "-o", program, kernels, bounds)));
    run(List.of(List.of(program, "130")));
  }

  private static boolean hasCompiler(String folder) {
    return Files.isExecutable(Path.of(folder, "c++"));
  }

  /** Runs commands at once, and ends this program if one of them fails. */
  private static void run(List<List<String>> commands) throws IOException, InterruptedException {
    List<Process> processes = new ArrayList<>();
    for (List<String> command : commands) {
      int output = command.indexOf("-o");
      if (output >= 0) {
        Files.createDirectories(Path.of(command.get(output + 1)).toAbsolutePath().getParent());
      }
      processes.add(new ProcessBuilder(command).inheritIO().start());
    }
    boolean failed = false;
    for (int i = 0; i < commands.size(); i++) {
      if (processes.get(i).waitFor() != 0) {
        System.err.println(
            String.join(" ", commands.get(i))
                + " failed; -P '!fused-kernels' builds without native kernels");
        failed = true;
      }
    }
    if (failed) {
      System.exit(1);
    }
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
