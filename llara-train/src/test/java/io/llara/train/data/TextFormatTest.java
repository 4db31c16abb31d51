package io.llara.train.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.google.common.base.Strings;
import io.llara.LlaraException;
import io.llara.io.LineReader;
import io.llara.train.data.LineFormat.Line;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Optional;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class TextFormatTest {
  private static final TextFormat FORMAT =
      new TextFormat(
          Optional.of(new PassageSplitter(String::length, 1000)), Optional.empty(), true);

  private static Line<TrainingText> parse(String json) {
    return parse(json.getBytes(StandardCharsets.UTF_8));
  }

  private static Line<TrainingText> parse(byte[] bytes) {
    try (LineReader lines = new LineReader("here", () -> new ByteArrayInputStream(bytes))) {
      lines.advance();
      return FORMAT.read(lines);
    }
  }

  private static String text(Line<TrainingText> line) {
    return line.examples().get().get(0).text();
  }

  @Test
  void readsBothForms() {
    String pair = "{\"input\":\"T\",\"output_summarize\":\"s\",\"output_predict\":\"\"}";
    assertThat(text(parse(pair))).isEqualTo("T");
    assertThat(text(parse("{\"id\":\"e1\",\"title\":\"x\",\"text\":\"A.\\nB.\"}")))
        .isEqualTo("A. B.");
    assertThat(text(parse(" {\"text\":\"caf\u00e9\"}\r"))).isEqualTo("caf\u00e9");
  }

  @Test
  void readsIdsOfSeveralTypesAndPassesOverOtherKeys() {
    assertThat(parse("{\"id\":12,\"text\":\"x\",\"meta\":{\"a\":[1,null,true]}}").splitKey())
        .isEqualTo("12");
    assertThat(parse("{\"id\":null,\"title\":7,\"text\":\"x\"}").splitKey()).isEqualTo("x");
    assertThat(parse("{\"id\":\"\",\"text\":\"x\"}").splitKey()).isEqualTo("x");
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "'' | is blank",
        "' ' | is blank",
        "text | is not valid JSON",
        "{\"text\":\"x\" | is not valid JSON",
        "{\"text\":\"x | is not valid JSON",
        "{'text':\"x\"} | is not valid JSON",
        "{\"text\":\"x\"} {} | is not valid JSON: unexpected character at character 15",
        "[\"x\"] | holds a list; expected a JSON object",
        "\"x\" | holds the string 'x'; expected",
        "3 | holds 3; expected",
        "null | holds null; expected",
        "{} | key 'text' is missing; expected a document's text, or 'input'",
        "{\"query\":\"x\",\"pos\":[\"y\"]} | key 'text' is missing",
        "{\"input\":\"x\",\"text\":\"y\"} | key 'text' is there beside 'input'",
        "{\"text\":7} | key 'text' is 7; expected a string",
        "{\"text\":null} | key 'text' is missing; expected a string",
        "{\"text\":[\"x\"]} | key 'text' is a list; expected a string",
        "{\"text\":true} | key 'text' is true; expected a string",
        "{\"id\":{},\"text\":\"x\"} | key 'id' is an object",
        "{\"text\":\"\"} | key 'text' is blank",
        "{\"text\":\" \\n\"} | key 'text' is blank",
        "{\"text\":\"x\",\"text\":\"y\"} | the key 'text' occurs twice",
        "{\"text\":\"a\\ud83d\"} | half of a surrogate pair",
        "{\"input\":\"x\",\"output_predict\":\"y\"} | key 'output_summarize' is missing",
        "{\"input\":\"x\",\"output_summarize\":\"y\"} | key 'output_predict' is missing",
        "{\"input\":\" \",\"output_summarize\":\"\",\"output_predict\":\"\"} | key 'input' is blank",
        "{\"input\":\"x\",\"output_summarize\":1,\"output_predict\":\"\"} | key 'output_summarize' is 1; expected a string",
      })
  void refusesOtherLines(String line, String reason) {
    assertThatThrownBy(() -> parse(line))
        .isInstanceOf(LlaraException.class)
        .hasMessageContaining(reason);
  }

  @Test
  void refusesBytesThatAreNoText() {
    byte[] latin = "{\"text\":\"\u00fcber\"}".getBytes(StandardCharsets.ISO_8859_1);

    assertThatThrownBy(() -> parse(latin))
        .isInstanceOf(LlaraException.class)
        .hasMessage("here:1: is not UTF-8 text");
  }

  @Test
  void refusesDeepNestingWithoutDescending() {
    String deep = "{\"x\":" + Strings.repeat("[", 100_000) + "}";

    assertThatThrownBy(() -> parse(deep)).isInstanceOf(LlaraException.class);
  }

  @Test
  void messagesAreOneShortLineWithoutGsonsAdvice() {
    assertThatThrownBy(() -> parse("{\"text\": nothing \u0007}"))
        .satisfies(
            e ->
                assertThat(e.getMessage())
                    .doesNotContain("Strictness", "line 1", "\n")
                    .hasSizeLessThan(250));
  }

  /** Damaged lines parse or fail in words, whatever the damage. */
  @Test
  void damagedLinesFailInWords() {
    byte[] whole =
        DataFiles.pair("A text\u00e9 \"quoted\"", "words", "more words")
            .getBytes(StandardCharsets.UTF_8);
    Random random = new Random(11);
    int refused = 0;
    for (int i = 0; i < 20_000; i++) {
      byte[] line = whole.clone();
      for (int changes = 1 + random.nextInt(3); changes > 0; changes--) {
        line[random.nextInt(line.length)] = (byte) random.nextInt(256);
      }
      try {
        assertThat(text(parse(line))).isNotBlank();
      } catch (LlaraException e) {
        assertThat(e.getMessage()).isNotBlank();
        refused++;
      }
    }
    assertThat(refused).isBetween(5_000, 19_999);
  }

  @Test
  void splitFollowsTheIdAndElseTheText() {
    for (int i = 0; i < 50; i++) {
      assertThat(parse(DataFiles.document("d" + i, "One text.")).splitKey()).isEqualTo("d" + i);
      assertThat(parse(DataFiles.pair("text " + i, "a", "b")).splitKey()).isEqualTo("text " + i);
    }
  }

  @Test
  void splitHoldsOutItsFractionAndGrowsWithIt(@TempDir Path dir) throws IOException {
    Dataset<TrainingText> all = DataFiles.texts(DataFiles.pairs(dir.resolve("a.jsonl"), 1));
    Dataset<TrainingText> few = all.heldOut(0.02, true);
    Dataset<TrainingText> many = all.heldOut(0.3, true);
    int small = 0;
    int large = 0;
    for (int i = 0; i < 20_000; i++) {
      String key = "enwiki-" + i;
      small += few.holds(key) ? 1 : 0;
      large += many.holds(key) ? 1 : 0;
      assertThat(!few.holds(key) || many.holds(key)).isTrue();
      assertThat(all.holds(key)).isTrue();
      assertThat(all.heldOut(0.3, false).holds(key)).isNotEqualTo(many.holds(key));
    }
    // Five standard deviations of a binomial.
    assertThat(small).isBetween(300, 500);
    assertThat(large).isBetween(5_675, 6_325);
  }
}
