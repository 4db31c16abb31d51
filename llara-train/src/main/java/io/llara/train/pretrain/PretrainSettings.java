package io.llara.train.pretrain;

import io.llara.train.data.StopWords;
import io.llara.train.run.RunOptions;
import java.util.LinkedHashMap;
import java.util.Map;

/** What a {@link Pretrainer} was told, checked and with every default filled in. */
record PretrainSettings(
    RunOptions options,
    Recipe recipe,
    LossWeights weights,
    int microBatches,
    int maxTokens,
    int passageTokens,
    StopWords stopWords,
    boolean stripTargets,
    boolean visibleSelf) {

  /** Returns those of them that decide the numbers of a run, by name. */
  Map<String, String> deciding() {
    Map<String, String> values = new LinkedHashMap<>();
    values.put("recipe", recipe.spelled());
    values.put("weights", "%s %s %s".formatted(weights.token(), weights.self(), weights.next()));
    values.put("micro-batches", String.valueOf(microBatches));
    values.put("max tokens", String.valueOf(maxTokens));
    values.put("passage tokens", String.valueOf(passageTokens));
    values.put("strip targets", String.valueOf(stripTargets));
    values.put("stop words", String.valueOf(stopWords.words().hashCode()));
    values.put("visible self", String.valueOf(visibleSelf));
    return values;
  }
}
