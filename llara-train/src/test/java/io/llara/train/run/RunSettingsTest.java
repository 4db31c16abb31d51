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

class RunSettingsTest {
  @TempDir Path out;

  @Test
  void readsBackInOrder() {
    assertThat(RunSettings.read(out)).isEmpty();
    Map<String, String> values = new LinkedHashMap<>();
    values.put("recipe", "released");
    values.put("batch", "16");
    values.put("a", "<\u00fc\">");
    new RunSettings(values).write(out);
    RunSettings read = RunSettings.read(out).orElseThrow();
    assertThat(read.values()).containsExactlyEntriesOf(values);
    assertThat(read.compare(new RunSettings(values))).isEmpty();
  }

  @Test
  void differencesAreNamed() {
    RunSettings before = new RunSettings(Map.of("batch", "16"));
    RunSettings now = new RunSettings(Map.of("batch", "32"));
    assertThat(now.compare(before)).containsExactly("batch: was 16, now 32");
    RunSettings other = new RunSettings(Map.of("lora", "8"));
    assertThat(other.compare(before))
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
    assertThatThrownBy(() -> RunSettings.read(out))
        .isInstanceOf(LlaraException.class)
        .hasMessageStartingWith(file + ": ");
  }
}
