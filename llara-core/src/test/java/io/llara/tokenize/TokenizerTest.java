package io.llara.tokenize;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.google.common.primitives.Ints;
import com.google.gson.JsonArray;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import io.llara.TokenizationException;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.Callable;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class TokenizerTest {
  /** In this vocabulary the token of byte b is b + 3, and a space before a text is 410. */
  private static final int BYTE_ZERO = 3;

  private static final int SPACE = 410;

  private static Tokenizer tokenizer;

  @TempDir Path dir;

  @BeforeAll
  static void load() {
    tokenizer = Tokenizer.load(TestTokenizers.stories());
  }

  @AfterAll
  static void close() {
    tokenizer.close();
  }

  @Test
  void textsBecomeTheKnownIdsWithoutBos() {
    // expected.json of the model, computed with sentencepiece's own algorithm.
    assertThat(tokenizer.encodeText("The cat sat on the mat and looked at the bird."))
        .containsExactly(
            291, 280, 294, 262, 294, 353, 265, 284, 294, 269, 278, 347, 355, 261, 413, 265, 268,
            315, 418, 426);
    assertThat(tokenizer.encodeText("")).isEmpty();
  }

  @Test
  void nothingIsPaddedOrTruncatedWhateverTheFileSays() throws IOException {
    Path changed =
        TestTokenizers.changed(
            dir,
            json -> {
              json.add(
                  "truncation",
                  JsonParser.parseString(
                      "{'direction':'Right','max_length':2,'strategy':'LongestFirst','stride':0}"));
              json.add(
                  "padding",
                  JsonParser.parseString(
                      "{'strategy':{'Fixed':50},'direction':'Right','pad_to_multiple_of':8,"
                          + "'pad_id':0,'pad_type_id':0,'pad_token':'<unk>'}"));
            });
    try (Tokenizer loaded = Tokenizer.load(changed)) {
      String text = "Once upon a time";
      assertThat(loaded.encodeText(text)).isEqualTo(tokenizer.encodeText(text));
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"🦙", "日本", "\u0000", "\u0000🦙\u0000", "\uFFFF", "\u200D"})
  void whatHasNoTokenBecomesItsUtf8Bytes(String text) {
    List<Integer> expected = new ArrayList<>(List.of(SPACE));
    for (byte b : text.getBytes(StandardCharsets.UTF_8)) {
      expected.add((b & 0xff) + BYTE_ZERO);
    }

    assertThat(Ints.asList(tokenizer.encodeText(text))).isEqualTo(expected);
    assertThat(tokenizer.decode(tokenizer.encodeText(text))).isEqualTo(text);
  }

  @ParameterizedTest
  @CsvSource({"d83e, 5, 0", "dd99, 1, 1", "dbff, 0, 2", "dc00, 3, 0"})
  void halvesOfSurrogatePairsAreRefused(String half, int before, int after) {
    String text = "x".repeat(before) + (char) Integer.parseInt(half, 16) + "y".repeat(after);

    assertThatThrownBy(() -> tokenizer.encodeText(text))
        .isInstanceOf(TokenizationException.class)
        .hasMessageContaining("U+" + half.toUpperCase(Locale.ROOT))
        .hasMessageContaining("at character " + before);
  }

  @Test
  void swappedHalvesAreRefused() {
    assertThatThrownBy(() -> tokenizer.encodeText("\uDD99\uD83E"))
        .isInstanceOf(TokenizationException.class);
  }

  @Test
  void aMegabyteOfTextIsFineAndMoreThanTheLimitIsRefused() {
    String text = "a red ball ".repeat(95_326); // 1 MiB

    int[] ids = tokenizer.encodeText(text);

    assertThat(tokenizer.decode(ids)).isEqualTo(text);
    assertThatThrownBy(() -> tokenizer.encodeText("a".repeat((1 << 22) + 1)))
        .isInstanceOf(TokenizationException.class)
        .hasMessageContaining("4194305 characters");
  }

  @Test
  void tokensHaveNamesAndIds() {
    assertThat(tokenizer.tokenId("</s>")).hasValue(2);
    assertThat(tokenizer.tokenId("<0x00>")).hasValue(BYTE_ZERO);
    assertThat(tokenizer.tokenId("▁")).hasValue(SPACE);
    assertThat(tokenizer.tokenId("<s1>")).isEmpty();
    assertThat(tokenizer.token(1)).isEqualTo("<s>");
    assertThat(tokenizer.token(511)).isNotEmpty();
    assertThat(tokenizer.vocabularySize()).isEqualTo(512);
    assertThat(tokenizer.bosIds()).containsExactly(1);
    assertThat(tokenizer.eosToken()).contains("</s>");
    assertThat(tokenizer.eosId()).hasValue(2);
    assertThat(tokenizer.unkId()).hasValue(0);
    assertThat(tokenizer.toString()).endsWith("tokenizer.json");
    for (int id : new int[] {512, -1}) {
      assertThatThrownBy(() -> tokenizer.token(id))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessageContaining("id " + id);
      assertThatThrownBy(() -> tokenizer.decode(new int[] {1, id}))
          .isInstanceOf(IllegalArgumentException.class);
    }
  }

  @Test
  void addedTokensKeepTheIdsOfTheFileInAnyOrderAndWithGaps() throws IOException {
    Path changed =
        TestTokenizers.changed(dir, json -> TestTokenizers.addMarkers(json, 700, 520, 515));

    try (Tokenizer loaded = Tokenizer.load(changed)) {
      assertThat(loaded.tokenId("<s1>")).hasValue(700);
      assertThat(loaded.tokenId("<s3>")).hasValue(515);
      assertThat(loaded.token(520)).isEqualTo("<s2>");
      assertThat(loaded.vocabularySize()).isEqualTo(701);
      assertThat(loaded.decode(new int[] {1, 403, 407, 700, 515}))
          .isEqualTo("<s> Once upon<s1><s3>");
    }
  }

  @Test
  void idsDecodeToText() {
    assertThat(tokenizer.decode(new int[] {1, 403, 407, 261, 378, 2}))
        .isEqualTo("<s> Once upon a time</s>");
    assertThat(tokenizer.decode(new int[0])).isEmpty();
    assertThat(tokenizer.decode(tokenizer.encodeText("Once upon a time")))
        .isEqualTo("Once upon a time");
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "tokenizer_config.json | {\"eos_token\": \"<s>\"} | 1",
        "tokenizer_config.json | {\"eos_token\": {\"content\": \"<s>\", \"lstrip\": false}} | 1",
        "special_tokens_map.json | {\"eos_token\": \"<unk>\"} | 0",
        "config.json | {\"eos_token_id\": 2} | 2",
        "config.json | {\"eos_token_id\": [1, 2]} | 1",
      })
  void eosIsWhatTheFilesSay(String file, String json, int expected) throws IOException {
    TestTokenizers.changed(dir, unchanged -> {});
    Files.writeString(dir.resolve(file), json);

    try (Tokenizer loaded = Tokenizer.load(dir)) {
      assertThat(loaded.eosId()).hasValue(expected);
    }
  }

  @Test
  void eosMayBeAbsent() throws IOException {
    TestTokenizers.changed(dir, unchanged -> {});
    Files.writeString(dir.resolve("tokenizer_config.json"), "{\"eos_token\": null}");

    try (Tokenizer loaded = Tokenizer.load(dir)) {
      assertThat(loaded.eosToken()).isEmpty();
      assertThat(loaded.eosId()).isEmpty();
    }
  }

  @Test
  void bosIsWhatThePostProcessorPutsBeforeATextOnly() throws IOException {
    JsonArray single =
        JsonParser.parseString(
                "[{'SpecialToken':{'id':'<s>','type_id':0}},{'SpecialToken':{'id':'<s>','type_id':0}},"
                    + "{'Sequence':{'id':'A','type_id':0}},{'SpecialToken':{'id':'<s>','type_id':0}}]")
            .getAsJsonArray();
    Path changed =
        TestTokenizers.changed(
            dir, json -> json.getAsJsonObject("post_processor").add("single", single));
    try (Tokenizer loaded = Tokenizer.load(changed)) {
      assertThat(loaded.bosIds()).containsExactly(1, 1);
    }
    TestTokenizers.changed(dir, json -> json.add("post_processor", null));
    try (Tokenizer loaded = Tokenizer.load(dir)) {
      assertThat(loaded.bosIds()).isEmpty();
    }
    TestTokenizers.changed(
        dir,
        json -> {
          JsonObject sequence =
              JsonParser.parseString(
                      "{'type':'Sequence','processors':[{'type':'ByteLevel','trim_offsets':true}]}")
                  .getAsJsonObject();
          sequence.getAsJsonArray("processors").add(json.get("post_processor"));
          json.add("post_processor", sequence);
        });
    try (Tokenizer loaded = Tokenizer.load(dir)) {
      assertThat(loaded.bosIds()).containsExactly(1);
    }
  }

  @Test
  void arraysAreCopies() {
    tokenizer.bosIds()[0] = 99;

    assertThat(tokenizer.bosIds()).containsExactly(1);
  }

  @Test
  void useAfterCloseIsAnErrorAndClosingTwiceIsNone() {
    Tokenizer closed = Tokenizer.load(TestTokenizers.stories());
    closed.close();
    closed.close();

    assertThatThrownBy(() -> closed.encodeText("text"))
        .isInstanceOf(IllegalStateException.class)
        .hasMessageContaining("Tokenizer is closed");
    assertThatThrownBy(() -> closed.decode(new int[] {1}))
        .isInstanceOf(IllegalStateException.class);
    assertThat(closed.tokenId("</s>")).hasValue(2);
  }

  @Test
  void threadsShareATokenizerAndCloseWaitsForThem() throws Exception {
    String text = "Once upon a time, there was a little girl named Lily. ".repeat(20);
    int[] expected = tokenizer.encodeText(text);
    int threads = 8;
    for (int round = 0; round < 20; round++) {
      Tokenizer shared = Tokenizer.load(TestTokenizers.stories());
      CountDownLatch started = new CountDownLatch(threads);
      ExecutorService pool = Executors.newFixedThreadPool(threads);
      Callable<Integer> work =
          () -> {
            started.countDown();
            int done = 0;
            try {
              while (true) {
                assertThat(shared.encodeText(text)).isEqualTo(expected);
                done++;
              }
            } catch (IllegalStateException e) {
              assertThat(e).hasMessageContaining("closed");
              return done;
            }
          };
      List<Future<Integer>> results = new ArrayList<>();
      for (int i = 0; i < threads; i++) {
        results.add(pool.submit(work));
      }
      started.await();
      shared.close();
      pool.shutdown();
      for (Future<Integer> result : results) {
        assertThat(get(result)).isNotNegative();
      }
    }
  }

  private static int get(Future<Integer> result) throws InterruptedException {
    try {
      return result.get();
    } catch (ExecutionException e) {
      throw new AssertionError(e.getCause());
    }
  }
}
