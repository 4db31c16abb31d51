package io.llara.examples.golden;

import io.llara.LlaraException;
import io.llara.train.optim.AdamW;
import io.llara.train.run.TrainingSteps;
import java.util.Optional;

/**
 * The optimiser of a case.
 *
 * @param settings the optimiser's
 * @param learningRate the rate of every step
 * @param clip what longer gradients are scaled down to
 */
record GoldenOptimizer(AdamW.Settings settings, double learningRate, Optional<Double> clip) {

  static GoldenOptimizer read(GoldenJson json) {
    require(json, "name", "AdamW", json.string("name").startsWith("AdamW"));
    String schedule = json.optionalString("schedule").orElse("constant");
    require(json, "schedule", "constant", schedule.equals("constant"));
    return new GoldenOptimizer(
        new AdamW.Settings(
            json.number("beta1"),
            json.number("beta2"),
            json.number("eps"),
            json.number("weight_decay")),
        json.number("lr"),
        json.has("grad_clip") ? Optional.of(json.number("grad_clip")) : Optional.empty());
  }

  private static void require(GoldenJson json, String key, String expected, boolean met) {
    if (!met) {
      throw new LlaraException(
          "%s: %s is '%s'; only %s can be replayed"
              .formatted(json.where(), key, json.string(key), expected));
    }
  }

  /** Updates the parameters by the gradients of the last step. */
  void update(TrainingSteps training) {
    clip.ifPresent(training::clip);
    training.update(learningRate);
  }
}
