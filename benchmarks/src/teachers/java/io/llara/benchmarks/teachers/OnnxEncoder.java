package io.llara.benchmarks.teachers;

import ai.djl.huggingface.tokenizers.HuggingFaceTokenizer;
import ai.onnxruntime.OnnxTensor;
import ai.onnxruntime.OrtEnvironment;
import ai.onnxruntime.OrtException;
import ai.onnxruntime.OrtSession;
import com.google.common.collect.Iterators;
import io.llara.Encoder;
import io.llara.EmbeddingSink;
import io.llara.LlaraException;
import io.llara.Mode;
import io.llara.io.Messages;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.io.InputStream;
import java.nio.FloatBuffer;
import java.nio.LongBuffer;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import java.util.stream.Stream;

/**
 * A model of a jar, run by ONNX Runtime in float32. Texts of about one length share a batch; those
 * of more than {@value #MAX_TOKENS} tokens are cut. For one thread.
 */
final class OnnxEncoder implements Encoder {
  /** What texts are cut to, prompt and special tokens included. */
  static final int MAX_TOKENS = 256;

  /** Texts that are sorted by length together. */
  private static final int WINDOW = 4096;

  private final JarModel model;
  private final int batchTokens;
  private final HuggingFaceTokenizer tokenizer;
  private final OrtEnvironment environment = OrtEnvironment.getEnvironment();
  private final OrtSession session;
  private long tokens;

  /**
   * Loads a model.
   *
   * @param threads how many ONNX Runtime uses
   * @param batchTokens the most tokens in a batch, padding included
   */
  OnnxEncoder(JarModel model, int threads, int batchTokens) {
    this.model = model;
    this.batchTokens = batchTokens;
    // DJL would otherwise look for builds to download, and report its use.
    System.setProperty("OPT_OUT_TRACKING", "true");
    System.setProperty("ai.djl.offline", "true");
    System.setProperty("RUST_FLAVOR", "cpu");
    try (InputStream json = resource(model.resource() + "-tokenizer.json");
        InputStream onnx = resource(model.resource() + ".onnx");
        OrtSession.SessionOptions options = new OrtSession.SessionOptions()) {
      options.setIntraOpNumThreads(threads);
      options.setInterOpNumThreads(1);
      tokenizer =
          HuggingFaceTokenizer.newInstance(
              json,
              Map.of(
                  "truncation",
                  "true",
                  "maxLength",
                  String.valueOf(MAX_TOKENS),
                  "modelMaxLength",
                  String.valueOf(MAX_TOKENS),
                  "padding",
                  "false"));
      session = environment.createSession(onnx.readAllBytes(), options);
    } catch (IOException | OrtException e) {
      throw new LlaraException(
          "the model %s cannot be loaded: %s".formatted(model.resource(), e.getMessage()), e);
    }
  }

  private static InputStream resource(String name) throws IOException {
    InputStream found = OnnxEncoder.class.getResourceAsStream("/" + name);
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
      int longest = ids.get(byLength.get(from)).length;
      int to = Math.min(ids.size(), from + Math.max(1, batchTokens / longest));
      List<Integer> batch = byLength.subList(from, to);
      List<float[]> made = run(batch.stream().map(ids::get).toList(), longest);
      for (int i = 0; i < made.size(); i++) {
        vectors[batch.get(i)] = made.get(i);
      }
      from = to;
    }
    return vectors;
  }

  private List<float[]> run(List<long[]> batch, int longest) {
    LongBuffer ids = LongBuffer.allocate(batch.size() * longest);
    LongBuffer mask = LongBuffer.allocate(ids.capacity());
    for (int i = 0; i < batch.size(); i++) {
      long[] text = batch.get(i);
      ids.position(i * longest).put(text);
      for (int j = 0; j < text.length; j++) {
        mask.put(i * longest + j, 1);
      }
      tokens += text.length;
    }
    long[] shape = {batch.size(), longest};
    try (OnnxTensor input = OnnxTensor.createTensor(environment, ids.rewind(), shape);
        OnnxTensor attention = OnnxTensor.createTensor(environment, mask, shape);
        OnnxTensor types =
            OnnxTensor.createTensor(environment, LongBuffer.allocate(ids.capacity()), shape);
        OrtSession.Result result =
            session.run(
                Map.of(
                    "input_ids", input, "attention_mask", attention, "token_type_ids", types))) {
      FloatBuffer states = ((OnnxTensor) result.get(0)).getFloatBuffer();
      List<float[]> vectors = new ArrayList<>();
      for (int i = 0; i < batch.size(); i++) {
        int rows = model.firstToken() ? 1 : batch.get(i).length;
        vectors.add(unitMean(states, i * longest, rows));
      }
      return vectors;
    } catch (OrtException e) {
      throw new LlaraException("ONNX Runtime failed: " + e.getMessage(), e);
    }
  }

  /** Returns the mean of some rows, scaled to length 1. */
  private static float[] unitMean(FloatBuffer states, int first, int rows) {
    double[] sums = new double[JarModel.DIMENSION];
    for (int row = first; row < first + rows; row++) {
      for (int i = 0; i < sums.length; i++) {
        sums[i] += states.get(row * sums.length + i);
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
    try {
      session.close();
    } catch (OrtException e) {
      throw new LlaraException("ONNX Runtime failed: " + Messages.quote(e.getMessage()), e);
    }
    tokenizer.close();
  }
}
