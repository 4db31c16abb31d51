package io.llara.checkpoint.gguf;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatExceptionOfType;

import com.google.gson.JsonObject;
import io.llara.ModelLoadException;
import io.llara.UnsupportedModelException;
import io.llara.io.StrictJson;
import io.llara.tokenize.BpeTokenizer;
import io.llara.tokenize.BpeTokenizer.AddedToken;
import io.llara.tokenize.BpeTokenizer.Merge;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.function.Consumer;
import org.junit.jupiter.api.Test;

class GgufVocabularyTest {
  /** Tokens of kind llama: three special ones, then what scores decide about. */
  private static final List<String> SCORED =
      List.of("<unk>", "<s>", "</s>", "a", "b", "c", "ab", "bc", "abc", "\u2581", "\u2581a");

  private static GgufVocabulary read(GgufBuilder gguf) {
    JsonObject metadata = header(gguf).metadata().json();
    return new GgufVocabulary(StrictJson.modelSection(metadata, "model.gguf: metadata"));
  }

  private static List<Integer> specialIds(GgufVocabulary vocabulary) {
    return vocabulary.tokenizer().added().stream()
        .filter(AddedToken::special)
        .map(AddedToken::id)
        .toList();
  }

  private static GgufHeader header(GgufBuilder gguf) {
    try {
      Path file = Files.createTempFile("llara", ".gguf");
      try {
        return GgufHeader.read(gguf.write(file));
      } finally {
        Files.delete(file);
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private static void assertRefused(Consumer<GgufBuilder> change, String... parts) {
    GgufBuilder gguf = GgufModels.small();
    change.accept(gguf);
    assertRefused(gguf, ModelLoadException.class, parts);
  }

  private static void assertRefused(
      GgufBuilder gguf, Class<? extends ModelLoadException> kind, String... parts) {
    assertThatExceptionOfType(kind)
        .isThrownBy(() -> read(gguf))
        .withMessageStartingWith("model.gguf: metadata: key 'tokenizer.")
        .satisfies(e -> assertThat(e.getMessage()).contains(parts));
  }

  private static GgufBuilder scored(float... scores) {
    return GgufModels.small()
        .put("tokenizer.ggml.model", "llama")
        .put("tokenizer.ggml.tokens", SCORED)
        .put("tokenizer.ggml.scores", scores)
        .put("tokenizer.ggml.token_type", new int[] {2, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1})
        .put("tokenizer.ggml.merges", null)
        .put("tokenizer.ggml.bos_token_id", null)
        .put("tokenizer.ggml.eos_token_id", null);
  }

  @Test
  void readsAByteLevelVocabulary() {
    GgufVocabulary vocabulary = read(GgufModels.small());
    assertThat(vocabulary.kind()).isEqualTo(GgufVocabulary.Kind.GPT2);
    assertThat(vocabulary.tokenizer().steps())
        .isEqualTo(new BpeTokenizer.ByteLevel(GgufPreTokenizer.GPT2.toJson(), false));
    assertThat(vocabulary.size()).isEqualTo(GgufModels.TOKENS.size());
    assertThat(vocabulary.tokenizer().merges().get(0)).isEqualTo(new Merge("a", "b"));
    assertThat(vocabulary.special(GgufVocabulary.BOS)).contains(0);
    assertThat(vocabulary.special(GgufVocabulary.EOS)).contains(1);
    assertThat(vocabulary.special(GgufVocabulary.UNKNOWN)).isEmpty();
    assertThat(vocabulary.tokenizer().bos()).isEmpty();
    assertThat(specialIds(vocabulary)).containsExactly(0, 1, 2);
    assertThat(vocabulary.notes()).isEmpty();
  }

  @Test
  void mergesFollowFromScores() {
    GgufVocabulary vocabulary = read(scored(0, 0, 0, -9, -9, -9, -2, -1, -3, -9, -4));
    List<String> merges =
        vocabulary.tokenizer().merges().stream()
            .map(merge -> merge.left() + " " + merge.right())
            .toList();
    // The best token first; of two ways to one token, the one whose left part has the smaller id.
    assertThat(merges).containsExactly("b c", "a b", "a bc", "ab c", "\u2581 a");
    assertThat(vocabulary.special(GgufVocabulary.BOS)).contains(1);
    assertThat(vocabulary.special(GgufVocabulary.EOS)).contains(2);
    assertThat(vocabulary.special(GgufVocabulary.UNKNOWN)).contains(0);
    assertThat(vocabulary.tokenizer().bos()).contains(1);
    assertThat(vocabulary.tokenizer().steps())
        .isEqualTo(
            new BpeTokenizer.SentencePiece(
                BpeTokenizer.Space.BEFORE_EACH_PART, Optional.of("<unk>"), false));
  }

  @Test
  void controlTokensAreNoPartsOfMerges() {
    GgufBuilder gguf = scored(0, 0, 0, -9, -9, -9, -2, -1, -3, -9, -4);
    gguf.put("tokenizer.ggml.token_type", new int[] {2, 3, 3, 1, 1, 1, 3, 1, 1, 1, 1});
    assertThat(read(gguf).tokenizer().merges())
        .contains(new Merge("b", "c"), new Merge("a", "bc"))
        .doesNotContain(new Merge("a", "b"), new Merge("ab", "c"));
  }

  @Test
  void theFileSaysWhetherABeginningIsMarked() {
    GgufBuilder gguf = GgufModels.small().put("tokenizer.ggml.add_bos_token", true);
    assertThat(read(gguf).tokenizer().bos()).contains(0);
    gguf.put("tokenizer.ggml.add_bos_token", null).put("tokenizer.ggml.pre", "llama-bpe");
    assertThat(read(gguf).tokenizer().bos()).contains(0);
    gguf.put("tokenizer.ggml.bos_token_id", null);
    assertRefused(gguf, ModelLoadException.class, "bos_token_id' is missing");
  }

  @Test
  void whatIsGuessedIsNoted() {
    GgufVocabulary vocabulary =
        read(
            GgufModels.small()
                .put("tokenizer.ggml.pre", null)
                .put("tokenizer.ggml.token_type", null));
    assertThat(vocabulary.tokenizer().steps())
        .isEqualTo(new BpeTokenizer.ByteLevel(GgufPreTokenizer.DEFAULT.toJson(), false));
    assertThat(vocabulary.notes()).hasSize(2);
    assertThat(vocabulary.notes().get(0)).contains("'tokenizer.ggml.pre' is missing");
    assertThat(specialIds(vocabulary)).containsExactly(0, 1);
  }

  @Test
  void aTokenWithoutANameGetsOne() {
    List<String> tokens = new ArrayList<>(GgufModels.TOKENS);
    tokens.set(2, "");
    assertThat(read(GgufModels.small().put("tokenizer.ggml.tokens", tokens)).token(2))
        .isEqualTo("[EMPTY_2]");
  }

  @Test
  void refusesOtherKindsByName() {
    assertRefused(
        GgufModels.small().put("tokenizer.ggml.model", "t5"),
        UnsupportedModelException.class,
        "'t5'",
        "llama, gpt2");
    assertRefused(
        GgufModels.small().put("tokenizer.ggml.pre", "tekken"),
        UnsupportedModelException.class,
        "'tekken'",
        "smollm");
    assertRefused(g -> g.put("tokenizer.ggml.model", null), "is missing");
    assertRefused(g -> g.put("tokenizer.ggml.model", 3), "is 3; expected a string");
  }

  @Test
  void refusesTokensThatAreNone() {
    assertRefused(g -> g.put("tokenizer.ggml.tokens", null), "is missing");
    assertRefused(g -> g.put("tokenizer.ggml.tokens", List.of()), "empty");
    assertRefused(g -> g.put("tokenizer.ggml.tokens", "a"), "expected a list");
    List<String> twice = new ArrayList<>(GgufModels.TOKENS);
    twice.set(5, "a");
    assertRefused(g -> g.put("tokenizer.ggml.tokens", twice), "'a' has the ids 3 and 5");
    List<String> longToken = new ArrayList<>(GgufModels.TOKENS);
    longToken.set(5, "x".repeat(5000));
    assertRefused(g -> g.put("tokenizer.ggml.tokens", longToken), "token 5 has 5000 characters");
    assertRefused(
        g -> g.put("tokenizer.ggml.token_type", new int[] {1}), "one for each of the 16 tokens");
    assertRefused(g -> g.put("tokenizer.ggml.token_type", new int[16]), "0 for token 0", "1 to 6");
    int[] bytes = new int[16];
    Arrays.fill(bytes, 1);
    bytes[4] = 6;
    assertRefused(g -> g.put("tokenizer.ggml.token_type", bytes), "token 4, 'b'", "<0x00>");
  }

  @Test
  void refusesMergesThatMakeNoToken() {
    assertRefused(g -> g.put("tokenizer.ggml.merges", null), "is missing");
    for (String merge : List.of("ab", "a", "", "a zz", "zz a", "a c", " a", "a b c")) {
      assertRefused(
          g -> g.put("tokenizer.ggml.merges", List.of("a b", merge)), "merge 1", "'" + merge + "'");
    }
  }

  @Test
  void refusesScoresThatAreNone() {
    float[] right = {0, 0, 0, -9, -9, -9, -2, -1, -3, -9, -4};
    assertThat(read(scored(right)).size()).isEqualTo(11);
    assertRefused(
        scored(right).put("tokenizer.ggml.scores", null), ModelLoadException.class, "is missing");
    assertRefused(scored(1, 2), ModelLoadException.class, "a list of 2 values");
    right[4] = Float.NaN;
    assertRefused(scored(right), ModelLoadException.class, "scores[4]' is NaN");
    List<String> partlyBytes = new ArrayList<>(SCORED);
    partlyBytes.set(5, "<0x41>");
    right[4] = 0;
    assertRefused(
        scored(right)
            .put("tokenizer.ggml.tokens", partlyBytes)
            .put("tokenizer.ggml.token_type", null),
        ModelLoadException.class,
        "1 byte tokens",
        "none or 256");
    List<String> longToken = new ArrayList<>(SCORED);
    longToken.set(5, "x".repeat(600));
    assertRefused(
        scored(right).put("tokenizer.ggml.tokens", longToken),
        ModelLoadException.class,
        "600 characters",
        "at most 512");
  }

  @Test
  void refusesIdsOutsideTheVocabulary() {
    assertRefused(g -> g.put("tokenizer.ggml.bos_token_id", 16), "is 16", "below 16");
    assertRefused(g -> g.put("tokenizer.ggml.padding_token_id", -1), "is 4294967295");
    assertRefused(g -> g.put("tokenizer.ggml.unknown_token_id", 99), "is 99");
    assertRefused(
        g -> g.put("tokenizer.ggml.eos_token_id", null).put("tokenizer.ggml.add_eos_token", true),
        "eos_token_id' is missing");
  }
}
