package io.llara.train.pretrain;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.within;

import com.google.common.primitives.Ints;
import io.llara.ComputeType;
import io.llara.checkpoint.CheckpointDirectory;
import io.llara.checkpoint.LlamaTensors;
import io.llara.engine.EncodingEngine;
import io.llara.engine.EngineBuilder;
import io.llara.prompt.Prompt;
import io.llara.prompt.PromptBuilder;
import io.llara.testing.MarkedStories;
import io.llara.train.data.Collator;
import io.llara.train.data.Example;
import io.llara.train.optim.AdamW;
import io.llara.train.testing.TinyLlama;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The replay of golden cases in llara-examples compares its numbers with the reference. */
class AdaptationStepsTest {
  private static final int POSITIONS = 64;
  private static final PromptBuilder PROMPTS =
      PromptBuilder.ofIds(
          new int[] {1, 300}, new int[] {301, 512, 513}, new int[] {302, 514, 515}, 2);
  private static final List<Example> EXAMPLES =
      List.of(
          example(new int[] {310, 320, 330, 340}, new int[] {320, 340}, new int[] {400, 410}),
          example(new int[] {350, 360}, new int[] {}, new int[] {420}));

  @TempDir private Path folder;
  private Path model;

  private static Example example(int[] text, int[] self, int[] next) {
    return Collator.fromIds(
        PROMPTS,
        text,
        Ints.concat(new int[] {1}, self),
        Ints.concat(new int[] {1}, next),
        POSITIONS);
  }

  @BeforeEach
  void writeModel() {
    model = MarkedStories.write(folder.resolve("model"));
  }

  private AdaptationSteps steps(boolean recompute) {
    return new AdaptationSteps(
        TinyLlama.trained(model, true), Recipe.RELEASED, AdamW.Settings.DEFAULT, recompute);
  }

  @Test
  void hiddenStatesAreThoseOfTheEncodingEngine() {
    List<Prompt> prompts = EXAMPLES.stream().map(Example::prompt).toList();
    EngineBuilder options =
        EncodingEngine.builder()
            .computeType(ComputeType.FLOAT32)
            .threads(1)
            .batchTokens(256)
            .maxTokens(POSITIONS);
    try (AdaptationSteps steps = steps(false);
        EncodingEngine engine = options.open(CheckpointDirectory.open(model))) {
      float[] ours = steps.hiddenStates(EXAMPLES);
      int at = 0;
      for (float[] expected : engine.hiddenStates(prompts)) {
        for (float value : expected) {
          assertThat(ours[at++]).isEqualTo(value, within(1e-4f));
        }
      }
      assertThat(ours).hasSize(at);
    }
  }

  @Test
  void gradientsHaveTheShapesAndTheLengthThatAreToldAndCanBeClipped() {
    try (AdaptationSteps steps = steps(false)) {
      steps.run(EXAMPLES, 1);
      double norm = steps.gradientNorm();
      Map<String, float[]> before = steps.gradients();
      steps
          .shapes()
          .forEach(
              (name, shape) ->
                  assertThat((long) before.get(name).length)
                      .isEqualTo(shape.length == 1 ? shape[0] : shape[0] * shape[1]));
      assertThat(before).hasSameSizeAs(steps.shapes());
      assertThat(norm(before)).isEqualTo(norm, within(1e-4 * norm));

      steps.clip(2 * norm);
      assertThat(steps.gradients().get(LlamaTensors.FINAL_NORM))
          .isEqualTo(before.get(LlamaTensors.FINAL_NORM));
      steps.clip(norm / 4);
      assertThat(norm(steps.gradients())).isEqualTo(norm / 4, within(1e-4 * norm));
      assertThatIllegalArgumentException().isThrownBy(() -> steps.clip(0));
    }
  }

  @Test
  void updatesLowerTheLossTheSameWithLayersRunAgain() {
    try (AdaptationSteps kept = steps(false);
        AdaptationSteps again = steps(true)) {
      double first = kept.run(EXAMPLES, 1).get("loss");
      assertThat(again.run(EXAMPLES, 1).get("loss")).isEqualTo(first, within(1e-6));
      for (int i = 0; i < 5; i++) {
        kept.update(1e-3);
        again.update(1e-3);
        assertThat(again.run(EXAMPLES, 1).get("loss"))
            .isEqualTo(kept.run(EXAMPLES, 1).get("loss"), within(1e-6));
      }
      assertThat(kept.run(EXAMPLES, 1).get("loss")).isLessThan(first - 0.1);
    }
  }

  private static double norm(Map<String, float[]> gradients) {
    double squares = 0;
    for (float[] gradient : gradients.values()) {
      for (float value : gradient) {
        squares += (double) value * value;
      }
    }
    return Math.sqrt(squares);
  }
}
