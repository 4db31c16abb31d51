package io.llara.train;

import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * What one step did.
 *
 * @param step its number, from 1
 * @param totalSteps how many steps the run has
 * @param terms the loss and its terms by name, before the step's update; a term that nothing in the
 *     batch had is absent
 * @param learningRate the learning rate
 * @param gradientNorm the length of the gradient before clipping
 * @param tokens the tokens in the step's prompts, of all processes
 * @param seconds how long it took
 */
public record StepReport(
    long step,
    long totalSteps,
    Map<String, Double> terms,
    double learningRate,
    double gradientNorm,
    long tokens,
    double seconds) {
  /** Copies the map, order kept. */
  public StepReport {
    terms = Collections.unmodifiableMap(new LinkedHashMap<>(terms));
  }

  /** Returns the loss. */
  public double loss() {
    return terms.getOrDefault("loss", Double.NaN);
  }
}
