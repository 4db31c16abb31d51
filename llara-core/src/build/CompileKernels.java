import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
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
 * java CompileKernels.java JAR VERSION WORK LIBRARIES PROGRAMS [nightly]
 * java CompileKernels.java JAR VERSION WORK LIBRARIES library NAME SOURCE FLAG...
 * }</pre>
 *
 * <p>And, for each library of this platform, a program that tests it: bounds.cpp says how. With
 * {@code nightly}, that program again with sanitizers, and emulating an Arm processor. Or, in the
 * second form, one library of another source, for any x86 processor.
 */
final class CompileKernels {
  private static final String IN_JAR = "org/bytedeco/llvm/linux-x86_64/";

  /** This file: what it says here decides what comes out. */
  private static final Path SELF = Path.of("src/build/CompileKernels.java");

  private static final Path KERNELS = Path.of("src/main/cpp/kernels.cpp");

  /** What kernels.cpp includes. */
  private static final Path PRODUCTS = Path.of("src/main/cpp/products.h");

  private static final Path BOUNDS = Path.of("src/test/cpp/bounds.cpp");

  private static final List<String> X86 =
      List.of("--target=x86_64-linux-gnu", "-mprefer-vector-width=512", "-mavx", "-mfma");

  private static final List<String> AVX512 =
      and(X86, "-mavx2", "-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl");

  /** By the names of io.llara.kernels.NativeKernels.Level. */
  private static final Map<String, List<String>> LEVELS =
      Map.of(
          "avx2", and(X86, "-mavx2"),
          "avx_vnni", and(X86, "-mavx2", "-mavxvnni"),
          "avx512", AVX512,
          "avx512_vnni", and(AVX512, "-mavx512vnni"),
          "avx512_bf16", and(AVX512, "-mavx512vnni", "-mavx512bf16"));

  /** Of Apple's processors, all of which multiply bytes four at a time. */
  private static final List<String> MAC = List.of("--target=arm64-apple-macos11");

  private static final Path MAC_LIBRARY = Path.of("macosx-arm64", "libllara-neon.dylib");

  /** The same instructions where an emulator can be had. */
  private static final List<String> ARM =
      List.of("--target=aarch64-linux-gnu", "-march=armv8.2-a+dotprod");

  private static final List<String> FLAGS =
      List.of(
          "-std=c++20",
          "-ffreestanding",
          "-fno-exceptions",
          "-fno-rtti",
          "-fno-math-errno",
          "-fno-stack-protector",
          "-ffp-contract=off",
          "-fvisibility=hidden",
          "-fPIC",
          "-Wall",
          "-Wextra",
          "-Werror",
          "-nostdinc++");

  private static final List<String> LIBRARY =
      List.of("-O3", "-nostdlib", "-shared", "-Wl,--no-undefined,--strip-all");

  /** Its linker asks which version of Apple's it stands for. */
  private static final List<String> LIBRARY_OF_MAC =
      List.of(
          "-O3",
          "-nostdlib",
          "-dynamiclib",
          "-mlinker-version=900",
          // Or the library names the folder that it was built in.
          "-Wl,-x,-install_name," + MAC_LIBRARY.getFileName());

  /** A program without a C library; the system's loader finds the kernels for it. */
  private static final List<String> PROGRAM =
      List.of(
          "-O1",
          "-nostdlib",
          "-pie",
          "-Wl,--no-undefined,--dynamic-linker=/lib64/ld-linux-x86-64.so.2");

