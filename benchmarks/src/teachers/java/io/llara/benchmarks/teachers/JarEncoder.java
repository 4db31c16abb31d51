package io.llara.benchmarks.teachers;

import ai.djl.huggingface.tokenizers.HuggingFaceTokenizer;
import com.google.common.collect.Iterators;
import com.google.common.math.IntMath;
import io.llara.Encoder;
import io.llara.EmbeddingSink;
import io.llara.LlaraException;
import io.llara.Mode;
import io.llara.io.Messages;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.io.InputStream;
import java.math.RoundingMode;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.bytedeco.pytorch.global.torch.ScalarType;

/**
 * A model of a jar. Texts of about one length share a batch; those
 * of more than {@value #MAX_TOKENS} tokens are cut. For one thread.
 */
final class JarEncoder implements Encoder {
  /** What texts are cut to, prompt and special tokens included. */
  static final int MAX_TOKENS = 256;

  /** Texts that are sorted by length together. */
  private static final int WINDOW = Encoder.LARGEST_WINDOW;

  /** Tokens of a batch, padding included; much larger ones leave the caches. */
  private static final int BATCH_TOKENS = 1024;

  /** Lengths are padded to a multiple: libtorch's products are compiled for each shape they meet. */
  private static final int PADDING = 8;

  private final JarModel model;
  private final HuggingFaceTokenizer tokenizer;
  private final StateModel states;
  private long tokens;

  /**
   * Loads a model.
   *
   * @param type what libtorch computes in; empty for ONNX Runtime
   * @param threads how many it uses
   */
  JarEncoder(JarModel model, Optional<ScalarType> type, int threads) {
    this.model = model;
    // DJL would otherwise look for builds to download, and report its use.
    System.setProperty("OPT_OUT_TRACKING", "true");
    System.setProperty("ai.djl.offline", "true");
    System.setProperty("RUST_FLAVOR", "cpu");
    String length = String.valueOf(MAX_TOKENS);
    try (InputStream json = resource(model.resource() + "-tokenizer.json");
        InputStream onnx = resource(model.resource() + ".onnx")) {
      tokenizer =
          HuggingFaceTokenizer.newInstance(
              json,
              Map.of(
                  "truncation", "true",
                  "maxLength", length,
                  "modelMaxLength", length,
                  "padding", "false"));
      byte[] file = onnx.readAllBytes();
      states =
          type.isPresent()
              ? new BertModel(new OnnxWeights(file), type.get(), threads)
              : new OnnxModel(file, threads);
    } catch (IOException e) {
      throw new LlaraException(
          "the model %s cannot be loaded: %s".formatted(model.resource(), Messages.reason(e)), e);
    }
  }

  private static InputStream resource(String name) throws IOException {
    InputStream found = JarEncoder.class.getResourceAsStream("/" + name);
    if (found == null) {
      throw new FileNotFoundException(name + " is not on the class path");
    }
    return found;
  }

  /** Returns how many tokens were embedded, padding left out. */
  long tokens() {
    return tokens;
  }

  @Override
  public int dimension() {
    return JarModel.DIMENSION;
  }

  @Override
  public int maxTokens() {
    return MAX_TOKENS;
  }

  @Override
  public int window() {
    return WINDOW;
  }

  @Override
  public float[] encode(String text, Mode mode) {
    return encodeWindow(List.of(text), mode)[0];
  }

  @Override
  public void encodeAll(Stream<String> texts, Mode mode, EmbeddingSink sink) {
    long[] index = {0};
    Iterators.partition(texts.iterator(), WINDOW)
        .forEachRemaining(
            window -> {
              float[][] vectors = encodeWindow(window, mode);
              for (int i = 0; i < vectors.length; i++) {
                sink.accept(index[0]++, window.get(i), vectors[i]);
              }
            });
  }

  private float[][] encodeWindow(List<String> texts, Mode mode) {
    String prompt = mode == Mode.NEXT ? model.queryPrompt() : model.passagePrompt();
    List<long[]> ids =
        texts.stream().map(text -> tokenizer.encode(prompt + text).getIds()).toList();
    List<Integer> byLength =
        IntStream.range(0, ids.size())
            .boxed()
            .sorted(Comparator.comparingInt(i -> -ids.get(i).length))
            .toList();
    float[][] vectors = new float[ids.size()][];
    for (int from = 0; from < ids.size(); ) {
      int longest =
          IntMath.divide(ids.get(byLength.get(from)).length, PADDING, RoundingMode.CEILING)
              * PADDING;
      int to = Math.min(ids.size(), from + Math.max(1, BATCH_TOKENS / longest));
      List<Integer> batch = byLength.subList(from, to);
      List<float[]> made = run(batch.stream().map(ids::get).toList(), longest);
      for (int i = 0; i < made.size(); i++) {
        vectors[batch.get(i)] = made.get(i);
      }
      from = to;
    }
    return vectors;
  }

  private List<float[]> run(List<long[]> batch, int length) {
    int[] ids = new int[batch.size() * length];
    int[] lengths = new int[batch.size()];
    for (int i = 0; i < lengths.length; i++) {
      long[] text = batch.get(i);
      lengths[i] = text.length;
      tokens += text.length;
      for (int j = 0; j < text.length; j++) {
        ids[i * length + j] = Math.toIntExact(text[j]);
      }
    }
    float[] rows = states.states(ids, lengths);
    List<float[]> vectors = new ArrayList<>();
    for (int i = 0; i < lengths.length; i++) {
      vectors.add(unitMean(rows, i * length, model.firstToken() ? 1 : lengths[i]));
    }
    return vectors;
  }

  /** Returns the mean of some rows, scaled to length 1. */
  private static float[] unitMean(float[] states, int first, int rows) {
    double[] sums = new double[JarModel.DIMENSION];
    for (int row = first; row < first + rows; row++) {
      for (int i = 0; i < sums.length; i++) {
        sums[i] += states[row * sums.length + i];
      }
    }
    double squares = 0;
    for (double sum : sums) {
      squares += sum * sum;
    }
    double length = Math.sqrt(squares);
    float[] unit = new float[sums.length];
    for (int i = 0; i < unit.length; i++) {
      unit[i] = (float) (sums[i] / length);
    }
    return unit;
  }

  @Override
  public void close() {
    states.close();
    tokenizer.close();
  }
}
