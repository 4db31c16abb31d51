package io.llara.train.run;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.llara.LlaraException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class RunDirectoryTest {
  @TempDir Path out;

  @Test
  void readsBackInOrder() {
    assertThat(RunDirectory.readSettings(out)).isEmpty();
    Map<String, String> values = new LinkedHashMap<>();
    values.put("recipe", "released");
    values.put("batch", "16");
    values.put("a", "<\u00fc\">");
    RunDirectory.writeSettings(out, values);
    Map<String, String> read = RunDirectory.readSettings(out).orElseThrow();
    assertThat(read).containsExactlyEntriesOf(values);
    assertThat(RunDirectory.differences(read, values)).isEmpty();
  }

  @Test
  void differencesAreNamed() {
    Map<String, String> before = Map.of("batch", "16");
    assertThat(RunDirectory.differences(before, Map.of("batch", "32")))
        .containsExactly("batch: was 16, now 32");
    assertThat(RunDirectory.differences(before, Map.of("lora", "8")))
        .containsExactly("batch: was 16, now not set", "lora: was not set, now 8");
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "",
        "[]",
        "{}",
        "{\"formatVersion\":1}",
        "{\"formatVersion\":2,\"settings\":{}}",
        "{\"formatVersion\":0,\"settings\":{}}",
        "{\"formatVersion\":1,\"settings\":{\"a\":[]}}",
        "{\"formatVersion\":1,\"settings\":{}",
        "{\"formatVersion\":\"x\",\"settings\":{}}"
      })
  void aWrongFileIsNamed(String content) throws IOException {
    Path file = out.resolve("run.json");
    Files.writeString(file, content);
    assertThatThrownBy(() -> RunDirectory.readSettings(out))
        .isInstanceOf(LlaraException.class)
        .hasMessageStartingWith(file + ": ");
  }
}
