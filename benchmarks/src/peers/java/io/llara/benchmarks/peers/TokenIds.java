package io.llara.benchmarks.peers;

import de.kherud.llama.LlamaModel;
import de.kherud.llama.ModelParameters;
import de.kherud.llama.args.LogFormat;
import io.llara.benchmarks.imported.ComparedTexts;
import io.llara.checkpoint.gguf.GgufImporter;
import io.llara.tokenize.Tokenizer;
import java.io.IOException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.regex.Pattern;

/**
 * Compares the token ids of imported GGUF files with those of llama.cpp on the same files: a
 * hundred lines written for it and a thousand of the shared texts. First the file as it is, then
 * with the name of each pre-tokenizer in it, then small files with the SentencePiece-like
 * vocabularies of the shared folder.
 *
 * <pre>{@code
 * TokenIds FILE.gguf SHARED_DATA_FOLDER
 * }</pre>
 *
 * <p>Exit code 1 if an id differs.
 */
public final class TokenIds {
  private static final List<String> PRE_TOKENIZERS =
      List.of(
          "default",
          "gpt-2",
          "smollm",
          "llama-bpe",
          "smaug-bpe",
          "qwen2",
          "falcon",
          "deepseek-coder");

  private static final List<String> TOKENIZERS =
      List.of(
          "tokenizers/llama2",
          "tokenizers/mistral-v0.1",
          "tokenizers/open-llama",
          "models/stories260k");

  /** What llama.cpp takes for control tokens wherever a text spells it. */
  private static final Pattern CONTROL =
      Pattern.compile("<s>|</s>|<unk>|<\\|[a-z_]+\\|>|<[a-z]+_[a-z]+>|<reponame>|<filename>");

  private static final int MOST_SHOWN = 5;

  private final List<String> texts = new ArrayList<>();
  private boolean same = true;

  private TokenIds(Path sharedTexts) throws IOException {
    texts.addAll(ComparedTexts.written());
    texts.addAll(ComparedTexts.shared(sharedTexts));
  }

  /** Compares and prints a line a file. */
  public static void main(String[] args) throws IOException {
    if (args.length != 2) {
      System.err.println("usage: TokenIds FILE.gguf SHARED_DATA_FOLDER");
      System.exit(2);
    }
    Path file = Path.of(args[0]);
    Path shared = Path.of(args[1]);
    LlamaModel.setLogger(LogFormat.TEXT, (level, message) -> {});
    TokenIds comparison = new TokenIds(shared.resolve("text"));
    comparison.compare("as it is", file);
    Path copy = Files.createTempFile("llara-peers", ".gguf");
    try {
      for (String name : PRE_TOKENIZERS) {
        GgufFiles.withPreTokenizer(file, name, copy);
        comparison.compare("pre-tokenizer " + name, copy);
      }
      for (String name : TOKENIZERS) {
        GgufFiles.ofTokenizer(shared.resolve(name).resolve("tokenizer.json"), copy);
        comparison.compare("vocabulary of " + name, copy);
      }
    } finally {
      Files.delete(copy);
    }
    System.exit(comparison.same ? 0 : 1);
  }

  private void compare(String name, Path file) throws IOException {
    Path dir = Files.createTempDirectory("llara-peers");
    ModelParameters parameters =
        new ModelParameters()
            .setModel(file.toString())
            .setThreads(1)
            .setCtxSize(64)
            .setGpuLayers(0)
            .skipWarmup()
            .disableLog();
    try (Tokenizer ours = imported(file, dir);
        LlamaModel theirs = new LlamaModel(parameters)) {
      int compared = 0;
      int tokens = 0;
      int different = 0;
      for (String text : texts) {
        if (CONTROL.matcher(text).find()) {
          continue;
        }
        int[] expected = theirs.encode(text);
        int[] found = ours.encodeText(text);
        compared++;
        tokens += expected.length;
        if (!Arrays.equals(expected, found) && different++ < MOST_SHOWN) {
          show(text, expected, found);
        }
      }
      System.out.printf(
          "%s: %d of %d texts have the same ids, %d tokens%n",
          name, compared - different, compared, tokens);
      same &= different == 0;
    } finally {
      remove(dir);
    }
  }

  /** The weights do not matter here: one layer of them is enough. */
  private static Tokenizer imported(Path file, Path dir) {
    GgufImporter.builder(file).layers(1).build().write(dir);
    return Tokenizer.load(dir);
  }

  private static void show(String text, int[] expected, int[] found) {
    int at = Arrays.mismatch(expected, found);
    System.out.printf(
        "  differs at token %d: expected %s, found %s: %s%n",
        at,
        part(expected, at),
        part(found, at),
        text.length() < 200 ? text : text.substring(0, 200));
  }

  private static String part(int[] ids, int from) {
    return Arrays.toString(
        Arrays.copyOfRange(ids, Math.min(from, ids.length), Math.min(from + 6, ids.length)));
  }

  private static void remove(Path dir) throws IOException {
    try (DirectoryStream<Path> files = Files.newDirectoryStream(dir)) {
      for (Path file : files) {
        Files.delete(file);
      }
    }
    Files.delete(dir);
  }
}
