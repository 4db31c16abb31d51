package io.llara.examples;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.google.gson.Gson;
import io.llara.ComputeType;
import io.llara.Encoder;
import io.llara.Mode;
import io.llara.Similarity;
import io.llara.testing.Stories;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.io.PrintStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class EncodeCommandTest {
  private static final String TEXTS = "The llama sleeps.\nEin größerer Text 🦙\nOne more.\n";

  private static Path model;

  @TempDir private Path folder;

  @BeforeAll
  static void unpack() {
    model = Stories.dir();
  }

  @Test
  void writesAJsonArrayALine() {
    CommandRun run = encode(TEXTS, "--mode", "self", "-");
    assertThat(run.code()).isZero();
    assertThat(run.err()).isEmpty();
    List<float[]> embeddings =
        run.lines().stream().map(line -> new Gson().fromJson(line, float[].class)).toList();
    assertThat(embeddings).hasSize(3);
    try (Encoder encoder =
        Encoder.builder(model).template("llara-paper").computeType(ComputeType.FLOAT32).build()) {
      List<float[]> expected = encoder.encodeAll(TEXTS.lines().toList(), Mode.SELF);
      for (int i = 0; i < 3; i++) {
        assertThat(Similarity.cosine(embeddings.get(i), expected.get(i))).isGreaterThan(0.99999);
      }
    }
  }

  @Test
  void modesDiffer() {
    assertThat(encode(TEXTS, "--mode", "next", "-").out())
        .isNotEqualTo(encode(TEXTS, "--mode", "self", "-").out());
  }

  @Test
  void writesANumPyArray() throws IOException {
    Path texts = Files.writeString(folder.resolve("texts.txt"), TEXTS);
    Path file = folder.resolve("out.npy");
    CommandRun toOut = encode("", "--mode", "self", "--format", "npy", texts.toString());
    CommandRun toFile =
        encode("", "--mode", "self", "--format", "npy", "--out", file.toString(), texts.toString());
    assertThat(toOut.code()).isZero();
    assertThat(toFile.code()).isZero();
    assertThat(toFile.bytes()).isEmpty();
    assertThat(Files.readAllBytes(file)).isEqualTo(toOut.bytes());

    ByteBuffer bytes = ByteBuffer.wrap(toOut.bytes()).order(ByteOrder.LITTLE_ENDIAN);
    byte[] magic = new byte[8];
    bytes.get(magic);
    assertThat(magic).isEqualTo(new byte[] {(byte) 0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0});
    byte[] header = new byte[bytes.getShort()];
    bytes.get(header);
    assertThat(new String(header, StandardCharsets.US_ASCII))
        .matches("\\{'descr': '<f4', 'fortran_order': False, 'shape': \\(3, 64\\), } *\n");
    assertThat(bytes.position() % 64).isZero();
    assertThat(bytes.remaining()).isEqualTo(3 * 64 * 4);
    List<Double> lengths = new ArrayList<>();
    for (int row = 0; row < 3; row++) {
      double squares = 0;
      for (int column = 0; column < 64; column++) {
        squares += Math.pow(bytes.getFloat(), 2);
      }
      lengths.add(squares);
    }
    assertThat(lengths).allSatisfy(length -> assertThat(length).isCloseTo(1, within(1e-5)));
  }

  @Test
  void blankLinesAreSkippedAndCountedUnlessAskedOtherwise() {
    String texts = "One\n\nThree\n \t\n";
    CommandRun without = encode("One\nThree\n", "--mode=self", "-");
    CommandRun skipped = encode(texts, "--mode=self", "-");
    assertThat(skipped.code()).isZero();
    assertThat(skipped.out()).isEqualTo(without.out());
    assertThat(skipped.err())
        .isEqualTo("llara: standard input: 2 of 4 lines are blank and were skipped\n");
    CommandRun zero = encode(texts, "--mode=self", "--blank=zero", "-");
    assertThat(zero.lines()).hasSize(4);
    assertThat(zero.lines().get(2)).isEqualTo(without.lines().get(1));
    assertThat(zero.lines().get(3)).matches("\\[0\\.0(,0\\.0){63}]");
    assertThat(encode(texts, "--mode=self", "--format=npy", "-").bytes())
        .isEqualTo(encode("One\nThree\n", "--mode=self", "--format=npy", "-").bytes());
    LlaraTest.assertRefused(
        encode(texts, "--mode=self", "--blank=refuse", "-"), "input:2: is empty; expected a text");
    LlaraTest.assertRefused(
        encode("One\n \t\n", "--mode=self", "--blank=refuse", "-"), ":2: is blank");
  }

  @Test
  void anOutputIsNeverAnInputAndReplacesAnOlderOneOnlyAsAWhole() throws IOException {
    Path texts = Files.writeString(folder.resolve("texts.txt"), TEXTS);
    Path link = Files.createSymbolicLink(folder.resolve("link.txt"), texts);
    for (Path out : List.of(texts, link, folder.resolve("./texts.txt"))) {
      LlaraTest.assertRefused(
          encode("", "--mode=self", "--out=" + out, texts.toString()), "what FILE reads");
      assertThat(Files.readString(texts)).isEqualTo(TEXTS);
    }
    Path weights = model.resolve("model.safetensors");
    byte[] before = Files.readAllBytes(weights);
    LlaraTest.assertRefused(
        encode("", "--mode=self", "--out=" + weights, texts.toString()), "which --model reads");
    LlaraTest.assertRefused(
        encode("", "--mode=self", "--out=" + model.resolve("new"), texts.toString()),
        "which --model reads");
    assertThat(Files.readAllBytes(weights)).isEqualTo(before);

    Path out = Files.writeString(folder.resolve("out.jsonl"), "old");
    Files.write(texts, new byte[] {'a', '\n', (byte) 0xFF, '\n'});
    LlaraTest.assertRefused(
        encode("", "--mode=self", "--out=" + out, texts.toString()), "not UTF-8");
    LlaraTest.assertRefused(
        encode("One", "--mode=self", "--max-tokens=1", "--out=" + out, "-"), "maxTokens");
    assertThat(out).hasContent("old");
    assertThat(encode("One", "--mode=self", "--out=" + out, "-").code()).isZero();
    assertThat(out).content().startsWith("[").endsWith("]\n");
    LlaraTest.assertRefused(
        encode("One", "--mode=self", "--out=" + folder.resolve("no/out"), "-"),
        "the folder " + folder.resolve("no") + " does not exist");
    LlaraTest.assertRefused(
        encode("One", "--mode=self", "--out=" + folder, "-"), "is a folder; expected a file");
    assertThat(folder.toFile().list())
        .containsExactlyInAnyOrder("texts.txt", "link.txt", "out.jsonl");
  }

  @Test
  void aLinkIsFollowedAndADeviceStays() throws IOException {
    Path target = Files.writeString(folder.resolve("target"), "old");
    Path link = Files.createSymbolicLink(folder.resolve("link"), target);
    assertThat(encode("One", "--mode=self", "--out=" + link, "-").code()).isZero();
    assertThat(link).isSymbolicLink();
    assertThat(target).content().startsWith("[");
    Path device = Path.of("/dev/null");
    assumeTrue(Files.exists(device));
    assertThat(encode("One", "--mode=self", "--out=" + device, "-").code()).isZero();
    assertThat(Files.isRegularFile(device)).isFalse();
  }

  @Test
  void copiedWeightsGiveTheSame() {
    assertThat(encode(TEXTS, "--mode=self", "--copy-weights", "-").out())
        .isEqualTo(encode(TEXTS, "--mode=self", "-").out());
  }

  @Test
  void namesTheLineThatIsNoText() throws IOException {
    Path broken = folder.resolve("broken.txt");
    Files.write(broken, new byte[] {'a', '\n', (byte) 0xFF, '\n'});
    LlaraTest.assertRefused(encode("", "--mode", "self", broken.toString()), "not UTF-8");
    LlaraTest.assertRefused(encode("", "--mode", "self", "no-such-file"), "no-such-file");
  }

  @Test
  void nothingInNothingOut() {
    CommandRun run = encode("", "--mode", "self", "-");
    assertThat(run.code()).isZero();
    assertThat(run.bytes()).isEmpty();
  }

  @Test
  void tellsOfCuts() {
    CommandRun run =
        encode("word ".repeat(300) + "\nshort\n", "--mode", "self", "--max-tokens=64", "-");
    assertThat(run.code()).isZero();
    assertThat(run.lines()).hasSize(2);
    assertThat(run.err()).contains("1 of 2 texts were truncated to 64 tokens");
  }

  @Test
  void refusesBadOptions() {
    LlaraTest.assertRefused(encode("x", "--mode", "both", "-"), "both");
    LlaraTest.assertRefused(encode("x", "--mode", "self", "--threads=0", "-"), "threads");
    LlaraTest.assertRefused(encode("x", "--mode", "self", "--max-tokens=-1", "-"), "maxTokens");
    LlaraTest.assertRefused(encode("x", "--mode", "self", "--adapter=none", "-"), "none");
    LlaraTest.assertRefused(
        CommandRun.of("encode", "--model=" + model, "--mode=self", "--template=mine", "-"), "mine");
  }

  @Test
  void aReaderThatGoesAwayIsNoError() {
    Streams streams =
        new Streams(
            new ByteArrayInputStream("text\n".repeat(2000).getBytes(StandardCharsets.UTF_8)),
            failing("Broken pipe"),
            new PrintStream(new ByteArrayOutputStream(), true, StandardCharsets.UTF_8),
            false);
    assertThat(Llara.run(streams, args("--mode", "self", "-"))).isZero();
  }

  @Test
  void aFullDiskIsAnError() {
    ByteArrayOutputStream err = new ByteArrayOutputStream();
    Streams streams =
        new Streams(
            new ByteArrayInputStream("text\n".getBytes(StandardCharsets.UTF_8)),
            failing("No space left on device"),
            new PrintStream(err, true, StandardCharsets.UTF_8),
            false);
    assertThat(Llara.run(streams, args("--mode", "self", "-"))).isEqualTo(2);
    assertThat(err.toString(StandardCharsets.UTF_8)).contains("No space left");
  }

  private static OutputStream failing(String message) {
    return new OutputStream() {
      @Override
      public void write(int b) throws IOException {
        throw new IOException(message);
      }
    };
  }

  private static CommandRun encode(String input, String... options) {
    return CommandRun.withInput(input, args(options));
  }

  private static String[] args(String... options) {
    List<String> args = new ArrayList<>();
    args.addAll(
        List.of(
            "encode",
            "--model",
            model.toString(),
            "--template",
            "llara-paper",
            "--dtype=float32",
            "--threads=1"));
    args.addAll(Arrays.asList(options));
    return args.toArray(String[]::new);
  }
}
