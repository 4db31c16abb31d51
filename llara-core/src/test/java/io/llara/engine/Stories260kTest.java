package io.llara.engine;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import com.google.gson.JsonArray;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import io.llara.ComputeType;
import io.llara.checkpoint.CheckpointDirectory;
import io.llara.prompt.Prompt;
import io.llara.testing.Stories;
import io.llara.tokenize.Tokenizer;
import java.io.Reader;
import java.nio.file.Files;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** A real pretrained LLaMA against values computed from it in float64 ({@code expected.json}). */
class Stories260kTest {
  private static JsonObject expected;
  private static EncodingEngine engine;
  private static Tokenizer tokenizer;

  @BeforeAll
  static void open() throws Exception {
    try (Reader reader = Files.newBufferedReader(Stories.dir().resolve("expected.json"))) {
      expected = JsonParser.parseReader(reader).getAsJsonObject();
    }
    tokenizer = Tokenizer.load(Stories.dir());
    engine =
        EncodingEngine.builder()
            .computeType(ComputeType.FLOAT32)
            .open(CheckpointDirectory.open(Stories.dir()));
  }

  @AfterAll
  static void close() {
    engine.close();
    tokenizer.close();
  }

  @Test
  void reproducesIdsCrossEntropyAndHiddenState() {
    JsonArray cases = expected.getAsJsonArray("cases");
    assertThat(cases).hasSize(4);
    for (var element : cases) {
      JsonObject one = element.getAsJsonObject();
      int[] ids = ints(one.getAsJsonArray("input_ids"));
      assertThat(concat(tokenizer.bosIds(), tokenizer.encodeText(one.get("text").getAsString())))
          .containsExactly(ids);

      float[] states = engine.hiddenStates(List.of(Prompt.plain(ids))).get(0);
      int hidden = engine.config().hiddenSize();
      double[] last = doubles(one.getAsJsonArray("last_hidden_after_final_norm"));
      for (int i = 0; i < last.length; i++) {
        assertThat((double) states[(ids.length - 1) * hidden + i]).isCloseTo(last[i], within(1e-4));
      }
      assertThat(meanCrossEntropy(engine.logits(states), ids))
          .isCloseTo(one.get("mean_next_token_cross_entropy").getAsDouble(), within(1e-5));
    }
  }

  @Test
  void continuesGreedilyAsExpected() {
    int[] greedy = ints(expected.getAsJsonArray("greedy_ids_from_bos"));
    int hidden = engine.config().hiddenSize();
    int[] ids = {greedy[0]};
    while (ids.length < greedy.length) {
      float[] states = engine.hiddenStates(List.of(Prompt.plain(ids))).get(0);
      float[] last = Arrays.copyOfRange(states, (ids.length - 1) * hidden, ids.length * hidden);
      ids = concat(ids, argMax(engine.logits(last)));
    }
    assertThat(ids).containsExactly(greedy);
  }

  private static double meanCrossEntropy(float[] logits, int[] ids) {
    int vocabulary = engine.config().vocabularySize();
    double sum = 0;
    for (int row = 0; row < ids.length - 1; row++) {
      double max = Double.NEGATIVE_INFINITY;
      for (int i = 0; i < vocabulary; i++) {
        max = Math.max(max, logits[row * vocabulary + i]);
      }
      double total = 0;
      for (int i = 0; i < vocabulary; i++) {
        total += Math.exp(logits[row * vocabulary + i] - max);
      }
      sum += Math.log(total) + max - logits[row * vocabulary + ids[row + 1]];
    }
    return sum / (ids.length - 1);
  }

  private static int argMax(float[] values) {
    int best = 0;
    for (int i = 1; i < values.length; i++) {
      best = values[i] > values[best] ? i : best;
    }
    return best;
  }

  private static int[] concat(int[] head, int... tail) {
    int[] all = Arrays.copyOf(head, head.length + tail.length);
    System.arraycopy(tail, 0, all, head.length, tail.length);
    return all;
  }

  private static int[] ints(JsonArray array) {
    return array.asList().stream().mapToInt(e -> e.getAsInt()).toArray();
  }

  private static double[] doubles(JsonArray array) {
    return array.asList().stream().mapToDouble(e -> e.getAsDouble()).toArray();
  }
}
