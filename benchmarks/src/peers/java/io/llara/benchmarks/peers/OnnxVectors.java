package io.llara.benchmarks.peers;

import ai.onnxruntime.OnnxTensor;
import ai.onnxruntime.OrtEnvironment;
import ai.onnxruntime.OrtException;
import ai.onnxruntime.OrtSession;
import io.llara.ComputeType;
import io.llara.EmbeddingPair;
import io.llara.Encoder;
import io.llara.Mode;
import io.llara.Similarity;
import io.llara.attention.AttentionMaskFactory;
import io.llara.attention.Layout;
import io.llara.attention.PaddedBatch;
import io.llara.prompt.Prompt;
import io.llara.prompt.PromptBuilder;
import io.llara.prompt.PromptTemplate;
import io.llara.prompt.TokenRange;
import io.llara.tokenize.Tokenizer;
import java.nio.FloatBuffer;
import java.nio.LongBuffer;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/**
 * Embeds texts with ONNX Runtime, which gets its prompts and masks from this library, and compares
 * the vectors with those of {@link Encoder}. Joint prompts: one pass gives both embeddings of a
 * text.
 *
 * <pre>{@code
 * OnnxVectors MODEL_DIR FILE.onnx TEMPLATE TEXT...
 * }</pre>
 *
 * <p>{@code benchmarks/scripts/export-onnx.py MODEL_DIR FILE.onnx} makes the file. Prints a cosine
 * for each text and mode; exit code 1 if one is below 0.999999.
 */
public final class OnnxVectors {
  private static final double LEAST_COSINE = 0.999999;
  private static final int MAX_TOKENS = 512;

  private OnnxVectors() {}

  /** Runs the comparison. */
  public static void main(String[] args) throws OrtException {
    if (args.length < 4) {
      System.err.println("usage: OnnxVectors MODEL_DIR FILE.onnx TEMPLATE TEXT...");
      System.exit(2);
    }
    Path model = Path.of(args[0]);
    PromptTemplate template = PromptTemplate.byName(args[2]).orElseThrow();
    List<String> texts = List.of(args).subList(3, args.length);

    PaddedBatch batch;
    try (Tokenizer tokenizer = Tokenizer.load(model)) {
      PromptBuilder builder = PromptBuilder.create(template, tokenizer);
      List<Prompt> prompts =
          texts.stream().map(text -> builder.buildJoint(text, MAX_TOKENS)).toList();
      batch = PaddedBatch.of(AttentionMaskFactory.create(prompts, Layout.rightPadded(8)));
    }
    float[][][] states = hiddenStates(args[1], batch);

    double least = 1;
    try (Encoder encoder =
        Encoder.builder(model).template(template).computeType(ComputeType.FLOAT32).build()) {
      for (int i = 0; i < texts.size(); i++) {
        EmbeddingPair ours = encoder.encodeBoth(texts.get(i));
        for (Mode mode : Mode.values()) {
          float[] theirs = mean(states[i], batch.pooled(i, mode));
          double cosine = Similarity.cosine(theirs, ours.get(mode));
          System.out.printf(Locale.ROOT, "%.8f  %s  %s%n", cosine, mode, texts.get(i));
          least = Math.min(least, cosine);
        }
      }
    }
    System.exit(least >= LEAST_COSINE ? 0 : 1);
  }

  /** Returns the final hidden states {@code [sequences, width, hidden]}. */
  private static float[][][] hiddenStates(String file, PaddedBatch batch) throws OrtException {
    long sequences = batch.sequences();
    long width = batch.width();
    long[] tokens = {sequences, width};
    OrtEnvironment environment = OrtEnvironment.getEnvironment();
    // ONNX Runtime's softmax of a row of minus infinity is NaN, which padding must not spread.
    FloatBuffer mask = FloatBuffer.wrap(batch.additive(-Float.MAX_VALUE));
    try (OrtSession session = environment.createSession(file);
        OnnxTensor ids = OnnxTensor.createTensor(environment, LongBuffer.wrap(batch.ids()), tokens);
        OnnxTensor positions =
            OnnxTensor.createTensor(environment, LongBuffer.wrap(batch.positions()), tokens);
        OnnxTensor additive =
            OnnxTensor.createTensor(environment, mask, new long[] {sequences, 1, width, width});
        OrtSession.Result result =
            session.run(
                Map.of("input_ids", ids, "position_ids", positions, "attention_mask", additive))) {
      return (float[][][]) result.get(0).getValue();
    }
  }

  private static float[] mean(float[][] rows, TokenRange columns) {
    float[] mean = new float[rows[0].length];
    for (int row = columns.begin(); row < columns.end(); row++) {
      for (int i = 0; i < mean.length; i++) {
        mean[i] += rows[row][i] / columns.length();
      }
    }
    return mean;
  }
}
