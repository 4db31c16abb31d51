package io.llara;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.llara.checkpoint.LlamaConfig;
import io.llara.checkpoint.LlamaTensors;
import io.llara.checkpoint.SafetensorsWriter;
import io.llara.checkpoint.StorageType;
import io.llara.prompt.PromptTemplate;
import io.llara.testing.ChildJvm;
import io.llara.testing.Leaks;
import io.llara.testing.RandomCheckpoint;
import io.llara.testing.SparseCheckpoint;
import io.llara.testing.Stories;
import io.llara.testing.Texts;
import io.llara.testing.Vectors;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.WritableByteChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Random;
import java.util.stream.LongStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** Native memory: freed with its scope, limited by nothing but the machine, and used once. */
@Tag("slow")
class EncoderMemoryTest {
  private static final String TEXT = "Once upon a time there was a llama.";

  @Test
  void encodingLeavesNoNativeObjects() throws Throwable {
    List<String> texts = Texts.random(200, 30, 1);
    for (ComputeType type : List.of(ComputeType.FLOAT32, ComputeType.BFLOAT16)) {
      try (Encoder encoder =
          Encoder.builder(Stories.dir())
              .template(PromptTemplate.PAPER)
              .computeType(type)
              .maxTokens(64)
              .threads(2)
              .build()) {
        Leaks.assertNone(
            () -> {
              encoder.encodeAll(texts, Mode.SELF);
              texts.forEach(encoder::encodeQuery);
              texts.forEach(encoder::encodeBoth);
              texts.forEach(
                  text -> {
                    assertThatThrownBy(() -> encoder.encodeQuery(text + "\ud800"))
                        .isInstanceOf(TokenizationException.class);
                    assertThatThrownBy(
                            () ->
                                encoder.encodePrompt(
                                    encoder.prompts().fromIds(new int[] {512}, Mode.SELF),
                                    Mode.SELF))
                        .isInstanceOf(IllegalArgumentException.class);
                  });
            });
      }
    }
  }

  @Test
  void openingAndClosingLeavesNoNativeObjects() throws Throwable {
    for (boolean copy : new boolean[] {false, true}) {
      Leaks.assertNone(
          () -> {
            for (int i = 0; i < 5; i++) {
              try (Encoder encoder =
                  Encoder.builder(Stories.dir())
                      .template(PromptTemplate.PAPER)
                      .copyWeights(copy)
                      .build()) {
                encoder.encodeQuery(TEXT);
              }
            }
          });
    }
  }

  /** Encodes with the checkpoint that is its argument. */
  static final class EncodeOnce {
    private EncodeOnce() {}

    public static void main(String[] args) {
      try (Encoder encoder =
          Encoder.builder(Path.of(args[0]))
              .template(PromptTemplate.PAPER)
              .computeType(ComputeType.FLOAT32)
              .build()) {
        Vectors.assertUnit(encoder.encodePassage(TEXT));
        Vectors.assertUnit(encoder.encodeBoth(TEXT.repeat(20)).next());
      }
    }
  }

  /** JavaCPP would stop at four times the heap, which the weights alone are more than. */
  @Test
  @Timeout(180)
  void aSmallHeapDoesNotLimitTheModel(@TempDir Path dir) throws Exception {
    LlamaConfig config =
        LlamaConfig.builder()
            .hiddenSize(512)
            .intermediateSize(1536)
            .layers(15)
            .heads(8)
            .vocabularySize(40_000)
            .tieWordEmbeddings(true)
            .eosTokenIds(List.of(2))
            .build();
    writeWithTokenizer(dir, config);
    assertThat(Files.size(dir.resolve("model.safetensors"))).isGreaterThan(4 * 48L << 20);

    ChildJvm.run(List.of("-Xmx48m"), EncodeOnce.class, dir.toString());
  }

  private static void writeWithTokenizer(Path dir, LlamaConfig config) throws IOException {
    copyTokenizer(dir);
    RandomCheckpoint.writeConfig(dir, config);
    ByteBuffer noise = ByteBuffer.allocate(1 << 20).order(ByteOrder.LITTLE_ENDIAN);
    Random random = new Random(1);
    while (noise.hasRemaining()) {
      noise.putFloat((random.nextFloat() - 0.5f) * 0.15f);
    }
    SafetensorsWriter writer = new SafetensorsWriter();
    LlamaTensors.required(config)
        .forEach(
            (name, shape) -> {
              long bytes = 4 * LongStream.of(shape).reduce(1, Math::multiplyExact);
              writer.add(name, StorageType.F32, shape, out -> repeat(noise, bytes, out));
            });
    writer.write(dir.resolve("model.safetensors"));
  }

  private static void repeat(ByteBuffer noise, long bytes, WritableByteChannel out)
      throws IOException {
    for (long left = bytes; left > 0; ) {
      int size = (int) Math.min(left, noise.capacity());
      out.write(noise.clear().limit(size));
      left -= size;
    }
  }

  private static void copyTokenizer(Path dir) throws IOException {
    for (String file : List.of("tokenizer.json", "tokenizer_config.json")) {
      Files.copy(Stories.dir().resolve(file), dir.resolve(file));
    }
  }

  /** Opens the checkpoint that is its argument and tells its peak resident memory in KiB. */
  static final class OpenOnce {
    private OpenOnce() {}

    public static void main(String[] args) throws IOException {
      long begin = System.nanoTime();
      try (Encoder encoder =
              Encoder.builder(Path.of(args[0]))
                  .template(PromptTemplate.PAPER)
                  .computeType(ComputeType.BFLOAT16)
                  .build();
          Stream<String> status = Files.lines(Path.of("/proc/self/status"))) {
        assertThat(encoder.dimension()).isEqualTo(4096);
        status.filter(line -> line.startsWith("VmHWM")).forEach(System.out::println);
        System.out.println("Millis: " + (System.nanoTime() - begin) / 1_000_000);
      }
    }
  }

  /** The shapes of LLaMA-2-7B in bfloat16, files of 13 GB that take no room on the disk. */
  @Test
  @Timeout(180)
  void aLargeModelOpensInSecondsWithoutACopy(@TempDir Path dir) throws Exception {
    assumeTrue(Files.isReadable(Path.of("/proc/self/status")), "needs Linux's /proc");
    copyTokenizer(dir);
    long bytes =
        SparseCheckpoint.write(
            dir,
            LlamaConfig.builder()
                .hiddenSize(4096)
                .intermediateSize(11008)
                .layers(32)
                .heads(32)
                .vocabularySize(32_000)
                .eosTokenIds(List.of(2))
                .build(),
            2);
    assertThat(bytes).isGreaterThan(13_000_000_000L);

    String printed = ChildJvm.run(List.of("-Xmx512m"), OpenOnce.class, dir.toString());

    assertThat(number(printed, "VmHWM:")).as("KiB at the peak").isLessThan(1 << 20);
    assertThat(number(printed, "Millis:")).isLessThan(20_000);
  }

  private static long number(String printed, String label) {
    return printed
        .lines()
        .filter(line -> line.startsWith(label))
        .mapToLong(line -> Long.parseLong(line.replaceAll("\\D", "")))
        .findFirst()
        .orElseThrow(() -> new AssertionError(label + " is not in: " + printed));
  }
}
