package io.llara.examples.golden;

import com.google.common.primitives.Floats;
import io.llara.Mode;
import io.llara.engine.EncodingEngine;
import io.llara.prompt.Prompt;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * What the engine makes of the prompts of a case, against the tensors of the case.
 *
 * @param file holds the tensors
 * @param names maps keys to names of tensors
 * @param engine runs the prompts
 * @param comparison takes the results
 */
record ForwardComparison(
    GoldenFile file, GoldenJson names, EncodingEngine engine, Comparison comparison) {

  /** Compares the hidden states of real tokens; returns ours, one array a prompt. */
  List<float[]> hiddenStates(PaddedRows rows, List<Prompt> prompts) {
    String key = "last_hidden_state";
    int hidden = engine.config().hiddenSize();
    double[] expected = file.tensor(names, key, rows.count(), rows.width(), hidden);
    List<float[]> actual = engine.hiddenStates(prompts);
    comparison.rounded(
        key, concat(actual), rows.realRows(expected, hidden), Tolerance.HIDDEN_STATE);
    return actual;
  }

  /** Compares the pooled vectors of a mode, as they are and scaled to length 1. */
  void embeddings(String rawKey, String unitKey, Mode mode, List<Prompt> prompts) {
    int hidden = engine.config().hiddenSize();
    List<float[]> raw = new ArrayList<>();
    engine.encode(prompts).forEach(pooled -> raw.add(pooled.get(mode)));
    List<float[]> unit = raw.stream().map(ForwardComparison::unit).toList();
    comparison.rounded(
        rawKey,
        concat(raw),
        file.tensor(names, rawKey, prompts.size(), hidden),
        Tolerance.RAW_EMBEDDING);
    comparison.unitVectors(
        unitKey, concat(unit), file.tensor(names, unitKey, prompts.size(), hidden), hidden);
  }

  /** Compares the logits after the last token of each prompt. */
  void lastLogits(List<float[]> hiddenStates) {
    String key = "last_logits";
    int hidden = engine.config().hiddenSize();
    List<float[]> last =
        hiddenStates.stream()
            .map(states -> Arrays.copyOfRange(states, states.length - hidden, states.length))
            .toList();
    comparison.rounded(
        key,
        engine.logits(concat(last)),
        file.tensor(names, key, last.size(), engine.config().vocabularySize()),
        Tolerance.LOGITS);
  }

  private static float[] concat(List<float[]> vectors) {
    return Floats.concat(vectors.toArray(float[][]::new));
  }

  /** Returns the vector scaled to length 1; NaN where its length is 0. */
  private static float[] unit(float[] vector) {
    double squares = 0;
    for (float value : vector) {
      squares += (double) value * value;
    }
    double scale = 1 / Math.sqrt(squares);
    float[] unit = new float[vector.length];
    for (int i = 0; i < unit.length; i++) {
      unit[i] = (float) (vector[i] * scale);
    }
    return unit;
  }
}
