package io.llara.examples.golden;

import com.google.common.primitives.Floats;
import com.google.common.primitives.Ints;
import com.google.gson.JsonObject;
import io.llara.LlaraException;
import io.llara.Mode;
import io.llara.attention.AttentionMask;
import io.llara.attention.AttentionMaskFactory;
import io.llara.attention.Layout;
import io.llara.engine.EncodingEngine;
import io.llara.model.RotaryEmbedding;
import io.llara.prompt.Prompt;
import io.llara.prompt.PromptBuilder;
import io.llara.prompt.Reserve;
import io.llara.prompt.TokenRange;
import io.llara.tokenize.Tokenizer;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.function.Function;
import java.util.function.Supplier;
import java.util.stream.IntStream;
import java.util.stream.Stream;

/**
 * A case of {@code encode.json}, {@code lora.json} or {@code gqa.json}: sequences, singly or as a
 * padded batch. Compared is what the case has: the ids that the checkpoint's tokenizer makes of
 * texts, ids, positions and pooled columns of our prompts, who may see whom, the hidden states, the
 * embeddings, the logits of the last position and the rotary frequencies.
 *
 * @param checkpoint the directory of the checkpoint
 * @param adapter the directory of a LoRA adapter that is merged into it
 */
record ForwardCase(GoldenFile file, GoldenJson json, Path checkpoint, Optional<Path> adapter)
    implements GoldenCase.Replay {

  static GoldenCase.Replay encode(GoldenFile file, GoldenJson json) {
    return new ForwardCase(file, json, file.checkpoint("llama-mha"), Optional.empty());
  }

  static GoldenCase.Replay lora(GoldenFile file, GoldenJson json) {
    return new ForwardCase(
        file, json, file.checkpoint("llama-mha"), Optional.of(file.beside("lora")));
  }

  static GoldenCase.Replay gqa(GoldenFile file, GoldenJson json) {
    return new ForwardCase(file, json, file.checkpoint("llama-gqa"), Optional.empty());
  }

  @Override
  public Comparison run(ReplayEngines engines) {
    PaddedRows rows = PaddedRows.read(json);
    List<Prompt> prompts = prompts(rows);
    Comparison comparison = Comparison.ofForward(engines.computeType());
    if (json.has("texts") && !comparison.equal("texts", sameTexts(rows, engines))) {
      return comparison;
    }
    if (hasTexts() && !comparison.equal("input_ids", rows.sameTokens(prompts))) {
      // The rest would compare different things.
      return comparison;
    }
    if (hasSuffixes()) {
      comparison.equal("position_ids", samePositions(rows, prompts));
      modes().forEach(mode -> comparison.equal(columnsKey(mode), sameColumns(mode, rows, prompts)));
    }
    if (json.has("visibility")) {
      comparison.equal("visibility", sameVisibility(rows, prompts));
    }
    Optional<JsonObject> override = json.optionalObject("config_override").map(GoldenJson::json);
    EncodingEngine engine = engines.engine(checkpoint, adapter, override, file.longestRow());
    compareStates(engine, rows, prompts, comparison);
    if (hasTexts()) {
      compareEmbeddings(engine, prompts, comparison);
    }
    compareFrequencies(engine, comparison);
    return comparison;
  }

  private boolean hasTexts() {
    return json.has("text_ids");
  }

  private boolean hasSuffixes() {
    return json.has("prefix_ids");
  }

  private List<Mode> modes() {
    String kind = json.string("prompt");
    return Stream.of(Mode.values())
        .filter(mode -> kind.equals("JOINT") || kind.equals(mode.name()))
        .toList();
  }

  /** Returns the prompts of the texts; without texts, the rows as they are. */
  private List<Prompt> prompts(PaddedRows rows) {
    List<int[]> texts = hasTexts() ? json.rows("text_ids") : List.of();
    if (hasTexts() && texts.size() != rows.count()) {
      throw new LlaraException(
          "%s: %d texts for %d rows of input_ids"
              .formatted(json.where(), texts.size(), rows.count()));
    }
    return IntStream.range(0, rows.count())
        .mapToObj(
            row ->
                hasTexts()
                    ? prompt(texts.get(row), rows.tokens(row))
                    : Prompt.plain(rows.tokens(row)))
        .toList();
  }

  private Prompt prompt(int[] text, int[] tokens) {
    PromptBuilder builder = hasSuffixes() ? builder() : builderAround(text, tokens);
    return prompt(mode -> builder.fromIds(text, mode), () -> builder.jointFromIds(text));
  }

  private Prompt prompt(Function<Mode, Prompt> single, Supplier<Prompt> joint) {
    String kind = json.string("prompt");
    return switch (kind) {
      case "SELF" -> single.apply(Mode.SELF);
      case "NEXT" -> single.apply(Mode.NEXT);
      case "JOINT" -> joint.get();
      default ->
          throw new LlaraException(
              "%s: prompt is '%s'; expected SELF, NEXT or JOINT".formatted(json.where(), kind));
    };
  }

  /** Returns whether our tokenizer and template make the rows of the texts. */
  private boolean sameTexts(PaddedRows rows, ReplayEngines engines) {
    Tokenizer tokenizer = engines.tokenizer(checkpoint);
    List<String> texts = json.strings("texts");
    if (!hasTexts()) {
      return rows.sameTokens(
          texts.stream()
              .map(text -> Ints.concat(tokenizer.bosIds(), tokenizer.encodeText(text)))
              .map(Prompt::plain)
              .toList());
    }
    PromptBuilder builder =
        PromptBuilder.create(file.template(), tokenizer).withReserve(Reserve.BOTH_SUFFIXES);
    int most = Integer.MAX_VALUE;
    return rows.sameTokens(
        texts.stream()
            .map(
                text ->
                    prompt(
                        mode -> builder.build(text, mode, most),
                        () -> builder.buildJoint(text, most)))
            .toList());
  }

  private PromptBuilder builder() {
    return PromptBuilder.ofIds(
        json.ints("prefix_ids"),
        json.ints("self_suffix_ids"),
        json.ints("next_suffix_ids"),
        pooledTokens(json));
  }

  /** Takes prefix and suffix from the tokens around the text. */
  private PromptBuilder builderAround(int[] text, int[] tokens) {
    int begin = Ints.indexOf(tokens, text);
    if (begin < 0) {
      throw new LlaraException(json.where() + ": input_ids does not contain text_ids");
    }
    int[] suffix = Arrays.copyOfRange(tokens, begin + text.length, tokens.length);
    // The released recipe pools its eight markers, the others the last token.
    int pooled = json.string("recipe").equals("llara") ? 8 : 1;
    return PromptBuilder.ofIds(Arrays.copyOf(tokens, begin), suffix, suffix, pooled);
  }

  /** How many columns are pooled; both modes pool as many. */
  static int pooledTokens(GoldenJson json) {
    int pooled = 0;
    for (Mode mode : Mode.values()) {
      if (json.has(columnsKey(mode))) {
        TokenRange columns = columns(json, mode);
        if (pooled != 0 && pooled != columns.length()) {
          throw new LlaraException(
              json.where() + ": self_columns and next_columns differ in their number");
        }
        pooled = columns.length();
      }
    }
    return pooled;
  }

  private static String columnsKey(Mode mode) {
    return mode.name().toLowerCase(Locale.ROOT) + "_columns";
  }

  private static TokenRange columns(GoldenJson json, Mode mode) {
    int[] range = json.ints(columnsKey(mode));
    if (range.length != 2) {
      throw new LlaraException(
          "%s: %s must be [begin, end]".formatted(json.where(), columnsKey(mode)));
    }
    return new TokenRange(range[0], range[1]);
  }

  private boolean sameColumns(Mode mode, PaddedRows rows, List<Prompt> prompts) {
    TokenRange expected = columns(json, mode);
    return IntStream.range(0, prompts.size())
        .allMatch(
            row -> {
              TokenRange pooled = prompts.get(row).pooled(mode);
              int shift = rows.firstColumn(row);
              return pooled.begin() + shift == expected.begin()
                  && pooled.end() + shift == expected.end();
            });
  }

  /** Positions may count from the first column or from the first token: rotation is relative. */
  private boolean samePositions(PaddedRows rows, List<Prompt> prompts) {
    List<int[]> expected = json.rows("position_ids");
    return expected.size() == prompts.size()
        && IntStream.range(0, prompts.size())
            .allMatch(
                row -> {
                  int[] positions = rows.gather(expected.get(row), row);
                  int first = positions[0];
                  return Arrays.equals(
                      Arrays.stream(positions).map(position -> position - first).toArray(),
                      prompts.get(row).positions());
                });
  }

  /** Compares the mask of a batch padded like the reference's, and of the packed batch we run. */
  private boolean sameVisibility(PaddedRows rows, List<Prompt> prompts) {
    String[][] expected = json.stringRows("visibility");
    AttentionMask padded =
        AttentionMaskFactory.create(prompts, rows.layout(json.integer("pad_to_multiple_of")));
    AttentionMask packed = AttentionMaskFactory.create(prompts, Layout.packed());
    return expected.length == prompts.size()
        && IntStream.range(0, prompts.size())
            .allMatch(
                row ->
                    Arrays.equals(expected[row], padded.visibility(row))
                        && Arrays.equals(
                            rows.realVisibility(expected[row], row), packed.visibility(row)));
  }

  /** Compares the hidden states of real tokens, and the logits after the last token of each row. */
  private void compareStates(
      EncodingEngine engine, PaddedRows rows, List<Prompt> prompts, Comparison comparison) {
    List<float[]> states = engine.hiddenStates(prompts);
    int hidden = engine.config().hiddenSize();
    comparison.hiddenStates(file, json, rows, concat(states));
    String key = "last_logits";
    GoldenJson tensors = json.object("tensors");
    if (tensors.has(key)) {
      List<float[]> last =
          states.stream()
              .map(one -> Arrays.copyOfRange(one, one.length - hidden, one.length))
              .toList();
      comparison.rounded(
          key,
          engine.logits(concat(last)),
          file.tensor(tensors, key, last.size(), engine.config().vocabularySize()),
          Tolerance.LOGITS);
    }
  }

  /** Compares the pooled vectors of each mode, as they are and scaled to length 1. */
  private void compareEmbeddings(
      EncodingEngine engine, List<Prompt> prompts, Comparison comparison) {
    GoldenJson tensors = json.object("tensors");
    int hidden = engine.config().hiddenSize();
    for (Mode mode : modes()) {
      String ofMode = mode.name().toLowerCase(Locale.ROOT) + "_embedding";
      String key = hasSuffixes() ? ofMode : "embedding";
      List<float[]> raw = new ArrayList<>();
      engine.encode(prompts).forEach(pooled -> raw.add(pooled.get(mode)));
      comparison.rounded(
          key + "_raw",
          concat(raw),
          file.tensor(tensors, key + "_raw", prompts.size(), hidden),
          Tolerance.RAW_EMBEDDING);
      comparison.unitVectors(
          key,
          concat(raw.stream().map(ForwardCase::unit).toList()),
          file.tensor(tensors, key, prompts.size(), hidden),
          hidden);
    }
  }

  private void compareFrequencies(EncodingEngine engine, Comparison comparison) {
    String key = "inv_freq";
    Optional<String> rope = json.optionalString("rope");
    Optional<GoldenJson> expected = file.json().optionalObject(key);
    if (rope.isPresent() && expected.isPresent() && expected.get().has(rope.get())) {
      double[] actual = RotaryEmbedding.inverseFrequencies(engine.config());
      comparison.exact(
          key,
          actual,
          file.tensor(expected.get(), rope.get(), actual.length),
          Tolerance.INVERSE_FREQUENCY);
    }
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
