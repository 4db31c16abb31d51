package io.llara.examples.golden;

import com.google.gson.JsonObject;
import io.llara.checkpoint.SafetensorsFile;
import io.llara.engine.EncodingEngine;
import io.llara.model.RotaryEmbedding;
import io.llara.prompt.Prompt;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.stream.IntStream;

/**
 * A case of {@code gqa.json}: plain causal sequences on a checkpoint with grouped-query attention,
 * with the checkpoint's rotary scaling or another. Compared are the hidden states, the logits of
 * the last position and the rotary frequencies.
 */
record GqaCase(
    GoldenFile source, SafetensorsFile tensors, GoldenJson json, ReplayEngines.Request request)
    implements FileCase {

  static List<GoldenCase> read(GoldenFile file) {
    SafetensorsFile tensors = file.openTensors();
    int longest = file.longestRow();
    return file.cases().stream()
        .<GoldenCase>map(json -> new GqaCase(file, tensors, json, request(file, json, longest)))
        .toList();
  }

  private static ReplayEngines.Request request(GoldenFile file, GoldenJson json, int longest) {
    Optional<JsonObject> override =
        json.has("config_override")
            ? Optional.of(json.object("config_override").json())
            : Optional.empty();
    return new ReplayEngines.Request(
        file.folder().resolve("llama-gqa"), Optional.empty(), override, longest);
  }

  @Override
  public CaseReport replay(ReplayEngines engines) {
    GoldenRows rows = GoldenRows.read(json);
    List<Prompt> prompts =
        IntStream.range(0, rows.batch()).mapToObj(row -> Prompt.plain(rows.tokens(row))).toList();
    Judge judge = engines.judge();
    EncodingEngine engine = engines.engine(request);
    Forward forward = new Forward(engine, tensors, json.object("tensors"), judge);
    List<float[]> states = forward.hiddenStates("last_hidden_state", rows, prompts);
    int hidden = engine.config().hiddenSize();
    float[] last =
        Vectors.concatenate(
            states.stream()
                .map(state -> Arrays.copyOfRange(state, state.length - hidden, state.length))
                .toList());
    judge.numbers(
        "last_logits",
        engine.logits(last),
        forward.read("last_logits", prompts.size(), engine.config().vocabularySize()),
        Tolerances.LOGITS);
    inverseFrequencies(engine, judge);
    return judge.report();
  }

  private void inverseFrequencies(EncodingEngine engine, Judge judge) {
    Optional<String> rope = json.optionalString("rope");
    if (rope.isEmpty() || !source.json().has("inv_freq")) {
      return;
    }
    GoldenJson names = source.json().object("inv_freq");
    if (names.has(rope.get())) {
      double[] actual = RotaryEmbedding.inverseFrequencies(engine.config());
      double[] expected = GoldenFile.read(tensors, names.string(rope.get()), actual.length);
      judge.exactNumbers("inv_freq", actual, expected, Tolerances.INVERSE_FREQUENCY);
    }
  }
}
