package io.llara.examples;

import ai.djl.util.Utils;
import io.llara.tensor.Libtorch;
import io.llara.tokenize.Tokenizer;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Properties;
import java.util.TreeSet;
import java.util.stream.Stream;
import org.bytedeco.javacpp.BytePointer;
import org.bytedeco.javacpp.Loader;
import org.bytedeco.pytorch.global.torch;

/**
 * The native libraries in use.
 *
 * @param onednn the version of oneDNN
 * @param cpuCapability the instruction set that libtorch's own kernels were chosen for
 * @param devices what libtorch can compute on
 * @param libraries the files of the libraries, by path
 */
record Natives(String onednn, String cpuCapability, String devices, List<Library> libraries) {

  /**
   * A file of native code.
   *
   * @param path where it is
   * @param bytes its size
   */
  record Library(Path path, long bytes) {}

  /**
   * Loads them.
   *
   * @throws io.llara.LlaraException if they cannot be loaded
   */
  static Natives load() throws IOException {
    Libtorch.load();
    Tokenizer.load(Demo.model()).close();
    try (BytePointer onednn = torch.get_mkldnn_version();
        BytePointer capability = torch.get_cpu_capability()) {
      return new Natives(
          onednn.getString().lines().findFirst().orElse("?"),
          capability.getString(),
          "cpu" + (torch.hasCUDA() ? ", " + torch.getNumGPUs() + " x cuda" : ""),
          libraryFiles());
    }
  }

  /** Returns the version of the Hugging Face library and, after a dash, of DJL around it. */
  static String tokenizersVersion() throws IOException {
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

  private static List<Library> libraryFiles() throws IOException {
    TreeSet<Path> files = new TreeSet<>();
    for (String file : Loader.getLoadedLibraries().values()) {
      Path path = Path.of(file);
      if (Files.isRegularFile(path)) {
        files.add(path);
      }
    }
    try (Stream<Path> cached = Files.walk(Utils.getEngineCacheDir("tokenizers"))) {
      String version = tokenizersVersion();
      cached
          .filter(Files::isRegularFile)
          .filter(path -> path.getParent().getFileName().toString().startsWith(version))
          .filter(path -> isLibrary(path.getFileName().toString()))
          .forEach(files::add);
    }
    List<Library> libraries = new ArrayList<>();
    for (Path file : files) {
      libraries.add(new Library(file, Files.size(file)));
    }
    return libraries;
  }

  private static boolean isLibrary(String name) {
    String lower = name.toLowerCase(Locale.ROOT);
    return lower.contains(".so") || lower.endsWith(".dylib") || lower.endsWith(".dll");
  }
}
