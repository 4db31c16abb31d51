package io.llara.benchmarks.imported;

import io.llara.ComputeType;
import io.llara.checkpoint.CheckpointDirectory;
import io.llara.engine.EncodingEngine;
import io.llara.engine.EngineBuilder;
import io.llara.prompt.Prompt;
import io.llara.tokenize.Tokenizer;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;

/**
 * The mean next-token cross-entropy, in nats per token, of a model on the first tokens of the first
 * documents of a file. Each document stands alone, with BOS before it if the tokenizer has one; its
 * first token is predicted only then.
 *
 * <pre>{@code
 * NextTokenLoss MODEL_DIR TEXTS.jsonl.gz [DOCUMENTS [TOKENS]]
 * }</pre>
 */
public final class NextTokenLoss {
  private static final int DOCUMENTS = 200;
  private static final int TOKENS = 256;

  private NextTokenLoss() {}

  /** Computes it with one lane and prints it. */
  public static void main(String[] args) throws IOException {
    if (args.length < 2 || args.length > 4) {
      System.err.println("usage: NextTokenLoss MODEL_DIR TEXTS.jsonl.gz [DOCUMENTS [TOKENS]]");
      System.exit(2);
    }
    Path model = Path.of(args[0]);
    int documents = args.length > 2 ? Integer.parseInt(args[2]) : DOCUMENTS;
    int tokens = args.length > 3 ? Integer.parseInt(args[3]) : TOKENS;
    CheckpointDirectory checkpoint = CheckpointDirectory.open(model);
    EngineBuilder options =
        EncodingEngine.builder().computeType(ComputeType.FLOAT32).threads(1).maxTokens(tokens + 1);
    double sum = 0;
    long count = 0;
    try (Tokenizer tokenizer = Tokenizer.load(model);
        EncodingEngine engine = options.open(checkpoint)) {
      for (String text : ComparedTexts.documents(Path.of(args[1]), documents)) {
        int[] ids = ids(tokenizer, text, tokens);
        float[] hidden = engine.hiddenStates(List.of(Prompt.plain(ids))).get(0);
        float[] logits = engine.logits(hidden);
        for (int row = 0; row + 1 < ids.length; row++) {
          sum += loss(logits, row, checkpoint.config().vocabularySize(), ids[row + 1]);
          count++;
        }
      }
    }
    System.out.printf("%.6f nats per token over %d tokens%n", sum / count, count);
  }

  private static int[] ids(Tokenizer tokenizer, String text, int tokens) {
    int[] bos = tokenizer.bosIds();
    int[] ids = tokenizer.encodeText(text);
    int taken = Math.min(tokens, ids.length);
    int[] all = Arrays.copyOf(bos, bos.length + taken);
    System.arraycopy(ids, 0, all, bos.length, taken);
    return all;
  }

  private static double loss(float[] logits, int row, int vocabulary, int target) {
    int from = row * vocabulary;
    float largest = Float.NEGATIVE_INFINITY;
    for (int i = 0; i < vocabulary; i++) {
      largest = Math.max(largest, logits[from + i]);
    }
    double sum = 0;
    for (int i = 0; i < vocabulary; i++) {
      sum += Math.exp(logits[from + i] - largest);
    }
    return Math.log(sum) + largest - logits[from + target];
  }
}
