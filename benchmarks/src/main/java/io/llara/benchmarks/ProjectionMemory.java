package io.llara.benchmarks;

import io.llara.tensor.Libtorch;
import io.llara.tensor.TensorScope;
import io.llara.tensor.Tensors;
import io.llara.train.model.HeadGradient;
import io.llara.train.pretrain.Bag;
import io.llara.train.pretrain.VocabularyProjection;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.SplittableRandom;
import java.util.stream.IntStream;
import org.bytedeco.pytorch.AutoGradMode;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;

/**
 * Measures the peak memory (VmHWM) of the losses through the projection on the vocabulary, forward
 * and backward, in chunks, against the same with all logits at once, recorded by autograd: hidden
 * size 768, vocabulary 32,000, 2,048 rows, float32, one thread. The weight, its gradient and the
 * hidden states are not counted.
 *
 * <pre>{@code
 * ProjectionMemory [CHUNK_MIB]
 * }</pre>
 *
 * <p>The next-token loss and the loss of bags over eight markers, each both ways, every run in a
 * JVM of its own. Exit code 1 if chunks take more than a quarter.
 */
public final class ProjectionMemory {
  private static final String CHILD = "--child";
  private static final double ALLOWED = 0.25;
  private static final int VOCABULARY = 32_000;
  private static final int WIDTH = 768;
  private static final int ROWS = 2_048;
  private static final int MARKERS = 8;
  private static final int WORDS = 30;

  private enum Term {
    TOKENS,
    BAGS
  }

  private enum Way {
    RECORDED,
    CHUNKED
  }

  /** What a run took. */
  private record Taken(long bytes, double seconds, double loss) {
    static Taken parse(String line) {
      String[] fields = line.strip().split(" ");
      return new Taken(
          Long.parseLong(fields[0]), Double.parseDouble(fields[1]), Double.parseDouble(fields[2]));
    }

    String line() {
      return bytes + " " + seconds + " " + loss;
    }
  }

  private ProjectionMemory() {}

  /** Runs both losses both ways. */
  public static void main(String[] args) throws IOException {
    if (args.length == 5 && args[0].equals(CHILD)) {
      Taken taken = measure(Term.valueOf(args[1]), Way.valueOf(args[2]), Long.parseLong(args[3]));
      Files.writeString(Path.of(args[4]), taken.line());
      return;
    }
    if (args.length > 1) {
      System.err.println("usage: ProjectionMemory [CHUNK_MIB]");
      System.exit(2);
    }
    long chunkBytes =
        args.length == 0 ? VocabularyProjection.DEFAULT_CHUNK_BYTES : Long.parseLong(args[0]) << 20;
    System.out.println(Machine.describe());
    boolean fits = true;
    for (Term term : Term.values()) {
      Taken recorded = child(term, Way.RECORDED, chunkBytes);
      Taken chunked = child(term, Way.CHUNKED, chunkBytes);
      fits &= report(term, recorded, chunked, chunkBytes);
    }
    System.exit(fits ? 0 : 1);
  }

  private static boolean report(Term term, Taken recorded, Taken chunked, long chunkBytes) {
    double ratio = (double) chunked.bytes() / recorded.bytes();
    boolean same = Math.abs(chunked.loss() - recorded.loss()) <= 1e-5 * recorded.loss();
    boolean fits = same && ratio <= ALLOWED;
    System.out.printf(
        Locale.ROOT,
        "%s: recorded %d MiB in %.1f s, in chunks of %d MiB %d MiB in %.1f s, ratio %.3f of %.2f"
            + " allowed; losses %.4f and %.4f: %s%n",
        term,
        recorded.bytes() >> 20,
        recorded.seconds(),
        chunkBytes >> 20,
        chunked.bytes() >> 20,
        chunked.seconds(),
        ratio,
        ALLOWED,
        recorded.loss(),
        chunked.loss(),
        fits ? "ok" : same ? "TOO MUCH" : "LOSSES DIFFER");
    return fits;
  }

  private static Taken child(Term term, Way way, long chunkBytes) throws IOException {
    Path result = Files.createTempFile("projection-memory", ".txt");
    try {
      List<String> arguments =
          List.of(CHILD, term.name(), way.name(), Long.toString(chunkBytes), result.toString());
      // A heap that is there from the start: what grows is native.
      List<String> jvm = List.of("-Xms128m", "-Xmx128m", "-XX:+AlwaysPreTouch");
      int code = ChildJvm.run(ProjectionMemory.class, jvm, arguments);
      if (code != 0) {
        throw new IllegalStateException("a run ended with exit code " + code);
      }
      return Taken.parse(Files.readString(result));
    } finally {
      Files.delete(result);
    }
  }

