package io.llara.train.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.google.common.base.Strings;
import io.llara.LlaraException;
import io.llara.io.LineReader;
import io.llara.train.data.DataLine.Targets;
import java.io.ByteArrayInputStream;
import java.nio.charset.StandardCharsets;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class DataLineTest {
  private static DataLine parse(String json) {
    return parse(json.getBytes(StandardCharsets.UTF_8));
  }

  private static DataLine parse(byte[] bytes) {
    try (LineReader lines = new LineReader("here", () -> new ByteArrayInputStream(bytes))) {
      lines.advance();
      return DataLine.of(lines.json());
    }
  }

  @Test
  void readsBothForms() {
    assertThat(parse("{\"input\":\"T\",\"output_summarize\":\"s\",\"output_predict\":\"\"}"))
        .isEqualTo(new DataLine("T", new Targets("s", ""), null));
    assertThat(parse("{\"id\":\"e1\",\"title\":\"x\",\"text\":\"A.\\nB.\"}"))
        .isEqualTo(new DataLine("A.\nB.", null, "e1"));
    assertThat(parse(" {\"text\":\"caf\u00e9\"}\r"))
        .isEqualTo(new DataLine("caf\u00e9", null, null));
  }

  @Test
  void readsIdsOfSeveralTypesAndPassesOverOtherKeys() {
    assertThat(parse("{\"id\":12,\"text\":\"x\",\"meta\":{\"a\":[1,null,true]}}").id())
        .isEqualTo("12");
    assertThat(parse("{\"id\":null,\"title\":7,\"text\":\"x\"}").id()).isNull();
    assertThat(parse("{\"id\":\"\",\"text\":\"x\"}").id()).isNull();
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
        assertThat(parse(line).text()).isNotBlank();
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
      boolean side = parse(DataFiles.document("d" + i, "One text.")).isHeldOut(0.5);
      assertThat(parse(DataFiles.document("d" + i, "Another.")).isHeldOut(0.5)).isEqualTo(side);
      String pair = DataFiles.pair("text " + i, "a", "b");
      assertThat(parse(pair).isHeldOut(0.5))
          .isEqualTo(parse("{\"text\":\"text " + i + "\"}").isHeldOut(0.5));
    }
  }

  @Test
  void splitHoldsOutItsFractionAndGrowsWithIt() {
    int small = 0;
    int large = 0;
    for (int i = 0; i < 20_000; i++) {
      DataLine line = parse(DataFiles.document("enwiki-" + i, "x"));
      small += line.isHeldOut(0.02) ? 1 : 0;
      large += line.isHeldOut(0.3) ? 1 : 0;
      assertThat(!line.isHeldOut(0.02) || line.isHeldOut(0.3)).isTrue();
      assertThat(line.isHeldOut(0)).isFalse();
    }
    // Five standard deviations of a binomial.
    assertThat(small).isBetween(300, 500);
    assertThat(large).isBetween(5_675, 6_325);
  }
}
