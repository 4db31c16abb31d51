package io.llara.benchmarks.teachers;

import io.llara.EmbeddingSink;
import io.llara.Encoder;
import io.llara.Mode;
import io.llara.train.teacher.TeacherTexts;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.stream.Stream;

/**
 * Makes files of a teacher's vectors for {@code llara finetune --teacher}, of the texts of training
 * files, with a model that LangChain4j ships in a jar: one file for each, {@code
 * OUT/NAME.MODEL.safetensors}. Files that are there are left alone, so that it goes on where it
 * ended.
 *
 * <pre>{@code
 * JarTeacher bge-small-en-v1.5|e5-small-v2|all-minilm-l6-v2 THREADS OUT_FOLDER FILE…
 * }</pre>
 */
public final class JarTeacher {
  /** Much larger batches leave the caches. */
  private static final int BATCH_TOKENS = 1024;

  private JarTeacher() {}

  /** Makes the files. */
  public static void main(String[] args) throws Exception {
    if (args.length < 4) {
      System.err.println("usage: JarTeacher MODEL THREADS OUT_FOLDER FILE…");
      System.exit(2);
    }
    JarModel model = JarModel.named(args[0]);
    Path folder = Files.createDirectories(Path.of(args[2]));
    List<Path> files = Arrays.stream(args, 3, args.length).map(Path::of).toList();
    int batch = Integer.getInteger("batchTokens", BATCH_TOKENS);
    try (OnnxEncoder encoder = new OnnxEncoder(model, Integer.parseInt(args[1]), batch)) {
      for (Path file : files) {
        String name = file.getFileName().toString().replaceFirst("\\.jsonl(\\.gz)?$", "");
        Path out = folder.resolve(name + "." + model.resource() + ".safetensors");
        if (!Files.exists(out)) {
          teach(encoder, model, file, out);
        }
      }
    }
  }

  private static void teach(OnnxEncoder encoder, JarModel model, Path file, Path out) {
    TeacherTexts texts = TeacherTexts.read(List.of(file));
    Progress progress = new Progress(encoder, texts.count(), file);
    texts.write(
        progress,
        "%s, %d tokens, ONNX Runtime float32".formatted(model.resource(), OnnxEncoder.MAX_TOKENS),
        out);
    progress.print();
  }

  /** Prints every now and then how far it is. */
  private static final class Progress implements Encoder {
    private static final long APART = 10_000_000_000L;

    private final OnnxEncoder encoder;
    private final long total;
    private final Path file;
    private final long tokensBefore;
    private final long begin = System.nanoTime();
    private long printed = begin;
    private long done;

    Progress(OnnxEncoder encoder, long total, Path file) {
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
