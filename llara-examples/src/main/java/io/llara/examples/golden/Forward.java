package io.llara.examples.golden;

import io.llara.Mode;
import io.llara.checkpoint.SafetensorsFile;
import io.llara.engine.EncodingEngine;
import io.llara.prompt.Prompt;
import java.util.ArrayList;
import java.util.List;

/** What the engine makes of the prompts of a case, against the tensors of the case. */
record Forward(EncodingEngine engine, SafetensorsFile tensors, GoldenJson names, Judge judge) {

  /** Compares the hidden states of real tokens; returns ours, one array a prompt. */
  List<float[]> hiddenStates(String key, GoldenRows rows, List<Prompt> prompts) {
    int hidden = engine.config().hiddenSize();
    double[] expected = read(key, rows.batch(), rows.width(), hidden);
    List<float[]> actual = engine.hiddenStates(prompts);
    judge.numbers(
        key, Vectors.concatenate(actual), rows.realRows(expected, hidden), Tolerances.HIDDEN_STATE);
    return actual;
  }

  /** Compares the pooled vectors of a mode, as they are and scaled to length 1. */
  void embeddings(String rawKey, String unitKey, Mode mode, List<Prompt> prompts) {
    int hidden = engine.config().hiddenSize();
    List<float[]> raw = new ArrayList<>();
    List<float[]> unit = new ArrayList<>();
    engine
        .encode(prompts)
        .forEach(
            pooled -> {
              raw.add(pooled.get(mode));
              unit.add(Vectors.unit(pooled.get(mode)));
            });
    judge.numbers(
        rawKey,
        Vectors.concatenate(raw),
        read(rawKey, prompts.size(), hidden),
        Tolerances.RAW_EMBEDDING);
    judge.unitVectors(
        unitKey, Vectors.concatenate(unit), read(unitKey, prompts.size(), hidden), hidden);
  }

  double[] read(String key, long... shape) {
    return GoldenFile.read(tensors, names.string(key), shape);
  }
}
