package io.llara;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatExceptionOfType;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;

import io.llara.testing.Directories;
import io.llara.testing.Stories;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class ModelSourceTest {
  private static final String COMMIT = "0123456789abcdef0123456789abcdef01234567";

  @TempDir private Path dir;

  @Test
  void loadsAModelOfTheCache() throws IOException {
    Path model = dir.resolve("models--org--stories");
    Directories.copy(Stories.dir(), model.resolve("snapshots").resolve(COMMIT));
    Files.createDirectories(model.resolve("refs"));
    Files.writeString(model.resolve("refs/main"), COMMIT);
    ModelSource source =
        ModelSource.hub(
            "org/stories", Map.of("HF_HUB_CACHE", dir.toString(), "HF_HUB_OFFLINE", "1"));
    try (Encoder cached = Encoder.load(source);
        Encoder direct = Encoder.load(Stories.dir())) {
      assertThat(cached.encode("Once upon a time", Mode.SELF))
          .isEqualTo(direct.encode("Once upon a time", Mode.SELF));
    }
    assertThatExceptionOfType(ModelLoadException.class)
        .isThrownBy(
            () ->
                Encoder.load(
                    ModelSource.hub(
                        "org/other",
                        Map.of("HF_HUB_CACHE", dir.toString(), "HF_HUB_OFFLINE", "1"))))
        .withMessageContaining("org/other@main: HF_HUB_OFFLINE is set");
  }

  @Test
  void takesADirectoryForWhatItIs() throws IOException {
    Path there = Files.createDirectories(dir.resolve("org/name"));
    assertThat(ModelSource.of(there).resolve()).isEqualTo(there);
    assertThat(ModelSource.of(Path.of("nowhere")).resolve()).isEqualTo(Path.of("nowhere"));
    assertThat(ModelSource.of(Path.of("a", "b", "c")).resolve()).isEqualTo(Path.of("a", "b", "c"));
    assertThat(ModelSource.of(Path.of("owner", "name@v1"))).hasToString("owner/name@v1");
  }

  @Test
  void namesTheModel() {
    assertThat(ModelSource.of(dir).name()).isEqualTo(dir.getFileName().toString());
    assertThat(ModelSource.directory(dir.resolve("a/..")).name())
        .isEqualTo(dir.getFileName().toString());
    assertThat(ModelSource.of(Path.of("owner", "name@v1")).name()).isEqualTo("owner/name@v1");
  }

  @Test
  void refusesWhatIsNoNameOfTheHub() {
    assertThatIllegalArgumentException()
        .isThrownBy(() -> ModelSource.hub("name"))
        .withMessage("the model of the hub is 'name'; expected owner/name or owner/name@revision");
  }
}
