package io.llara.train.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.google.common.base.Strings;
import io.llara.train.data.DataLine.Targets;
import java.nio.charset.StandardCharsets;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class DataLineTest {
  private static DataLine parse(String json) throws BadLineException {
    return DataLine.parse(json.getBytes(StandardCharsets.UTF_8));
  }

  @Test
  void readsBothForms() throws BadLineException {
    assertThat(parse("{\"input\":\"T\",\"output_summarize\":\"s\",\"output_predict\":\"\"}"))
        .isEqualTo(new DataLine("T", new Targets("s", ""), null));
    assertThat(parse("{\"id\":\"e1\",\"title\":\"x\",\"text\":\"A.\\nB.\"}"))
        .isEqualTo(new DataLine("A.\nB.", null, "e1"));
    assertThat(parse(" {\"text\":\"caf\u00e9\"}\r"))
        .isEqualTo(new DataLine("caf\u00e9", null, null));
  }

  @Test
  void readsIdsOfSeveralTypesAndPassesOverOtherKeys() throws BadLineException {
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
        "text | is not JSON",
        "{\"text\":\"x\" | is not JSON",
        "{\"text\":\"x | is not JSON",
        "{'text':\"x\"} | is not JSON",
        "{\"text\":\"x\"} {} | is not JSON: malformed at character 15",
        "[\"x\"] | is a list; expected a JSON object",
        "\"x\" | is a string; expected",
        "3 | is a number; expected",
        "null | is null; expected",
        "{} | has neither \"input\" nor \"text\"",
        "{\"query\":\"x\",\"pos\":[\"y\"]} | has neither",
        "{\"input\":\"x\",\"text\":\"y\"} | has both",
        "{\"text\":7} | \"text\" is a number; expected a string",
        "{\"text\":null} | \"text\" is null; expected a string",
        "{\"text\":[\"x\"]} | \"text\" is a list; expected a string",
        "{\"text\":true} | \"text\" is true or false",
        "{\"id\":{},\"text\":\"x\"} | \"id\" is an object",
        "{\"text\":\"\"} | \"text\" is blank",
        "{\"text\":\" \\n\"} | \"text\" is blank",
        "{\"text\":\"x\",\"text\":\"y\"} | has \"text\" twice",
        "{\"text\":\"a\\ud83d\"} | half of a surrogate pair",
        "{\"input\":\"x\",\"output_predict\":\"y\"} | no \"output_summarize\"",
        "{\"input\":\"x\",\"output_summarize\":\"y\"} | no \"output_predict\"",
        "{\"input\":\" \",\"output_summarize\":\"\",\"output_predict\":\"\"} | \"input\" is blank",
        "{\"input\":\"x\",\"output_summarize\":1,\"output_predict\":\"\"} | is a number",
      })
  void refusesOtherLines(String line, String reason) {
    assertThatThrownBy(() -> parse(line))
        .isInstanceOf(BadLineException.class)
        .hasMessageContaining(reason);
  }

  @Test
  void refusesBytesThatAreNoText() {
    byte[] latin = "{\"text\":\"\u00fcber\"}".getBytes(StandardCharsets.ISO_8859_1);

    assertThatThrownBy(() -> DataLine.parse(latin))
        .isInstanceOf(BadLineException.class)
        .hasMessage("is not UTF-8 text");
  }

  @Test
  void refusesDeepNestingWithoutDescending() {
    String deep = "{\"x\":" + Strings.repeat("[", 100_000) + "}";

    assertThatThrownBy(() -> parse(deep)).isInstanceOf(BadLineException.class);
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
        assertThat(DataLine.parse(line).text()).isNotBlank();
      } catch (BadLineException e) {
        assertThat(e.getMessage()).isNotBlank();
        refused++;
      }
    }
    assertThat(refused).isBetween(5_000, 19_999);
  }

  @Test
  void splitFollowsTheIdAndElseTheText() throws BadLineException {
    for (int i = 0; i < 50; i++) {
      boolean side = parse(DataFiles.document("d" + i, "One text.")).isHeldOut(0.5);
      assertThat(parse(DataFiles.document("d" + i, "Another.")).isHeldOut(0.5)).isEqualTo(side);
      String pair = DataFiles.pair("text " + i, "a", "b");
      assertThat(parse(pair).isHeldOut(0.5))
          .isEqualTo(parse("{\"text\":\"text " + i + "\"}").isHeldOut(0.5));
    }
  }

  @Test
  void splitHoldsOutItsFractionAndGrowsWithIt() throws BadLineException {
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
