package io.llara.examples.golden;

import io.llara.LlaraException;
import io.llara.Mode;
import io.llara.attention.AttentionMask;
import io.llara.attention.AttentionMaskFactory;
import io.llara.attention.Layout;
import io.llara.checkpoint.SafetensorsFile;
import io.llara.prompt.Prompt;
import io.llara.prompt.PromptBuilder;
import io.llara.prompt.TokenRange;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Optional;

/**
 * A case of {@code encode.json}: prompts of one recipe, singly or as a padded batch. Compared are
 * the ids, positions and pooled columns of our prompts, who may see whom, the hidden states and the
 * embeddings.
 */
record EncodeCase(
    GoldenFile source, SafetensorsFile tensors, GoldenJson json, ReplayEngines.Request request)
    implements FileCase {

  static List<GoldenCase> read(GoldenFile file) {
    SafetensorsFile tensors = file.openTensors();
    ReplayEngines.Request request =
        new ReplayEngines.Request(
            file.folder().resolve("llama-mha"),
            Optional.empty(),
            Optional.empty(),
            file.longestRow());
    return file.cases().stream()
        .<GoldenCase>map(json -> new EncodeCase(file, tensors, json, request))
        .toList();
  }

  @Override
  public CaseReport replay(ReplayEngines engines) {
    GoldenRows rows = GoldenRows.read(json);
    List<Prompt> prompts = prompts();
    Judge judge = engines.judge();
    boolean sameTokens = rows.sameTokens(prompts);
    judge.equal("input_ids", sameTokens);
    if (!sameTokens) {
      // The rest would compare different things.
      return judge.report();
    }
    judge.equal("position_ids", samePositions(rows, prompts));
    for (Mode mode : Mode.values()) {
      if (json.has(columnsKey(mode))) {
        judge.equal(columnsKey(mode), sameColumns(mode, rows, prompts));
      }
    }
    if (json.has("visibility")) {
      judge.equal("visibility", sameVisibility(rows, prompts));
    }
    Forward forward = new Forward(engines.engine(request), tensors, json.object("tensors"), judge);
    forward.hiddenStates("last_hidden_state", rows, prompts);
    for (Mode mode : Mode.values()) {
      if (json.has(columnsKey(mode))) {
        String key = mode.name().toLowerCase(Locale.ROOT) + "_embedding";
        forward.embeddings(key + "_raw", key, mode, prompts);
      }
    }
    return judge.report();
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

  private boolean sameColumns(Mode mode, GoldenRows rows, List<Prompt> prompts) {
    TokenRange expected = columns(json, mode);
    for (int row = 0; row < prompts.size(); row++) {
      TokenRange pooled = prompts.get(row).pooled(mode);
      int shift = rows.firstColumn(row);
      if (pooled.begin() + shift != expected.begin() || pooled.end() + shift != expected.end()) {
        return false;
      }
    }
    return true;
  }

  /** Positions may count from the first column or from the first token: rotation is relative. */
  private boolean samePositions(GoldenRows rows, List<Prompt> prompts) {
    List<int[]> expected = json.rows("position_ids");
    if (expected.size() != prompts.size()) {
      return false;
    }
    for (int row = 0; row < prompts.size(); row++) {
      int[] positions = rows.gather(expected.get(row), row);
      int first = positions[0];
      int[] relative = Arrays.stream(positions).map(position -> position - first).toArray();
      if (!Arrays.equals(relative, prompts.get(row).positions())) {
        return false;
      }
    }
    return true;
  }

  /** Compares the mask of a batch padded like the reference's, and of the packed batch we run. */
  private boolean sameVisibility(GoldenRows rows, List<Prompt> prompts) {
    List<List<String>> expected = json.stringRows("visibility");
    AttentionMask padded =
        AttentionMaskFactory.create(prompts, rows.layout(json.integer("pad_to_multiple_of")));
    AttentionMask packed = AttentionMaskFactory.create(prompts, Layout.packed());
    if (expected.size() != prompts.size()) {
      return false;
    }
    for (int row = 0; row < prompts.size(); row++) {
      List<String> lines = expected.get(row);
      if (!lines.equals(List.of(padded.visibility(row)))
          || !Arrays.equals(rows.realVisibility(lines, row), packed.visibility(row))) {
        return false;
      }
    }
    return true;
  }
}
