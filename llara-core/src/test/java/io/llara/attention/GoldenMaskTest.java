package io.llara.attention;

import static org.assertj.core.api.Assertions.assertThat;

import com.google.gson.Gson;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import io.llara.Mode;
import io.llara.prompt.Prompt;
import io.llara.prompt.PromptBuilder;
import io.llara.prompt.TokenRange;
import io.llara.testing.Shared;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;

/** Replays the prompts and masks of the reference implementation; see golden/README.md. */
class GoldenMaskTest {
  private static final Gson GSON = new Gson();

  @TestFactory
  Stream<DynamicTest> promptAndMaskEqualTheReference() throws IOException {
    return cases().stream()
        .map(c -> DynamicTest.dynamicTest(c.get("name").getAsString(), () -> replay(c)));
  }

  @Test
  void someCasesOfEveryRecipeHaveVisibilityStrings() throws IOException {
    List<String> recipes =
        cases().stream()
            .filter(c -> c.has("visibility"))
            .map(c -> c.get("recipe").getAsString())
            .distinct()
            .toList();

    assertThat(cases()).hasSize(63);
    assertThat(recipes).containsExactlyInAnyOrder("llara", "paper", "uneven");
  }

  private static List<JsonObject> cases() throws IOException {
    Path file = Shared.require().resolve("golden").resolve("encode.json");
    List<JsonObject> cases = new ArrayList<>();
    for (JsonElement c :
        JsonParser.parseString(Files.readString(file)).getAsJsonObject().getAsJsonArray("cases")) {
      cases.add(c.getAsJsonObject());
    }
    return cases;
  }

  private static void replay(JsonObject golden) {
    int pooled = golden.get("pooling").getAsString().equals("mean8") ? 8 : 1;
    PromptBuilder builder =
        PromptBuilder.ofIds(
            ints(golden.get("prefix_ids")),
            ints(golden.get("self_suffix_ids")),
            ints(golden.get("next_suffix_ids")),
            pooled);
    List<Prompt> prompts = new ArrayList<>();
    for (JsonElement textIds : golden.getAsJsonArray("text_ids")) {
      prompts.add(
          switch (golden.get("prompt").getAsString()) {
            case "SELF" -> builder.fromIds(ints(textIds), Mode.SELF);
            case "NEXT" -> builder.fromIds(ints(textIds), Mode.NEXT);
            default -> builder.jointFromIds(ints(textIds));
          });
    }
    int multipleOf = golden.get("pad_to_multiple_of").getAsInt();
    AttentionMask mask =
        AttentionMaskFactory.create(
            prompts, Layout.leftPadded(multipleOf).withPositionsCountingPadding());
    int[][] inputIds = GSON.fromJson(golden.get("input_ids"), int[][].class);
    int[][] attention = GSON.fromJson(golden.get("attention_mask"), int[][].class);
    int[][] positions = GSON.fromJson(golden.get("position_ids"), int[][].class);

    for (int i = 0; i < prompts.size(); i++) {
      int begin = mask.sequenceBegin(i);
      int width = mask.sequenceEnd(i) - begin;
      assertThat(slice(mask.rowIds(), begin, width)).isEqualTo(inputIds[i]);
      // A single sequence of one row is broadcast in the reference's positions.
      assertThat(slice(mask.positions(), begin, width))
          .isEqualTo(positions[Math.min(i, positions.length - 1)]);
      TokenRange tokens = mask.tokens(i);
      for (int column = 0; column < width; column++) {
        boolean real = begin + column >= tokens.begin() && begin + column < tokens.end();
        assertThat(attention[i][column]).isEqualTo(real ? 1 : 0);
      }
      assertThat(columns(mask, i, Mode.SELF)).isEqualTo(range(golden.get("self_columns")));
      assertThat(columns(mask, i, Mode.NEXT)).isEqualTo(range(golden.get("next_columns")));
    }
    if (golden.has("visibility")) {
      String[][] visibility = GSON.fromJson(golden.get("visibility"), String[][].class);
      for (int i = 0; i < prompts.size(); i++) {
        assertThat(mask.visibility(i)).isEqualTo(visibility[i]);
      }
    }
  }

  /** The pooled columns within the padded row, or none. */
  private static List<Integer> columns(AttentionMask mask, int sequence, Mode mode) {
    TokenRange rows = mask.pooled(sequence, mode);
    int begin = mask.sequenceBegin(sequence);
    return rows.isEmpty() ? List.of() : List.of(rows.begin() - begin, rows.end() - begin);
  }

  private static List<Integer> range(JsonElement columns) {
    return columns.isJsonNull()
        ? List.of()
        : List.of(
            columns.getAsJsonArray().get(0).getAsInt(), columns.getAsJsonArray().get(1).getAsInt());
  }

  private static int[] ints(JsonElement list) {
    return GSON.fromJson(list, int[].class);
  }

  private static int[] slice(int[] from, int begin, int length) {
    return Arrays.copyOfRange(from, begin, begin + length);
  }
}
