package io.llara.examples.golden;

import io.llara.LlaraException;
import io.llara.Mode;
import io.llara.checkpoint.SafetensorsFile;
import io.llara.prompt.Prompt;
import io.llara.prompt.PromptBuilder;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;

/**
 * A case of {@code lora.json}: prompts of one mode on a checkpoint with a LoRA adapter merged into
 * it. Compared are the hidden states and the embeddings.
 */
record LoraCase(
    GoldenFile source, SafetensorsFile tensors, GoldenJson json, ReplayEngines.Request request)
    implements FileCase {

  static List<GoldenCase> read(GoldenFile file) {
    SafetensorsFile tensors = file.openTensors();
    ReplayEngines.Request request =
        new ReplayEngines.Request(
            file.folder().resolve("llama-mha"),
            Optional.of(file.folder().resolve("lora")),
            Optional.empty(),
            file.longestRow());
    return Stream.concat(
            file.cases().stream().map(json -> new LoraCase(file, tensors, json, request)),
            LoraTrainingCase.read(file).stream())
        .toList();
  }

  @Override
  public CaseReport replay(ReplayEngines engines) {
    GoldenRows rows = GoldenRows.read(json);
    Mode mode = mode();
    List<Prompt> prompts = prompts(rows, mode);
    Judge judge = engines.judge();
    boolean sameTokens = rows.sameTokens(prompts);
    judge.equal("input_ids", sameTokens);
    if (sameTokens) {
      Forward forward =
          new Forward(engines.engine(request), tensors, json.object("tensors"), judge);
      forward.hiddenStates("last_hidden_state", rows, prompts);
      forward.embeddings("embedding_raw", "embedding", mode, prompts);
    }
    return judge.report();
  }

  private Mode mode() {
    String kind = json.string("prompt");
    return switch (kind) {
      case "SELF" -> Mode.SELF;
      case "NEXT" -> Mode.NEXT;
      default ->
          throw new LlaraException(
              "%s: prompt is '%s'; expected SELF or NEXT".formatted(json.where(), kind));
    };
  }

  /** These cases do not give prefix and suffix; they are what stands around the text. */
  private List<Prompt> prompts(GoldenRows rows, Mode mode) {
    List<int[]> texts = json.rows("text_ids");
    if (texts.size() != rows.batch()) {
      throw new LlaraException(
          "%s: %d texts for %d rows of input_ids"
              .formatted(json.where(), texts.size(), rows.batch()));
    }
    List<Prompt> prompts = new ArrayList<>();
    for (int row = 0; row < texts.size(); row++) {
      int[] tokens = rows.tokens(row);
      int[] text = texts.get(row);
      int begin = indexOf(text, tokens);
      int[] prefix = Arrays.copyOf(tokens, begin);
      int[] suffix = Arrays.copyOfRange(tokens, begin + text.length, tokens.length);
      prompts.add(PromptBuilder.ofIds(prefix, suffix, suffix, pooledTokens()).fromIds(text, mode));
    }
    return prompts;
  }

  private int indexOf(int[] text, int[] tokens) {
    for (int begin = 0; begin + text.length <= tokens.length; begin++) {
      if (Arrays.equals(text, Arrays.copyOfRange(tokens, begin, begin + text.length))) {
        return begin;
      }
    }
    throw new LlaraException(json.where() + ": input_ids do not hold text_ids");
  }

  /** The released recipe pools its eight markers, the others the last token. */
  private int pooledTokens() {
    return json.string("recipe").equals("llara") ? 8 : 1;
  }
}
