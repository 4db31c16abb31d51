package io.llara;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatExceptionOfType;

import io.llara.testing.Directories;
import io.llara.testing.MarkedStories;
import io.llara.testing.Stories;
import io.llara.testing.Vectors;
import java.io.IOException;
import java.io.InputStream;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import java.util.zip.CRC32;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class BundledModelTest {
  private static final String TEXT = "Lily went to the park.";

  private final ClassLoader before = Thread.currentThread().getContextClassLoader();
  @TempDir private Path dir;

  /** A model whose files lie in a folder that a test has chosen. */
  public static class InFolder implements BundledModel {
    static Path folder = Path.of("");

    @Override
    public String name() {
      return "test-model";
    }

    @Override
    public InputStream open(String file) throws IOException {
      return Files.newInputStream(folder.resolve(file));
    }
  }

  /** Another one. */
  public static final class Second extends InFolder {
    @Override
    public String name() {
      return "second-model";
    }
  }

  @BeforeEach
  void bundle() throws IOException {
    InFolder.folder = dir.resolve("bundle");
    Directories.copy(Stories.dir(), InFolder.folder);
    writeChecksums();
  }

  @AfterEach
  void restore() {
    Thread.currentThread().setContextClassLoader(before);
  }

  private static void writeChecksums() throws IOException {
    StringBuilder lines = new StringBuilder();
    try (Stream<Path> files = Files.list(InFolder.folder)) {
      for (Path file : files.sorted().toList()) {
        if (!file.endsWith(BundledModel.CHECKSUMS)) {
          CRC32 checksum = new CRC32();
          checksum.update(Files.readAllBytes(file));
          lines.append("%08x".formatted(checksum.getValue()));
          lines.append("  ").append(file.getFileName()).append('\n');
        }
      }
    }
    Files.writeString(InFolder.folder.resolve(BundledModel.CHECKSUMS), lines);
  }

  /** Puts models on the class path of this thread. */
  private void provide(Class<?>... models) throws IOException {
    Path services = Files.createDirectories(dir.resolve("classes/META-INF/services"));
    List<String> names = Stream.of(models).map(Class::getName).toList();
    Files.write(services.resolve(BundledModel.class.getName()), names, StandardCharsets.UTF_8);
    URL[] path = {dir.resolve("classes").toUri().toURL()};
    Thread.currentThread().setContextClassLoader(new URLClassLoader(path, before));
  }

  private static List<Path> temporaryModels() throws IOException {
    try (Stream<Path> all = Files.list(Path.of(System.getProperty("java.io.tmpdir")))) {
      return all.filter(path -> path.getFileName().toString().startsWith("llara-model-")).toList();
    }
  }

  @Test
  void aModelOnTheClassPathGivesTheVectorsOfItsDirectoryAndLeavesNoCopy() throws IOException {
    provide(InFolder.class);
    List<Path> old = temporaryModels();
    try (Encoder bundled = Encoder.loadDefault();
        Encoder directory = Encoder.load(Stories.dir())) {
      assertThat(temporaryModels()).isEqualTo(old);
      Vectors.assertSame(bundled.encode(TEXT, Mode.NEXT), directory.encode(TEXT, Mode.NEXT));
    }
  }

  @Test
  void settingsAreThoseOfAnyEncoder() throws IOException {
    provide(InFolder.class);
    try (Encoder encoder = Encoder.builder().dimension(16).build()) {
      assertThat(encoder.encode(TEXT, Mode.SELF)).hasSize(16);
    }
  }

  @Test
  void noneOnTheClassPathNamesTheDependency() {
    assertThatExceptionOfType(ModelLoadException.class)
        .isThrownBy(Encoder::loadDefault)
        .withMessageContaining("add the dependency io.llara:llara-mini");
  }

  @Test
  void twoAreNamedWithWhereTheyAre() throws IOException {
    provide(InFolder.class, Second.class);
    assertThatExceptionOfType(ModelLoadException.class)
        .isThrownBy(Encoder::loadDefault)
        .withMessageContaining("test-model (file:")
        .withMessageContaining("second-model (file:")
        .withMessageContaining("keep one of them");
  }

  @Test
  void aDamagedFileIsNamed() throws IOException {
    provide(InFolder.class);
    Path weights = InFolder.folder.resolve("model.safetensors");
    byte[] bytes = Files.readAllBytes(weights);
    bytes[bytes.length / 2] ^= 1;
    Files.write(weights, bytes);
    List<Path> old = temporaryModels();
    assertThatExceptionOfType(ModelLoadException.class)
        .isThrownBy(Encoder::loadDefault)
        .withMessageStartingWith("test-model: model.safetensors is damaged: its CRC-32 is ");
    assertThat(temporaryModels()).isEqualTo(old);
  }

  @Test
  void aMissingFileIsNamed() throws IOException {
    provide(InFolder.class);
    Files.delete(InFolder.folder.resolve("tokenizer.json"));
    assertThatExceptionOfType(ModelLoadException.class)
        .isThrownBy(Encoder::loadDefault)
        .withMessageContaining("test-model: tokenizer.json cannot be read");
  }

  @Test
  void namesInTheListStayInTheFolder() throws IOException {
    provide(InFolder.class);
    Path list = InFolder.folder.resolve(BundledModel.CHECKSUMS);
    Files.writeString(list, "0".repeat(8) + "  ../outside");
    assertThatExceptionOfType(ModelLoadException.class)
        .isThrownBy(Encoder::loadDefault)
        .withMessageContaining("expected a CRC-32, two spaces and the name of a file");
    assertThat(dir.resolve("outside")).doesNotExist();
  }

  @Test
  void aModelOfALaterFormatIsRefusedByItsName() throws IOException {
    provide(InFolder.class);
    MarkedStories.changeJson(
        InFolder.folder.resolve("llara.json"), json -> json.addProperty("formatVersion", 99));
    writeChecksums();
    assertThatExceptionOfType(ModelLoadException.class)
        .isThrownBy(Encoder::loadDefault)
        .withMessageStartingWith("test-model")
        .withMessageContaining("99");
  }
}
