package io.llara.examples.golden;

import com.google.gson.JsonObject;
import io.llara.engine.EncodingEngine;
import io.llara.model.RotaryEmbedding;
import io.llara.prompt.Prompt;
import java.util.List;
import java.util.Optional;
import java.util.stream.IntStream;

/**
 * A case of {@code gqa.json}: plain causal sequences on a checkpoint with grouped-query attention,
 * with the checkpoint's rotary scaling or another. Compared are the hidden states, the logits of
 * the last position and the rotary frequencies.
 */
record GqaCase(GoldenFile file, GoldenJson json) implements GoldenCase.Replay {

  @Override
  public Comparison run(ReplayEngines engines) {
    PaddedRows rows = PaddedRows.read(json);
    List<Prompt> prompts =
        IntStream.range(0, rows.count()).mapToObj(row -> Prompt.plain(rows.tokens(row))).toList();
    Comparison comparison = Comparison.ofForward(engines.computeType());
    EncodingEngine engine = engines.engine(request());
    ForwardComparison forward =
        new ForwardComparison(file, json.object("tensors"), engine, comparison);
    forward.lastLogits(forward.hiddenStates(rows, prompts));
    compareFrequencies(engine, comparison);
    return comparison;
  }

  private ReplayEngines.Request request() {
    String key = "config_override";
    Optional<JsonObject> override =
        json.has(key) ? Optional.of(json.object(key).json()) : Optional.empty();
    return new ReplayEngines.Request(
        file.beside("llama-gqa"), Optional.empty(), override, file.longestRow());
  }

  private void compareFrequencies(EncodingEngine engine, Comparison comparison) {
    String key = "inv_freq";
    Optional<String> rope = json.optionalString("rope");
    if (rope.isPresent() && file.json().has(key) && file.json().object(key).has(rope.get())) {
      double[] actual = RotaryEmbedding.inverseFrequencies(engine.config());
      double[] expected = file.tensor(file.json().object(key), rope.get(), actual.length);
      comparison.exact(key, actual, expected, Tolerance.INVERSE_FREQUENCY);
    }
  }
}
