package io.llara.train.data;

import static org.assertj.core.api.Assertions.assertThat;

import com.google.common.primitives.Ints;
import com.google.gson.Gson;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import io.llara.prompt.PromptBuilder;
import io.llara.testing.Shared;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;

/** Compares the collator with the reference's data set and collator, from the same raw ids. */
class GoldenCollatorTest {
  private static final PromptBuilder BUILDER =
      PromptBuilder.ofIds(
          new int[] {1, 376},
          new int[] {
            9162, 19138, 675, 278, 2038, 13382, 2629, 9475, 3838, 29901, 29871, //
            32008, 32011, 32004, 32013, 32007, 32005, 32002, 32014
          },
          new int[] {
            9162, 8500, 278, 1494, 13382, 2629, 9475, 3838, 29901, 29871, //
            32000, 32009, 32012, 32001, 32010, 32003, 32006, 32015
          },
          8);
  private static final int IGNORED = -100;

  private static Stream<JsonObject> cases() throws IOException {
    Path file = Shared.require().resolve("golden/losses.json");
    JsonObject root = JsonParser.parseString(Files.readString(file)).getAsJsonObject();
    return StreamSupport.stream(root.getAsJsonArray("cases").spliterator(), false)
        .map(JsonElement::getAsJsonObject);
  }

  @Test
  void thereAreSevenCases() throws IOException {
    assertThat(cases()).hasSize(7);
  }

  @TestFactory
  Stream<DynamicTest> givesTheBatchOfTheReference() throws IOException {
    return cases()
        .map(
            golden ->
                DynamicTest.dynamicTest(golden.get("name").getAsString(), () -> check(golden)));
  }

  private static void check(JsonObject golden) {
    int[][] texts = rows(golden, "texts");
    int[][] self = rows(golden, "summarize_words");
    int[][] next = rows(golden, "predict_words");
    int cutoff = golden.get("cutoff_len").getAsInt();
    int multiple = golden.get("pad_to_multiple_of").getAsInt();
    Example[] examples = new Example[texts.length];
    for (int i = 0; i < texts.length; i++) {
      examples[i] =
          Collator.fromIds(
              BUILDER,
              texts[i],
              Ints.concat(new int[] {1}, self[i]),
              Ints.concat(new int[] {1}, next[i]),
              cutoff);
    }

    JsonObject batch = golden.getAsJsonObject("batch");
    int[][] ids = each(examples, example -> example.prompt().ids());
    int width = (longest(ids) + multiple - 1) / multiple * multiple;
    assertThat(padded(ids, 0, width)).isDeepEqualTo(rows(batch, "input_ids"));
    assertThat(padded(each(examples, GoldenCollatorTest::ones), 0, width))
        .isDeepEqualTo(rows(batch, "attention_mask"));
    assertThat(padded(each(examples, GoldenCollatorTest::labels), IGNORED, width))
        .isDeepEqualTo(rows(batch, "labels"));
    int[][] selfBags = each(examples, example -> example.selfTargets().toArray());
    int[][] nextBags = each(examples, example -> example.nextTargets().toArray());
    assertThat(padded(selfBags, 0, longest(selfBags)))
        .isDeepEqualTo(rows(batch, "output_summarize_ids"));
    assertThat(padded(nextBags, 0, longest(nextBags)))
        .isDeepEqualTo(rows(batch, "output_predict_ids"));
  }

  private static int[] ones(Example example) {
    int[] ones = new int[example.prompt().length()];
    Arrays.fill(ones, 1);
    return ones;
  }

  private static int[] labels(Example example) {
    int[] labels = new int[example.prompt().length()];
    Arrays.fill(labels, IGNORED);
    int[] text = example.prompt().textIds();
    System.arraycopy(text, 0, labels, example.prompt().prefixLength(), text.length);
    return labels;
  }

  private interface Row {
    int[] of(Example example);
  }

  private static int[][] each(Example[] examples, Row row) {
    return Arrays.stream(examples).map(row::of).toArray(int[][]::new);
  }

  private static int longest(int[][] rows) {
    return Arrays.stream(rows).mapToInt(row -> row.length).max().getAsInt();
  }

  private static int[][] padded(int[][] rows, int filler, int width) {
    int[][] padded = new int[rows.length][width];
    for (int i = 0; i < rows.length; i++) {
      int begin = width - rows[i].length;
      Arrays.fill(padded[i], 0, begin, filler);
      System.arraycopy(rows[i], 0, padded[i], begin, rows[i].length);
    }
    return padded;
  }

  private static int[][] rows(JsonObject object, String key) {
    return new Gson().fromJson(object.get(key), int[][].class);
  }
}
