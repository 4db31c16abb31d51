package io.llara.examples.golden;

import com.google.common.primitives.Ints;
import io.llara.LlaraException;
import io.llara.Mode;
import io.llara.prompt.Prompt;
import io.llara.prompt.PromptBuilder;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;

/**
 * A case of {@code lora.json}: prompts of one mode on a checkpoint with a LoRA adapter merged into
 * it. Compared are the hidden states and the embeddings.
 */
record LoraCase(GoldenFile file, GoldenJson json) implements GoldenCase.Replay {

  @Override
  public Comparison run(ReplayEngines engines) {
    PaddedRows rows = PaddedRows.read(json);
    Mode mode = mode();
    List<Prompt> prompts = prompts(rows, mode);
    Comparison comparison = Comparison.ofForward(engines.computeType());
    if (comparison.equal("input_ids", rows.sameTokens(prompts))) {
      ReplayEngines.Request request =
          new ReplayEngines.Request(
              file.beside("llama-mha"),
              Optional.of(file.beside("lora")),
              Optional.empty(),
              file.longestRow());
      ForwardComparison forward =
          new ForwardComparison(file, json.object("tensors"), engines.engine(request), comparison);
      forward.hiddenStates(rows, prompts);
      forward.embeddings("embedding_raw", "embedding", mode, prompts);
    }
    return comparison;
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

  /** These cases do not give prefix and suffix; they are what surrounds the text. */
  private List<Prompt> prompts(PaddedRows rows, Mode mode) {
    List<int[]> texts = json.rows("text_ids");
    if (texts.size() != rows.count()) {
      throw new LlaraException(
          "%s: %d texts for %d rows of input_ids"
              .formatted(json.where(), texts.size(), rows.count()));
    }
    // The released recipe pools its eight markers, the others the last token.
    int pooled = json.string("recipe").equals("llara") ? 8 : 1;
    List<Prompt> prompts = new ArrayList<>();
    for (int row = 0; row < texts.size(); row++) {
      int[] tokens = rows.tokens(row);
      int[] text = texts.get(row);
      int begin = Ints.indexOf(tokens, text);
      if (begin < 0) {
        throw new LlaraException(json.where() + ": input_ids do not hold text_ids");
      }
      int[] prefix = Arrays.copyOf(tokens, begin);
      int[] suffix = Arrays.copyOfRange(tokens, begin + text.length, tokens.length);
      prompts.add(PromptBuilder.ofIds(prefix, suffix, suffix, pooled).fromIds(text, mode));
    }
    return prompts;
  }
}
