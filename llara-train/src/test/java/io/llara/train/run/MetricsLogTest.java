package io.llara.train.run;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.assertThatIllegalStateException;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.google.gson.JsonArray;
import com.google.gson.JsonNull;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import io.llara.LlaraException;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.BasicFileAttributes;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class MetricsLogTest {
  @TempDir Path dir;
  private Path file;

  @BeforeEach
  void name() {
    file = dir.resolve("metrics.jsonl");
  }

  @Test
  void aLineIsInTheFileAsSoonAsItIsAppended() throws IOException {
    try (MetricsLog log = new MetricsLog(file)) {
      log.append(line(1, 0.1 + 0.2));
      assertThat(file).hasContent("{\"step\":1,\"loss\":0.30000000000000004,\"self_loss\":null}\n");
      log.append(line(2, 1e-300));
      log.force();
      assertThat(Files.readAllLines(file)).hasSize(2);
    }
    try (MetricsLog log = new MetricsLog(file)) {
      log.append(line(3, 2));
    }
    assertThat(Files.readAllLines(file)).hasSize(3).last().asString().startsWith("{\"step\":3");
  }

  @Test
  void everyDoubleReadsBackAsItWas() throws IOException {
    Random random = new Random(4);
    double[] values = random.doubles(1000).map(x -> Math.pow(x, 1 + x * 100)).toArray();
    try (MetricsLog log = new MetricsLog(file)) {
      for (int i = 0; i < values.length; i++) {
        log.append(line(i, values[i]));
      }
    }
    List<String> lines = Files.readAllLines(file);
    for (int i = 0; i < values.length; i++) {
      JsonObject json = JsonParser.parseString(lines.get(i)).getAsJsonObject();
      assertThat(json.get("loss").getAsDouble()).isEqualTo(values[i]);
    }
  }

  @ParameterizedTest
  @ValueSource(doubles = {Double.NaN, Double.POSITIVE_INFINITY, Double.NEGATIVE_INFINITY})
  void aNumberThatIsNotFiniteIsRefused(double bad) throws IOException {
    try (MetricsLog log = new MetricsLog(file)) {
      assertThatIllegalArgumentException()
          .isThrownBy(() -> log.append(line(1, bad)))
          .withMessage("'loss' is " + bad + "; expected a finite number");
      JsonArray list = new JsonArray();
      list.add(bad);
      JsonObject nested = new JsonObject();
      nested.add("list", list);
      assertThatIllegalArgumentException()
          .isThrownBy(() -> log.append(nested))
          .withMessageStartingWith("'list' is ");
    }
    assertThat(file).isEmptyFile();
  }

  @Test
  void cutsBackToAStep() throws IOException {
    try (MetricsLog log = new MetricsLog(file)) {
      for (int step = 1; step <= 5; step++) {
        log.append(line(step, step));
      }
    }
    String kept = String.join("\n", Files.readAllLines(file).subList(0, 3)) + "\n";
    Files.writeString(file, Files.readString(file) + "{\"step\":6,\"lo");
    MetricsLog.cutBack(file, 3, false);
    assertThat(file).hasContent(kept);
    assertThat(dir.toFile().list()).containsExactly("metrics.jsonl");
    try (MetricsLog log = new MetricsLog(file)) {
      log.append(line(4, 4));
    }
    assertThat(Files.readAllLines(file)).hasSize(4);
    MetricsLog.cutBack(file, 0, false);
    assertThat(file).isEmptyFile();
  }

  @Test
  void aTornLastLineGoesInEveryShape() throws IOException {
    byte[] good = "{\"step\":1,\"loss\":2.0}\n".getBytes(StandardCharsets.UTF_8);
    for (String torn :
        List.of("{", "{\"step\":2", "\0\0\0", "\0\0\n", "{\"step\":2}x\n", "\u00fc")) {
      byte[] tail = torn.getBytes(StandardCharsets.UTF_8);
      byte[] bytes = Arrays.copyOf(good, good.length + tail.length);
      System.arraycopy(tail, 0, bytes, good.length, tail.length);
      Files.write(file, bytes);
      MetricsLog.cutBack(file, 10, false);
      assertThat(Files.readAllBytes(file)).as(torn).isEqualTo(good);
    }
    // Half of a character.
    byte[] bytes = Arrays.copyOf(good, good.length + 1);
    bytes[good.length] = (byte) 0xC3;
    Files.write(file, bytes);
    MetricsLog.cutBack(file, 10, false);
    assertThat(Files.readAllBytes(file)).isEqualTo(good);
  }

  @Test
  void aWholeLastLineWithoutItsEndStays() throws IOException {
    Files.writeString(file, "{\"step\":1}\n{\"step\":2}");
    MetricsLog.cutBack(file, 2, false);
    assertThat(Files.readString(file)).isEqualTo("{\"step\":1}\n{\"step\":2}\n");
  }

  @Test
  void aFileWithNothingToDropIsLeftAlone() throws IOException {
    MetricsLog.cutBack(file, 3, false);
    assertThat(file).doesNotExist();
    Files.writeString(file, "{\"step\":1}\n");
    Object before = Files.readAttributes(file, BasicFileAttributes.class).fileKey();
    MetricsLog.cutBack(file, 1, false);
    assertThat(Files.readAttributes(file, BasicFileAttributes.class).fileKey()).isEqualTo(before);
  }

  @Test
  void missingLinesAreNamedWhereThereMustBeOneForEachStep() throws IOException {
    String advice = "; restore the file, or delete it to go on without the earlier ones";
    for (String line : List.of("{\"step\":1}\n{\"step\":3}\n", "{\"step\":1}\n{\"step\":1}\n")) {
      Files.writeString(file, line);
      assertThatThrownBy(() -> MetricsLog.cutBack(file, 3, true))
          .isInstanceOf(LlaraException.class)
          .hasMessageStartingWith(file + ": lines are missing: step ")
          .hasMessageEndingWith(" follows step 1" + advice);
    }
    for (String shortened : List.of("", "{\"step\":1}\n{\"step\":2}\n{\"st")) {
      Files.writeString(file, shortened);
      assertThatThrownBy(() -> MetricsLog.cutBack(file, 3, true))
          .isInstanceOf(LlaraException.class)
          .hasMessageContaining("; the run is at step 3" + advice);
      assertThat(file).hasContent(shortened);
    }
    // As it goes on after the file was deleted.
    Files.writeString(file, "{\"step\":4}\n{\"step\":5}\n{\"step\":6}\n");
    MetricsLog.cutBack(file, 5, true);
    assertThat(file).hasContent("{\"step\":4}\n{\"step\":5}\n");
    Files.delete(file);
    MetricsLog.cutBack(file, 5, true);
    assertThat(file).doesNotExist();
  }

  @Test
  void aBadLineBeforeTheLastIsNamed() throws IOException {
    Files.writeString(file, "{\"step\":1}\n{\"loss\":1}\n{\"step\":3}\n");
    assertThatThrownBy(() -> MetricsLog.cutBack(file, 3, false))
        .isInstanceOf(LlaraException.class)
        .hasMessage(file + ":2: key 'step' is missing; expected a whole number");
  }

  @Test
  void aTornFileIsNotAddedTo() throws IOException {
    Files.writeString(file, "{\"step\":1}\n{\"st");
    assertThatThrownBy(() -> new MetricsLog(file))
        .isInstanceOf(LlaraException.class)
        .hasMessageStartingWith(file + ": the last line is torn");
    assertThatThrownBy(() -> new MetricsLog(dir.resolve("none/metrics.jsonl")))
        .isInstanceOf(LlaraException.class)
        .hasMessageContaining("cannot be written");
  }

  @Test
  void useAfterCloseIsRefused() {
    MetricsLog log = new MetricsLog(file);
    log.close();
    log.close();
    assertThatIllegalStateException().isThrownBy(() -> log.append(line(1, 1)));
  }

  private static JsonObject line(long step, double loss) {
    JsonObject json = new JsonObject();
    json.addProperty("step", step);
    json.addProperty("loss", loss);
    json.add("self_loss", JsonNull.INSTANCE);
    return json;
  }
}
