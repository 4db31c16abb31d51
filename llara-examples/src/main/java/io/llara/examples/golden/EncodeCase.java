package io.llara.examples.golden;

import io.llara.LlaraException;
import io.llara.Mode;
import io.llara.attention.AttentionMask;
import io.llara.attention.AttentionMaskFactory;
import io.llara.attention.Layout;
import io.llara.prompt.Prompt;
import io.llara.prompt.PromptBuilder;
import io.llara.prompt.TokenRange;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.stream.IntStream;
import java.util.stream.Stream;

/**
 * A case of {@code encode.json}: prompts of one recipe, singly or as a padded batch. Compared are
 * the ids, positions and pooled columns of our prompts, who may see whom, the hidden states and the
 * embeddings.
 */
record EncodeCase(GoldenFile file, GoldenJson json) implements GoldenCase.Replay {

  @Override
  public Comparison run(ReplayEngines engines) {
    PaddedRows rows = PaddedRows.read(json);
    List<Prompt> prompts = prompts();
    Comparison comparison = Comparison.ofForward(engines.computeType());
    if (!comparison.equal("input_ids", rows.sameTokens(prompts))) {
      // The rest would compare different things.
      return comparison;
    }
    comparison.equal("position_ids", samePositions(rows, prompts));
    List<Mode> modes = Stream.of(Mode.values()).filter(mode -> json.has(columnsKey(mode))).toList();
    modes.forEach(mode -> comparison.equal(columnsKey(mode), sameColumns(mode, rows, prompts)));
    if (json.has("visibility")) {
      comparison.equal("visibility", sameVisibility(rows, prompts));
    }
    ReplayEngines.Request request =
        new ReplayEngines.Request(
            file.beside("llama-mha"), Optional.empty(), Optional.empty(), file.longestRow());
    ForwardComparison forward =
        new ForwardComparison(file, json.object("tensors"), engines.engine(request), comparison);
    forward.hiddenStates(rows, prompts);
    for (Mode mode : modes) {
      String key = mode.name().toLowerCase(Locale.ROOT) + "_embedding";
      forward.embeddings(key + "_raw", key, mode, prompts);
    }
    return comparison;
  }

  private List<Prompt> prompts() {
    PromptBuilder builder =
        PromptBuilder.ofIds(
            json.ints("prefix_ids"),
            json.ints("self_suffix_ids"),
            json.ints("next_suffix_ids"),
            pooledTokens(json));
    String kind = json.string("prompt");
    return json.rows("text_ids").stream()
        .map(
            text ->
                switch (kind) {
                  case "SELF" -> builder.fromIds(text, Mode.SELF);
                  case "NEXT" -> builder.fromIds(text, Mode.NEXT);
                  case "JOINT" -> builder.jointFromIds(text);
                  default ->
                      throw new LlaraException(
                          "%s: prompt is '%s'; expected SELF, NEXT or JOINT"
                              .formatted(json.where(), kind));
                })
        .toList();
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
}
