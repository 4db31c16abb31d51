package io.llara.train.run;

import io.llara.Internal;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * Where a run is; tensors come beside it. Learning rate and random state follow from the settings
 * and the step.
 *
 * @param step how many steps are done
 * @param position how many texts of the shuffled stream are consumed
 * @param settings the settings of the run, in order
 * @param version the version of the library that wrote it
 */
@Internal
public record TrainingState(
    long step, long position, Map<String, String> settings, String version) {
  /**
   * Checks the values and copies the settings.
   *
   * @throws IllegalArgumentException if a number is below 0
   */
  public TrainingState {
    if (step < 0 || position < 0) {
      throw new IllegalArgumentException(
          "step is %d and position %d; expected 0 or more".formatted(step, position));
    }
    settings = Collections.unmodifiableMap(new LinkedHashMap<>(settings));
  }
}
