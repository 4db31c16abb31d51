package io.llara.tensor;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.llara.ComputeType;
import io.llara.Encoder;
import io.llara.LlaraException;
import io.llara.Mode;
import io.llara.testing.ChildJvm;
import io.llara.testing.Stories;
import io.llara.testing.Vectors;
import java.io.File;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import org.bytedeco.javacpp.Loader;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class LibtorchHomeTest {
  private static final String PYTHON =
      "__version__ = '%s'%ndebug = False%ncuda: Optional[str] = '12.8'%n";
  private static final String TEXT = "Once upon a time there was a little llama.";

  @TempDir private Path dir;

  private Path lib(String... names) throws IOException {
    Path lib = Files.createDirectories(dir.resolve("site-packages/torch/lib"));
    for (String name : names) {
      Files.createFile(lib.resolve(System.mapLibraryName(name)));
    }
    return lib;
  }

  private void version(String version) throws IOException {
    Files.writeString(dir.resolve("site-packages/torch/version.py"), PYTHON.formatted(version));
  }

  @ParameterizedTest
  @ValueSource(strings = {"site-packages", "site-packages/torch", "site-packages/torch/lib"})
  void takesTheFolderOfThePackageOrOneAroundIt(String folder) throws IOException {
    Path lib = lib("c10", "torch_cpu");
    version("2.10.0+cu128");

    LibtorchHome home = new LibtorchHome(dir.resolve(folder));

    assertThat(home.describe()).isEqualTo("2.10.0+cu128 (" + lib + ")");
    assertThat(home.cuda()).isEqualTo("12.8");
    assertThat(home.cudaFailure()).isNull();
  }

  @Test
  void readsTheVersionOfAnUnpackedLibtorch() throws IOException {
    Path lib = lib("c10", "torch_cpu");
    Files.writeString(lib.resolveSibling("build-version"), "2.11.1+cpu\n");

    assertThat(new LibtorchHome(lib).describe()).startsWith("2.11.1+cpu (");
  }

  @Test
  void refusesAFolderWithoutPyTorch() {
    assertThatThrownBy(() -> new LibtorchHome(dir))
        .isInstanceOf(LlaraException.class)
        .hasMessageContaining(dir + " (llara.libtorch.home): there is no ")
        .hasMessageContaining(System.mapLibraryName("torch_cpu"));
  }

  @ParameterizedTest
  @ValueSource(strings = {"2.9.1+cu128", "2.1.0", "2.100.0", "3.0", "unknown"})
  void refusesAVersionThatDoesNotFit(String version) throws IOException {
    lib("c10", "torch_cpu");
    version(version);

    assertThatThrownBy(() -> new LibtorchHome(dir.resolve("site-packages")))
        .isInstanceOf(LlaraException.class)
        .hasMessageContaining(
            "it is PyTorch '" + version + "'; this library works with PyTorch 2.10");
  }

  @Test
  void refusesToGuessAVersion() throws IOException {
    lib("c10", "torch_cpu");

    assertThatThrownBy(() -> new LibtorchHome(dir.resolve("site-packages")))
        .isInstanceOf(LlaraException.class)
        .hasMessageContaining("no version.py or build-version");
  }

  @Test
  void namesALibraryThatIsMissing() throws IOException {
    lib("torch_cpu", "c10_cuda");
    version("2.10.0");

    assertThatThrownBy(() -> new LibtorchHome(dir.resolve("site-packages")))
        .isInstanceOf(LlaraException.class)
        .hasMessageContaining("the library " + System.mapLibraryName("c10") + " is missing");
    lib("c10");
    assertThatThrownBy(() -> new LibtorchHome(dir.resolve("site-packages")))
        .isInstanceOf(LlaraException.class)
        .hasMessageContaining("the library " + System.mapLibraryName("torch_cuda") + " is missing");
  }

  @Test
  void namesWhatALibraryNeedsAndDoesNotFind() {
    UnsatisfiedLinkError error = new UnsatisfiedLinkError("no torch_cuda in java.library.path");
    error.initCause(
        new UnsatisfiedLinkError(
            "/opt/torch/lib/libtorch_cuda.so: libcublas.so.12: cannot open shared object file: No such file or directory"));

    assertThat(LibtorchHome.reason(error))
        .startsWith("the library libcublas.so.12 is missing")
        .contains("libtorch_cuda.so", "LD_LIBRARY_PATH");
  }

  @Test
  void whatDoesNotFitCanBePutRightInTheSameProcess() throws Exception {
    lib("c10", "torch_cpu"); // Empty files: the system's loader refuses them.
    version("2.10.0");

    String printed = embed(dir.resolve("site-packages").toString(), "");

    assertThat(printed).contains("refused: ", "libtorch_cpu", "llara.libtorch.home");
    assertSame(printed);
  }

  @Test
  void theLibrariesOfAnotherFolderGiveTheSameVectors() throws Exception {
    Libtorch.load();
    Path lib = Files.createDirectories(dir.resolve("lib"));
    for (String name : List.of("c10", "torch_cpu")) {
      String bundled = Loader.getLoadedLibraries().get(name);
      Files.createSymbolicLink(lib.resolve(System.mapLibraryName(name)), Path.of(bundled));
    }
    Files.writeString(dir.resolve("build-version"), "2.10.0");

    String printed = embed(dir.toString());

    assertThat(printed).contains("loaded: 2.10.0 (" + lib + ")");
    assertSame(printed);
  }

  /** One or several folders of PyTorch, such as {@code site-packages} of virtual environments. */
  @Test
  void anInstalledPyTorchGivesTheSameVectors() throws Exception {
    String folders = System.getProperty("llara.test.libtorch", "");
    assumeTrue(!folders.isEmpty(), "needs -Dllara.test.libtorch=DIR, a folder with PyTorch");
    for (String folder : folders.split(File.pathSeparator)) {
      String printed = embed(folder);

      assertThat(printed).contains("loaded: 2.1", folder);
      assertSame(printed);
    }
  }

  private static String embed(String... homes) throws Exception {
    String[] arguments = new String[homes.length + 1];
    arguments[0] = Stories.dir().toString();
    System.arraycopy(homes, 0, arguments, 1, homes.length);
    return ChildJvm.run(List.of(), EmbedOnce.class, arguments);
  }

  private static void assertSame(String printed) {
    String[] values = printed.replaceFirst("(?s).*vector: \\[(.*?)\\].*", "$1").split(", ");
    float[] vector = new float[values.length];
    for (int i = 0; i < vector.length; i++) {
      vector[i] = Float.parseFloat(values[i]);
    }
    Vectors.assertSame(vector, EmbedOnce.vector(Stories.dir()));
  }

  /** Tries homes in turn, an empty one is none, until one is taken, and embeds a text. */
  static final class EmbedOnce {
    private EmbedOnce() {}

    public static void main(String[] args) {
      for (String home : List.of(args).subList(1, args.length)) {
        System.setProperty(LibtorchHome.PROPERTY, home);
        try {
          float[] vector = vector(Path.of(args[0]));
          System.out.println("loaded: " + Libtorch.version());
          System.out.println("CUDA: " + Libtorch.cudaProblem());
          System.out.println("vector: " + Arrays.toString(vector));
          return;
        } catch (LlaraException e) {
          System.out.println("refused: " + e.getMessage());
        }
      }
      throw new IllegalStateException("none was taken");
    }

    static float[] vector(Path model) {
      try (Encoder encoder =
          Encoder.builder(model).template("llara-paper").computeType(ComputeType.FLOAT32).build()) {
        return encoder.encode(TEXT, Mode.SELF);
      }
    }
  }
}
