package io.llara.tensor;

import io.llara.LlaraException;
import io.llara.io.Messages;
import java.io.IOException;
import java.net.URL;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.bytedeco.javacpp.Loader;
import org.jspecify.annotations.Nullable;

/**
 * The libraries of a PyTorch that is installed, in place of those in the presets' jars: of a Python
 * package, a container, an unpacked libtorch. The bridge to Java ({@code libjnitorch.so}) still
 * comes from the jar; it finds the libraries that are loaded already by their names.
 */
final class LibtorchHome {
  /** Names the folder: {@code site-packages}, {@code torch} in it, or its {@code lib}. */
  static final String PROPERTY = "llara.libtorch.home";

  /**
   * The bridge was compiled for the first. Of what it asks for, 2.11 lacks four functions that this
   * library never calls: the system's loader looks a function up when it is called.
   */
  private static final List<String> VERSIONS = List.of("2.10", "2.11");

  static final String PROCESSOR = "torch_cpu";
  private static final String OPENMP = "gomp@.1";

  /** As the presets call the library. */
  static final String CUDA = "torch_cuda";

  private static final String CACHE = "org.bytedeco.javacpp.cachedir";
  private static final Pattern VERSION = Pattern.compile("(?m)^__version__ = '([^']+)'");
  private static final Pattern CUDA_VERSION = Pattern.compile("(?m)^cuda\\b[^=]*= '([^']+)'");
  private static final Pattern MISSING =
      Pattern.compile("(?s).*?([^\\s/:]+\\.so[.\\d]*): cannot open shared object file.*");

  private final Path lib;
  private final String version;
  private final String cuda;
  private @Nullable String cudaFailure;

  /**
   * Looks at a folder; loads nothing.
   *
   * @throws LlaraException if there is no PyTorch in it, or not one that fits
   */
  LibtorchHome(Path folder) {
    this.lib =
        Stream.of("", "lib", "torch/lib")
            .map(folder::resolve)
            .filter(dir -> Files.exists(file(dir, "c10")) || Files.exists(file(dir, PROCESSOR)))
            .findFirst()
            .orElseThrow(
                () ->
                    problem(
                        folder,
                        "there is no %s in it, in its lib or torch/lib; expected site-packages, the folder torch in it, or an unpacked libtorch"
                            .formatted(System.mapLibraryName(PROCESSOR))));
    for (String name : List.of("c10", PROCESSOR)) {
      require(name);
    }
    if (Files.exists(file(lib, "c10_cuda")) || Files.exists(file(lib, CUDA))) {
      require("c10_cuda");
      require(CUDA);
    }
    Path parent = lib.toAbsolutePath().normalize().resolveSibling("");
    String python = read(parent.resolve("version.py"));
    version =
        find(VERSION, python)
            .or(
                () ->
                    Stream.of(parent, lib)
                        .map(dir -> read(dir.resolve("build-version")).strip())
                        .filter(text -> !text.isEmpty())
                        .findFirst())
            .orElseThrow(
                () ->
                    problem(
                        lib,
                        "no version.py or build-version beside lib says which version it is; a file build-version that holds it, such as %s.0, will do"
                            .formatted(VERSIONS.get(0))));
    cuda = find(CUDA_VERSION, python).orElse("");
    if (VERSIONS.stream().noneMatch(known -> version.matches(Pattern.quote(known) + "(\\D.*)?"))) {
      throw problem(
          lib,
          "it is PyTorch %s; this library works with PyTorch %s"
              .formatted(Messages.quote(version), String.join(" and ", VERSIONS)));
    }
  }

  /**
   * Returns the one that the system property names; empty if it is not set.
   *
   * @throws LlaraException if it does not fit
   */
  static Optional<LibtorchHome> given() {
    String folder = System.getProperty(PROPERTY);
    return folder == null || folder.isBlank()
        ? Optional.empty()
        : Optional.of(new LibtorchHome(Path.of(folder)));
  }

  /** Returns what it is and where, such as {@code 2.10.0+cu128 (/opt/torch/lib)}. */
  String describe() {
    return "%s (%s)".formatted(version, lib);
  }

  /** Returns the version of CUDA that it was built for; empty if that is unknown. */
  String cuda() {
    return cuda;
  }

  /** Returns why its libraries for CUDA could not be loaded; null if they are, or it has none. */
  @Nullable String cudaFailure() {
    return cudaFailure;
  }