  /** The same with the kernels in it. */
  private static final List<String> WHOLE_PROGRAM =
      List.of("-O1", "-nostdlib", "-static-pie", "-Wl,--no-undefined");

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
    if (args.length > 5 && args[5].equals("nightly")) {
      build.sanitize();
      build.emulate();
      return;
    }
    List<List<String>> libraries = build.oldLibraries();
    List<String> programs = LEVELS.keySet().stream().filter(build::programIsOld).toList();
    if (libraries.isEmpty() && programs.isEmpty()) {
      return;
    }
    unpack(jar, version, build.work);
    run(libraries);
    run(programs.stream().map(build::program).toList());
  }

  private static List<String> and(List<String> flags, String... others) {
    return Stream.concat(flags.stream(), Stream.of(others)).toList();
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
    run(List.of(clang(work, List.of("--target=x86_64-linux-gnu"), LIBRARY, arguments)));
  }

  private static List<Path> files(Path folder) throws IOException {
    try (Stream<Path> files = Files.list(folder)) {
      return files.toList();
    }
  }

  /** Returns the commands that compile the libraries which are older than their sources. */
  private List<List<String>> oldLibraries() {
    List<List<String>> commands = new ArrayList<>();
    for (String level : LEVELS.keySet()) {
      if (isOld(library(level))) {
        commands.add(
            clang(level, LIBRARY, "-o", library(level).toString(), KERNELS.toString()));
      }
    }
    Path mac = libraries.resolve(MAC_LIBRARY);
    if (isOld(mac)) {
      commands.add(
          clang(work, MAC, LIBRARY_OF_MAC, List.of("-o", mac.toString(), KERNELS.toString())));
    }
    return commands;
  }

  private static boolean isOld(Path library) {
    return isOlder(library, KERNELS) || isOlder(library, PRODUCTS) || isOlder(library, SELF);
  }

  private boolean programIsOld(String level) {
    Path program = programs.resolve("bounds-" + level);
    return isOlder(program, BOUNDS) || isOlder(program, library(level));
  }

  private Path library(String level) {
    return libraries.resolve("linux-x86_64").resolve("libllara-" + level + ".so");
  }

  private static boolean isOlder(Path made, Path source) {
    try {
      return !Files.exists(made)
          || Files.getLastModifiedTime(made).compareTo(Files.getLastModifiedTime(source)) <= 0;
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** Its libraries have no names but those of their files. */
  private List<String> program(String level) {
    return clang(
        level,
        PROGRAM,
        "-o",
        programs.resolve("bounds-" + level).toString(),
        BOUNDS.toString(),
        "-L" + library(level).getParent(),
        "-l:" + library(level).getFileName(),
        "-Wl,-rpath," + library(level).getParent());
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
    // Its name says for which system it links.
    String linker = instructions.equals(MAC) ? "bin/ld64.lld" : "bin/ld.lld";
    command.add("--ld-path=" + work.resolve(linker));
    command.addAll(arguments);
    return command;
  }

  /**
   * Compiles the kernels and the program that calls them with the address and undefined-behaviour
   * sanitizers, and runs it. Their run-time library is that of the system's C++ compiler.
   */
  private void sanitize() throws IOException, InterruptedException {
    if (!Files.exists(work.resolve("bin")) || !isOnPath("c++")) {
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

  /**
   * Runs the kernels for Arm in an emulator: they must give the bits that the same source gives
   * here, where no instructions for products of integers are used and registers are as wide.
   */
  private void emulate() throws IOException, InterruptedException {
    if (!Files.exists(work.resolve("bin")) || !isOnPath("qemu-aarch64")) {
      System.err.println("SKIPPED: kernels for Arm: no kernels, or no qemu-aarch64 to run them");
      return;
    }
    String here = programs.resolve("bounds-plain").toString();
    String arm = programs.resolve("bounds-neon").toString();
    String kernels = KERNELS.toString();
    String bounds = BOUNDS.toString();
    run(
        List.of(
            clang(work, X86, WHOLE_PROGRAM, List.of("-o", here, kernels, bounds)),
            clang(work, ARM, WHOLE_PROGRAM, List.of("-o", arm, kernels, bounds))));
    String digest = digest(List.of(here, "130"));
    String onArm = digest(List.of("qemu-aarch64", arm, "130"));
    System.err.println("kernels for Arm: " + onArm + ", here " + digest);
    if (!digest.equals(onArm)) {
      System.exit(1);
    }
  }

  /** Returns what bounds.cpp says of all results. */
  private static String digest(List<String> command) throws IOException, InterruptedException {
    Process process = new ProcessBuilder(command).redirectErrorStream(true).start();
    List<String> lines =
        new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8).lines().toList();
    if (process.waitFor() != 0) {
      System.err.println(String.join(" ", command) + " failed: " + lines.get(lines.size() - 1));
      System.exit(1);
    }
    return lines.get(lines.size() - 2);
  }

  private static boolean isOnPath(String program) {
    return Stream.of(System.getenv("PATH").split(":"))
        .anyMatch(folder -> Files.isExecutable(Path.of(folder, program)));
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
    Path linkerOfMac = work.resolve("bin/ld64.lld");
    if (!Files.exists(linkerOfMac)) {
      Files.createSymbolicLink(linkerOfMac, Path.of("ld.lld"));
    }
  }
}
