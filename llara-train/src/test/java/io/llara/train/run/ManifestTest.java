package io.llara.train.run;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.llara.LlaraException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class ManifestTest {
  @TempDir Path out;

  @Test
  void readsBackAsItWas() throws IOException {
    Path data = out.resolve("data.jsonl");
    Files.writeString(data, "abc");
    Manifest begun = manifest(List.of(Manifest.DataFile.of(data)));
    assertThat(Manifest.read(out)).isEmpty();
    begun.write(out);
    assertThat(Manifest.read(out)).contains(begun);
    Manifest ended = begun.after(200, Optional.of(Instant.parse("2026-02-03T04:05:06.789Z")));
    ended.write(out);
    assertThat(Manifest.read(out)).contains(ended);
    assertThat(ended.started()).isEqualTo(begun.started());
    assertThat(ended.data().get(0).bytes()).isEqualTo(3);
    // FIPS 180-2, appendix B.1.
    assertThat(ended.data().get(0).sha256())
        .isEqualTo("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  }

  @Test
  void versionsOfWhatItRunsOn() {
    assertThat(Manifest.currentVersions()).containsOnlyKeys("llara", "libtorch", "java", "system");
    assertThat(Manifest.currentVersions().get("libtorch")).startsWith("2.");
    assertThat(Manifest.currentVersions().get("java")).startsWith(Runtime.version().toString());
  }

  @Test
  void aDataFileThatIsNotThereIsNamed() {
    assertThatThrownBy(() -> Manifest.DataFile.of(out.resolve("none")))
        .isInstanceOf(LlaraException.class)
        .hasMessageStartingWith(out.resolve("none") + ": cannot be read");
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "2026-01-01T00:00:00Z|yesterday|key 'started' is 'yesterday'",
        "\"steps\": 0|\"steps\": \"x\"|key 'steps'",
        "\"data\": []|\"data\": [1]|key 'data[0]' is 1; expected an object",
        "\"data\": []|\"data\": 1|key 'data' is 1; expected a list",
        "\"seed\": 42|\"seed\": 4.5|key 'seeds.seed' is 4.5; expected a whole number"
      })
  void aWrongKeyIsNamed(String good, String bad, String message) throws IOException {
    manifest(List.of()).write(out);
    Path file = out.resolve("manifest.json");
    String json = Files.readString(file);
    assertThat(json).contains(good);
    Files.writeString(file, json.replace(good, bad));
    assertThatThrownBy(() -> Manifest.read(out))
        .isInstanceOf(LlaraException.class)
        .hasMessageStartingWith(file + ": ")
        .hasMessageContaining(message);
  }

  private static Manifest manifest(List<Manifest.DataFile> data) {
    return new Manifest(
        Map.of("batch", "16"),
        Map.of("seed", 42L),
        data,
        Map.of("llara", "0.1.0"),
        Instant.parse("2026-01-01T00:00:00Z"),
        Optional.empty(),
        0);
  }
}