  /**
   * Loads the libraries, under the names by which the presets look for them, so that they take
   * these for loaded. What CUDA needs may be missing: then the processor's are still of use.
   *
   * @throws LlaraException if they cannot be loaded; the ones on the class path still can
   */
  void load() {
    String cacheBefore = System.getProperty(CACHE);
    Path cache = ownCache(cacheBefore);
    System.setProperty(CACHE, cache.toString());
    try {
      // This one first: it brings c10 with it, and leaves nothing behind if it fails.
      load(PROCESSOR);
    } catch (UnsatisfiedLinkError e) {
      if (cacheBefore == null) {
        System.clearProperty(CACHE);
      } else {
        System.setProperty(CACHE, cacheBefore);
      }
      throw problem(lib, reason(e), e);
    }
    load("c10");
    if (Files.exists(file(lib, OPENMP))) {
      load(OPENMP);
    }
    if (Files.exists(file(lib, CUDA))) {
      try {
        load(CUDA);
        load("c10_cuda");
      } catch (UnsatisfiedLinkError e) {
        cudaFailure = reason(e);
      }
    }
    requireCache(cache);
  }

  private void load(String name) {
    try {
      Loader.loadLibrary(Loader.class, new URL[] {file(lib, name).toUri().toURL()}, name);
    } catch (IOException e) {
      throw problem(lib, Messages.reason(e), e);
    }
  }

  /**
   * JavaCPP puts links to the libraries that are loaded into its cache, in the place of those of
   * its jars, and a process without this home that starts meanwhile would load them: the bridge is
   * unpacked into a cache of its own.
   */
  private static Path ownCache(@Nullable String given) {
    Path cache =
        given == null
            ? Path.of(System.getProperty("user.home"), ".javacpp", "cache")
            : Path.of(given);
    return cache.endsWith(PROPERTY) ? cache : cache.resolve(PROPERTY);
  }

  private void requireCache(Path cache) {
    try {
      Path used = Loader.getCacheDir().toPath();
      if (!used.equals(cache.toRealPath())) {
        throw problem(
            lib,
            "native libraries of JavaCPP have been loaded before, from %s; start the JVM with -D%s=%s"
                .formatted(used, CACHE, cache));
      }
    } catch (IOException e) {
      throw problem(
          lib,
          "JavaCPP's cache %s cannot be used: %s; -D%s names another"
              .formatted(cache, Messages.reason(e), CACHE),
          e);
    }
  }

  /** Says which library could not be loaded and why; the loader's last resort hides the cause. */
  static String reason(UnsatisfiedLinkError error) {
    Throwable cause = error.getCause() == null ? error : error.getCause();
    String message = String.valueOf(cause.getMessage());
    Matcher missing = MISSING.matcher(message);
    return missing.matches()
        ? "the library %s is missing (%s); PyTorch's Python packages bring it (nvidia-*), an installed CUDA has it, or LD_LIBRARY_PATH names its folder"
            .formatted(missing.group(1), message.lines().findFirst().orElse(""))
        : message;
  }

  private void require(String name) {
    if (!Files.exists(file(lib, name))) {
      throw problem(lib, "the library %s is missing".formatted(file(lib, name).getFileName()));
    }
  }

  /** Returns the file of a library named as JavaCPP does: {@code name@.version}. */
  private static Path file(Path dir, String name) {
    int at = name.indexOf('@');
    return dir.resolve(
        at < 0
            ? System.mapLibraryName(name)
            : System.mapLibraryName(name.substring(0, at)) + name.substring(at + 1));
  }

  private static String read(Path file) {
    try {
      return Files.isRegularFile(file) ? Files.readString(file, StandardCharsets.UTF_8) : "";
    } catch (IOException e) {
      return "";
    }
  }

  private static Optional<String> find(Pattern pattern, String text) {
    Matcher matcher = pattern.matcher(text);
    return matcher.find() ? Optional.of(matcher.group(1)) : Optional.empty();
  }

  private static LlaraException problem(Path folder, String what) {
    return new LlaraException(words(folder, what));
  }

  private static LlaraException problem(Path folder, String what, Throwable cause) {
    return new LlaraException(words(folder, what), cause);
  }

  private static String words(Path folder, String what) {
    return "%s (%s): %s".formatted(folder, PROPERTY, what);
  }
}