  private static Taken measure(Term term, Way way, long chunkBytes) {
    Libtorch.load();
    try (TensorScope scope = new TensorScope()) {
      // Loads code and lets the BLAS library allocate its own buffers.
      try (TensorScope warmUp = new TensorScope()) {
        run(term, way, Inputs.random(1_000, WIDTH, 256, way), chunkBytes);
      }
      Inputs inputs = Inputs.random(VOCABULARY, WIDTH, ROWS, way);
      long before = ProcessMemory.resident();
      ProcessMemory.resetPeak();
      long begin = System.nanoTime();
      double loss = run(term, way, inputs, chunkBytes);
      double seconds = (System.nanoTime() - begin) / 1e9;
      // Autograd makes the gradient of the weight on the way, the other way has it beforehand.
      long gradient = way == Way.RECORDED ? (long) VOCABULARY * WIDTH * Float.BYTES : 0;
      return new Taken(ProcessMemory.peak() - before - gradient, seconds, loss);
    }
  }

  private static double run(Term term, Way way, Inputs inputs, long chunkBytes) {
    double scale = 1.0 / inputs.targets().length;
    if (way == Way.RECORDED) {
      return recorded(term, inputs, scale);
    }
    VocabularyProjection projection = new VocabularyProjection(inputs.weight(), chunkBytes);
    HeadGradient head = HeadGradient.full(inputs.weightGradient());
    return switch (term) {
      case TOKENS -> projection.loss(inputs.hidden(), 1, inputs.tokens(), scale, head).sum();
      case BAGS -> projection.loss(inputs.hidden(), MARKERS, inputs.bags(), scale, head).sum();
    };
  }

  /** What one would write without a thought for memory; handles die as soon as they may. */
  private static double recorded(Term term, Inputs inputs, double scale) {
    try (AutoGradMode grad = new AutoGradMode(true);
        TensorScope scope = new TensorScope()) {
      Tensor weight = inputs.weight().requires_grad_(true);
      Tensor hidden = inputs.hidden().requires_grad_(true);
      Tensor loss;
      try (TensorScope forward = new TensorScope()) {
        Tensor logits = torch.linear(hidden, weight);
        Tensor logProbabilities =
            switch (term) {
              case TOKENS -> ofTargets(logits, inputs.targets());
              case BAGS -> ofBags(logits, inputs.bags());
            };
        loss = forward.keep(logProbabilities.sum().neg());
      }
      TensorVector variables = new TensorVector();
      variables.push_back(weight);
      variables.push_back(hidden);
      torch.grad(new TensorVector(loss.mul(new Scalar(scale))), variables);
      return loss.item_float();
    }
  }

  private static Tensor ofTargets(Tensor logits, int[] targets) {
    return torch.log_softmax(logits, 1).gather(1, Tensors.ofInts(targets).unsqueeze(1));
  }

  private static Tensor ofBags(Tensor logits, List<Bag> bags) {
    int vocabulary = (int) logits.size(1);
    int[] places =
        IntStream.range(0, bags.size() * WORDS)
            .map(i -> i / WORDS * vocabulary + bags.get(i / WORDS).id(i % WORDS))
            .toArray();
    Tensor largest = logits.view(bags.size(), MARKERS, vocabulary).max(1).get0();
    return torch
        .log_softmax(largest, 1)
        .view(-1)
        .index_select(0, Tensors.ofInts(places))
        .div(new Scalar((double) WORDS));
  }

  private record Inputs(Tensor weight, Tensor weightGradient, Tensor hidden, int[] targets) {
    static Inputs random(int vocabulary, int width, int rows, Way way) {
      torch.manual_seed(20_231_215);
      TensorOptions floats = new TensorOptions(ScalarType.Float);
      long[] shape = {vocabulary, width};
      return new Inputs(
          torch.randn(shape, floats).mul_(new Scalar(0.02)),
          // Written, so that its pages are there.
          torch
              .empty(way == Way.CHUNKED ? shape : new long[] {0, width}, floats, null)
              .fill_(new Scalar(0.0)),
          torch.randn(new long[] {rows, width}, floats),
          new SplittableRandom(7).ints(rows, 3, vocabulary - WORDS).toArray());
    }

    List<Bag> tokens() {
      return Arrays.stream(targets).mapToObj(Bag::of).toList();
    }

    /** A bag for every {@link #MARKERS} rows, each of {@link #WORDS} ids. */
    List<Bag> bags() {
      return IntStream.range(0, targets.length / MARKERS)
          .mapToObj(
              bag -> Bag.ofSet(IntStream.range(0, WORDS).map(i -> targets[bag] + i).toArray()))
          .toList();
    }
  }
}
