package io.llara.benchmarks.teachers;

import io.llara.ComputeType;
import io.llara.EmbeddingSink;
import io.llara.Encoder;
import io.llara.Mode;
import io.llara.tensor.Cpu;
import io.llara.train.teacher.TeacherTexts;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.stream.Stream;
import org.bytedeco.pytorch.global.torch.ScalarType;

/**
 * Makes files of a teacher's vectors for {@code llara finetune --teacher}, of the texts of training
 * files, with a model that LangChain4j ships in a jar: one file for each, {@code
 * OUT/NAME.MODEL.safetensors}. Files that are there are left alone, so that it goes on where it
 * ended.
 *
 * <pre>{@code
 * JarTeacher bge-small-en-v1.5|e5-small-v2|all-minilm-l6-v2 onnx|float32|bfloat16 THREADS OUT FILE…
 * }</pre>
 *
 * <p>{@code onnx} is ONNX Runtime in float32, the others are the same weights in libtorch.
 */
public final class JarTeacher {
  private JarTeacher() {}

  /** Makes the files. */
  public static void main(String[] args) throws Exception {
    if (args.length < 5) {
      System.err.println("usage: JarTeacher MODEL onnx|float32|bfloat16 THREADS OUT FILE…");
      System.exit(2);
    }
    JarModel model = JarModel.named(args[0]);
    Optional<ScalarType> type =
        args[1].equals("onnx")
            ? Optional.empty()
            : Optional.of(
                Cpu.scalarType(ComputeType.valueOf(args[1].toUpperCase(Locale.ROOT))));
    Path folder = Files.createDirectories(Path.of(args[3]));
    List<Path> files = Arrays.stream(args, 4, args.length).map(Path::of).toList();
    try (JarEncoder encoder = new JarEncoder(model, type, Integer.parseInt(args[2]))) {
      for (Path file : files) {
        String name = file.getFileName().toString().replaceFirst("\\.jsonl(\\.gz)?$", "");
        Path out = folder.resolve(name + "." + model.resource() + ".safetensors");
        if (!Files.exists(out)) {
          teach(encoder, model.resource() + " " + args[1], file, out);
        }
      }
    }
  }

  private static void teach(JarEncoder encoder, String name, Path file, Path out) {
    TeacherTexts texts = TeacherTexts.read(List.of(file));
    Progress progress = new Progress(encoder, texts.count(), file);
    texts.write(
        progress,
        "%s, %d tokens".formatted(name, JarEncoder.MAX_TOKENS),
        out);
    progress.print();
  }

  /** Prints every now and then how far it is. */
  private static final class Progress implements Encoder {
    private static final long APART = 10_000_000_000L;

    private final JarEncoder encoder;
    private final long total;
    private final Path file;
    private final long tokensBefore;
    private final long begin = System.nanoTime();
    private long printed = begin;
    private long done;

    Progress(JarEncoder encoder, long total, Path file) {
      this.encoder = encoder;
      this.total = total;
      this.file = file;
      this.tokensBefore = encoder.tokens();
    }

    @Override
    public float[] encode(String text, Mode mode) {
      return encoder.encode(text, mode);
    }

    @Override
    public int dimension() {
      return encoder.dimension();
    }

    @Override
    public void encodeAll(Stream<String> texts, Mode mode, EmbeddingSink sink) {
      encoder.encodeAll(
          texts,
          mode,
          (index, text, vector) -> {
            sink.accept(index, text, vector);
            done++;
            if (System.nanoTime() - printed > APART) {
              print();
            }
          });
    }

    void print() {
      printed = System.nanoTime();
      long tokens = encoder.tokens() - tokensBefore;
      System.err.printf(
          Locale.ROOT,
          "%s: %d of %d texts, %d tokens, %.0f tokens/s%n",
          file,
          done,
          total,
          tokens,
          tokens / ((printed - begin) / 1e9));
    }
  }
}
